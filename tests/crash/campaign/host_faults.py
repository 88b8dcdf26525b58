"""Faults of the host: a disk that is full, descriptors that run out. Both pass."""

import asyncio
import contextlib
import os
import resource
import subprocess

LASTS_S = 1.0
DISK_BYTES = 64 << 20
DISK_FILES = 256


class SmallDisk:
    """A small file system of one's own over a directory; as a context, so that it goes again."""

    def __init__(self, directory):
        self.directory = directory

    def __enter__(self):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},nr_inodes={DISK_FILES},mode=0700",
                        "tmpfs", self.directory], check=True)
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", "--lazy", self.directory], check=True)


class FullDisk:
    """No byte and no file more fits where dsd has its log, its state and its sockets."""
    name = "disk_full"

    async def strike(self, campaign):
        folder = os.path.join(campaign.dsd.directory, "filler")
        os.makedirs(folder)
        try:
            with contextlib.suppress(OSError), open(os.path.join(folder, "bytes"), "wb", 0) as file:
                while True:
                    file.write(bytes(1 << 16))
            with contextlib.suppress(OSError):
                for number in range(DISK_FILES + 1):
                    os.close(os.open(os.path.join(folder, str(number)), os.O_CREAT | os.O_WRONLY, 0o600))
                campaign.blame("not struck", "the disk would take more files than it has")
            await asyncio.sleep(LASTS_S)
        finally:
            for name in os.listdir(folder):
                os.unlink(os.path.join(folder, name))
            os.rmdir(folder)
        return True


class FewDescriptors:
    """dsd may have no descriptor more than it has, for a while."""
    name = "few_descriptors"

    async def strike(self, campaign):
        pid = campaign.dsd.process.pid
        allowed = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        has = max(int(name) for name in os.listdir(f"/proc/{pid}/fd")) + 1
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (has, allowed[1]))
        await asyncio.sleep(LASTS_S)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, allowed)
        return True


ALL = (FullDisk, FewDescriptors)
