"""A client that is known by the cgroup of its process."""

import json
import os
import subprocess
import sys
import unittest

import harness
from harness import Dsd

ASK = """
import http.client, os, socket, sys
with open(sys.argv[2], "w") as procs:
    procs.write(str(os.getpid()))
connection = http.client.HTTPConnection("localhost")
connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
connection.sock.connect(sys.argv[1])
connection.request("POST", "/v1/completions", '{"prompt": "a", "max_tokens": 1}',
                   {"Content-Type": "application/json"})
print(connection.getresponse().status)
"""


def make_cgroup():
    """A new cgroup of the unified hierarchy: its folder, and what /proc/PID/cgroup calls it."""
    with open("/proc/self/cgroup") as lines:
        own = next((line[3:].strip() for line in lines if line.startswith("0::")), None)
    with open("/proc/self/mounts") as mounts:
        place = next((line.split()[1] for line in mounts if line.split()[2] == "cgroup2"), None)
    if own is None or place is None:
        raise unittest.SkipTest("there is no unified cgroup hierarchy")
    name = f"/deepserve-test-{os.getpid()}"
    folder = place + own.rstrip("/") + name
    try:
        os.mkdir(folder)
    except OSError as problem:
        raise unittest.SkipTest(f"no cgroup can be made here: {problem}") from problem
    return folder, own.rstrip("/") + name


class Cgroup(unittest.TestCase):
    def test_a_process_within_it_is_that_client_and_one_outside_is_not(self):
        folder, path = make_cgroup()
        self.addCleanup(os.rmdir, folder)
        config = (harness.DEVICE + harness.model_toml() +
                  f'[[client]]\nname = "inside"\ncgroup = "{path}"\nclass = "vip"\n')
        with Dsd(config) as dsd:
            dsd.wait_ready()
            asked = subprocess.run([sys.executable, "-c", ASK, dsd.api_path, folder + "/cgroup.procs"],
                                   capture_output=True, text=True, check=True)
            self.assertEqual(asked.stdout.strip(), "200")
            dsd.api("POST", "/v1/completions", harness.greedy(tokens=1))
            clients = json.loads(harness.dsctl(dsd, "client", "ls").stdout)
            self.assertEqual({row["client"] for row in clients}, {"inside", f"uid:{os.getuid()}"})


if __name__ == "__main__":
    harness.main()
