"""What swaps leave behind: no memory, no descriptors, no threads, no processes."""

import dataclasses
import os
import shutil
import time
import unittest

import harness
from harness import DEVICE, Dsd, dsctl, greedy, model_toml, tiny_model, wait_for

DSD_GROWTH_KIB = 1024     # what the heap may have become, however many swaps there were
# Each runner is another process: about the same, but where the kernel puts its heap decides whether
# a huge page more fits in.
HUGE_PAGE_KIB = 2048
RUNNERS_GROWTH_KIB = HUGE_PAGE_KIB + 512


@dataclasses.dataclass
class Held:
    """By dsd, but for the last two."""
    rss_kib: int
    fds: int
    mapped_memfds: int
    threads: int
    runners: int
    runners_kib: int

    @classmethod
    def by(cls, dsd):
        def status(pid, field):
            with open(f"/proc/{pid}/status") as file:
                return next(int(line.split()[1]) for line in file if line.startswith(field))
        own = dsd.process.pid
        with open(f"/proc/{own}/maps") as file:
            mapped = sum("/memfd:" in line for line in file)
        with open(f"/proc/{own}/task/{own}/children") as file:
            children = file.read().split()
        return cls(status(own, "VmRSS"), len(os.listdir(f"/proc/{own}/fd")), mapped, status(own, "Threads"),
                   len(children), sum(status(pid, "VmRSS") for pid in children))

    def is_no_more_than(self, before):
        return (self.rss_kib <= before.rss_kib + DSD_GROWTH_KIB and self.fds <= before.fds
                and self.mapped_memfds <= before.mapped_memfds and self.threads <= before.threads
                and self.runners <= before.runners
                and self.runners_kib <= before.runners_kib + RUNNERS_GROWTH_KIB)


class Memory(unittest.TestCase):
    swaps = int(os.environ.get("DEEPSERVE_SWAPS", "10"))
    warm_up = 5

    def test_is_back_after_swaps(self):
        with Dsd(DEVICE + model_toml(extra='keep_warm = "0s"\n')) as dsd:
            dsd.wait_ready()
            files = [os.path.join(dsd.directory, name) for name in ("a.gguf", "b.gguf")]
            for file in files:
                shutil.copy(tiny_model(), file)

            def swap(times):
                for i in range(times):
                    done = dsctl(dsd, "model", "swap", "tiny", "--path", files[i % 2])
                    self.assertEqual(done.returncode, 0, done.stderr)
                    answer = dsd.api("POST", "/v1/completions", greedy(tokens=8))
                    self.assertEqual(answer.status, 200, answer.text)
                wait_for(lambda: len(dsd.runners()) == 1, "the one before to be gone")
                return Held.by(dsd)
            before = swap(self.warm_up)
            begun = time.monotonic()
            after = swap(self.swaps)
            print(f"{self.swaps} swaps in {time.monotonic() - begun:.1f} s\n"
                  f"before: {before}\nafter:  {after}")
            if not after.is_no_more_than(before):
                wait_for(lambda: Held.by(dsd).is_no_more_than(before), f"no more than {before}")


if __name__ == "__main__":
    harness.main()
