"""What a process holds: memory, descriptors, threads."""

import dataclasses
import os


@dataclasses.dataclass
class Vitals:
    rss_kib: int
    fds: int
    threads: int

    @classmethod
    def of(cls, pid):
        with open(f"/proc/{pid}/status") as file:
            fields = dict(line.split(":", 1) for line in file if ":" in line)
        return cls(int(fields["VmRSS"].split()[0]), len(os.listdir(f"/proc/{pid}/fd")),
                   int(fields["Threads"]))

    def __str__(self):
        return f"{self.rss_kib / 1024:.1f} MiB, {self.fds} descriptors, {self.threads} threads"


def grown(before, after, rss_kib_max):
    """What is not flat, a sentence each."""
    found = []
    if after.fds > before.fds:
        found.append(f"descriptors grew from {before.fds} to {after.fds}")
    if after.threads > before.threads:
        found.append(f"threads grew from {before.threads} to {after.threads}")
    if after.rss_kib > before.rss_kib + rss_kib_max:
        found.append(f"memory grew from {before.rss_kib} KiB to {after.rss_kib} KiB")
    return found
