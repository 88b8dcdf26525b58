"""A runner that the kernel kills for want of memory: its streams go on, and the record says why it died."""

import os
import subprocess
import sys
import unittest

import harness
from harness import MANY, Dsd, greedy

ROOM = 24 << 20  # beyond what dsd and its runner have
# Takes memory until the process is gone. The runner that comes in its place is to have room: until this one
# has ended as well it goes before that (300), and after the victim (1000).
HOG = """
import os, select, sys
with open("/proc/self/oom_score_adj", "w") as adj:
    adj.write("500")
with open(sys.argv[1] + "/cgroup.procs", "w") as procs:
    procs.write(str(os.getpid()))
end = select.poll()
end.register(os.pidfd_open(int(sys.argv[3])), select.POLLIN)
memory = []
while not end.poll(0) and len(memory) << 16 < 2 * int(sys.argv[2]):
    memory.append(b"x" * (1 << 16))
"""


class MemoryCgroup:
    """A memory cgroup of one's own below this process's, of either version."""

    def __init__(self):
        with open("/proc/self/cgroup") as lines:
            own = {line.split(":")[1]: line.strip().split(":", 2)[2] for line in lines}
        v1 = "memory" in own
        # A process may see its cgroup's path from outside of the namespace that it is in.
        base = "/sys/fs/cgroup/memory" if v1 else "/sys/fs/cgroup"
        paths = [base + own["memory" if v1 else ""], base] if own.keys() & {"memory", ""} else []
        parent = next((path for path in paths if os.path.exists(path + "/cgroup.procs")), None)
        if parent is None:
            raise unittest.SkipTest("there is no memory cgroup")
        self.folder = f"{parent}/deepserve-test-{os.getpid()}"
        try:
            os.mkdir(self.folder)
        except OSError as problem:
            raise unittest.SkipTest(f"no cgroup can be made here: {problem}") from problem
        self.limit = self.folder + ("/memory.limit_in_bytes" if v1 else "/memory.max")
        self.counted = ("rss", "shmem") if v1 else ("anon", "shmem")  # what cannot be had back
        if not os.path.exists(self.limit):
            os.rmdir(self.folder)
            raise unittest.SkipTest("memory is not limited in cgroups here")

    def put(self, pid):
        with open(self.folder + "/cgroup.procs", "w") as procs:
            procs.write(str(pid))

    def limit_to_usage_and(self, room):
        with open(self.folder + "/memory.stat") as file:
            stat = dict(line.split() for line in file)
        limit = sum(int(stat.get(name, 0)) for name in self.counted) + room
        with open(self.limit, "w") as file:
            file.write(str(limit))

    def is_empty(self):
        with open(self.folder + "/cgroup.procs") as procs:
            return not procs.read()

    def remove(self):
        harness.wait_for(self.is_empty, "the cgroup to empty")
        os.rmdir(self.folder)


class OutOfMemory(unittest.TestCase):
    def test_the_stream_of_a_runner_that_the_kernel_killed_goes_on(self):
        cgroup = MemoryCgroup()
        self.addCleanup(cgroup.remove)
        dsd = self.enterContext(Dsd(harness.DEVICE + harness.model_toml(), start=False))
        with InCgroup(cgroup):
            dsd.start()
        dsd.wait_ready()
        body = greedy(tokens=900, n=MANY)
        expected = [choice["text"] for choice in dsd.api("POST", "/v1/completions", body).json["choices"]]
        cgroup.limit_to_usage_and(ROOM)
        pid = dsd.runner_row()["pid"]
        stream = dsd.stream(body).begin()
        with open(f"/proc/{pid}/oom_score_adj", "w") as adj:
            adj.write("1000")  # it is small here: it is to go first all the same
        subprocess.run([sys.executable, "-c", HOG, cgroup.folder, str(ROOM), str(pid)], check=False)
        choices = stream.choices()
        self.assertIsNone(stream.error)
        self.assertEqual(choices, expected)
        row = dsd.runner_row()
        if row["pid"] == pid:
            self.skipTest("the kernel killed nobody, or another process")
        self.assertIn("out of memory", row["last_error"])
        self.assertGreaterEqual(row["restarts"], 1)


class InCgroup:
    """This process, and whom it starts meanwhile, in a cgroup."""

    def __init__(self, cgroup):
        self.cgroup = cgroup

    def __enter__(self):
        self.cgroup.put(os.getpid())

    def __exit__(self, *_):
        with open(os.path.dirname(self.cgroup.folder) + "/cgroup.procs", "w") as procs:
            procs.write(str(os.getpid()))


if __name__ == "__main__":
    harness.main()
