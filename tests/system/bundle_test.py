"""The bundle needs nothing of a host but glibc: it says so itself, and runs where nothing else is."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest

import harness

# What every distribution with glibc has at these names, for as long as it has glibc.
BASE_SYSTEM = {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1",
               "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
CARRIED_MIB_MAX = 64.0  # what may be carried to a GPU host, of which tests take their part

# Runs in a mount namespace of its own, on a root with the bundle and glibc; dsd reads of itself in /proc.
IN_EMPTY_ROOT = r"""
mount -t proc proc "$1/proc" 2>/dev/null || mount --rbind /proc "$1/proc"
for device in null urandom; do touch "$1/dev/$device"; mount --bind /dev/$device "$1/dev/$device"; done
deepserve="env -i $(command -v chroot) $1 /opt/deepserve/bin"
$deepserve/dsd --config /opt/deepserve/etc/deepserve.toml --runtime-dir /run/d --state-dir /run/s 2>"$1/log" &
dsd=$!
tries=0
until $deepserve/dsctl --runtime-dir /run/d status >/dev/null 2>&1; do
  tries=$((tries + 1))
  if [ $tries -gt 300 ] || ! kill -0 $dsd; then cat "$1/log" >&2; exit 1; fi
  sleep 0.1
done
$deepserve/dsctl --runtime-dir /run/d chat --temperature 0 --max-tokens 40 "Who are you?" ||
  { cat "$1/log" >&2; exit 1; }
$deepserve/dsctl --runtime-dir /run/d daemon stop
wait $dsd
"""


def bundle():
    return os.path.join(os.path.dirname(os.path.abspath(harness.programs)), "bundle")


def elf_files():
    """The bundle's own programs and libraries, as paths within it."""
    paths = []
    for folder in ("bin", "lib"):
        directory = os.path.join(bundle(), folder)
        paths += [os.path.join(folder, name) for name in sorted(os.listdir(directory))]
    return paths


def said_by_readelf(flag, path):
    return subprocess.run(["readelf", "--wide", flag, os.path.join(bundle(), path)], capture_output=True,
                          text=True, check=True, env={**os.environ, "LC_ALL": "C"}).stdout


def needed(path):
    return set(re.findall(r"\(NEEDED\).*\[(.*)\]", said_by_readelf("-d", path)))


def glibc_version(path):
    """The newest one that the file asks for, as a tuple."""
    found = re.findall(r"\bGLIBC_(\d+)\.(\d+)", said_by_readelf("-V", path))
    return max((int(major), int(minor)) for major, minor in found)


def empty_root(directory):
    """A root with the bundle in /opt/deepserve and glibc, as its loader finds it, and no other file."""
    for folder in ("proc", "dev", "run", "tmp", "opt", "lib64", "lib"):
        os.mkdir(os.path.join(directory, folder))
    shutil.copytree(bundle(), os.path.join(directory, "opt", "deepserve"), symlinks=True)
    found = subprocess.run(["ldd", os.path.join(bundle(), "bin", "ds-runner")], capture_output=True,
                           text=True, check=True).stdout
    for path in re.findall(r"(/\S+) \(", found):
        if os.path.basename(path) not in BASE_SYSTEM:
            raise AssertionError(f"{path} is no part of glibc")
        # The loader lies where programs name it; the others where it looks without a cache.
        folder = "lib" if "ld-linux" not in path else os.path.dirname(path).strip("/")
        shutil.copy(os.path.realpath(path), os.path.join(directory, folder, os.path.basename(path)))


class Bundle(unittest.TestCase):
    def test_every_library_that_it_needs_is_its_own_or_glibc(self):
        files = elf_files()
        own = {os.path.basename(path) for path in files if path.startswith("lib/")}
        for path in files:
            with self.subTest(path):
                self.assertEqual(needed(path) - own - BASE_SYSTEM, set())
        newest = max(files, key=glibc_version)
        print(f"needs glibc {'.'.join(map(str, glibc_version(newest)))} ({newest})")

    def test_what_the_runner_may_load_from_a_host_finds_no_older_libstdcxx_in_its_way(self):
        # NCCL brings its host's libstdc++ along; a runner that held an older one would keep it from loading.
        self.assertFalse({"libstdc++.so.6", "libgcc_s.so.1"} & needed("bin/ds-runner"))

    def test_every_library_in_it_is_needed(self):
        files = elf_files()
        wanted = set().union(*map(needed, files))
        for path in files:
            name = os.path.basename(path)
            if path.startswith("lib/") and name not in wanted:
                linked = [other for other in os.listdir(os.path.join(bundle(), "lib"))
                          if os.path.realpath(os.path.join(bundle(), "lib", other)).endswith("/" + name)]
                self.assertTrue(set(linked) & wanted, f"nothing needs {path}")

    def test_it_fits_among_what_may_be_carried_to_a_gpu_host(self):
        paths = [os.path.join(folder, name) for folder, _, names in os.walk(bundle()) for name in names]
        mib = sum(os.lstat(path).st_size for path in paths) / 2**20
        print(f"{mib:.1f} MiB in {len(paths)} files")
        self.assertLess(mib, CARRIED_MIB_MAX)

    def test_the_units_name_programs_that_it_has(self):
        with open(os.path.join(bundle(), "systemd", "deepserve.service")) as file:
            programs = re.findall(r"^Exec\w+=(\S+)", file.read(), flags=re.M)
        self.assertTrue(programs)
        for path in programs:
            folder, name = path.rsplit("/", 1)
            self.assertEqual(folder, "/opt/deepserve/bin")
            self.assertTrue(os.path.exists(os.path.join(bundle(), "bin", name)), path)

    def in_empty_root(self, script):
        directory = tempfile.mkdtemp(prefix="deepserve-root-")
        self.addCleanup(shutil.rmtree, directory)
        empty_root(directory)
        namespaces = ["--mount"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--mount"]
        possible = subprocess.run(["unshare", *namespaces, "true"], capture_output=True, text=True)
        if possible.returncode != 0:
            raise unittest.SkipTest(f"no namespace of our own: {possible.stderr.strip()}")
        return subprocess.run(["unshare", *namespaces, "sh", "-euc", script, "sh", directory],
                              capture_output=True, text=True, timeout=harness.BOUND_S * 2)

    def test_it_serves_where_there_is_nothing_but_glibc(self):
        ran = self.in_empty_root(IN_EMPTY_ROOT)
        self.assertEqual(ran.returncode, 0, ran.stderr + ran.stdout)
        self.assertIn("deepserve", ran.stdout)

    def test_sockets_of_systemd_are_refused_by_name_where_its_library_is_not(self):
        ran = self.in_empty_root(
            'mount --rbind /proc "$1/proc"; cd "$1"; export LISTEN_FDS=1 LISTEN_FDNAMES=api LISTEN_PID=$$\n'
            "exec chroot . /opt/deepserve/bin/dsd --runtime-dir /run/d"
            " --config /opt/deepserve/etc/deepserve.toml")
        self.assertEqual(ran.returncode, 1)
        self.assertIn("sockets come from systemd (LISTEN_FDS), but libsystemd.so.0", ran.stderr)


if __name__ == "__main__":
    harness.main()
