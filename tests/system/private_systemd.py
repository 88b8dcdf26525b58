"""A real systemd with our units, in namespaces of its own: process 1 of a private process table, with fresh
file systems where systemd cleans, no unit of the host, and a control group that goes with it."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

import harness

SYSTEMD = "/lib/systemd/systemd"
TOOLS = ("unshare", "nsenter", "mount", "umount")
SOCKETS = ("deepserve-api.socket", "deepserve-ctl.socket")
UNITS = ("deepserve.service", *SOCKETS)
CONFIG = ('[observe]\nlisten = ""\n' + harness.DEVICE + '[[model]]\nname = "tiny"\ndevices = ["cpu0"]\n'
          'path = "/mnt/source/etc/models/tiny.gguf"\nkv_memory = "64MiB"\n')


def control_group_root():
    """Where the unified hierarchy is mounted; None: nowhere."""
    with open("/proc/self/mounts") as mounts:
        for line in mounts:
            fields = line.split()
            if fields[2] == "cgroup2":
                return fields[1]
    return None


class PrivateSystemd:
    """As a context: started, or the test is skipped with the reason."""

    def __init__(self):
        missing = [tool for tool in TOOLS if shutil.which(tool) is None]
        if os.geteuid() != 0:
            raise unittest.SkipTest("only root may make these namespaces")
        if missing or not os.path.exists(SYSTEMD):
            raise unittest.SkipTest(f"not installed: {', '.join(missing) or SYSTEMD}")
        root = control_group_root()
        if root is None:
            raise unittest.SkipTest("there is no unified control group hierarchy")
        self.work = tempfile.mkdtemp(prefix="deepserve-systemd-")
        self.control_group = os.path.join(root, f"deepserve-test-{os.getpid()}")
        self.unshare = None
        self.init = 0

    def __enter__(self):
        try:
            os.mkdir(self.control_group)
        except OSError as error:
            shutil.rmtree(self.work)
            raise unittest.SkipTest(f"no control group of our own: {error}") from error
        try:
            self.write_files()
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind, value, traceback):
        if kind is not None and kind is not unittest.SkipTest:
            print(f"--- systemd ---\n{self.log()}\n--- dsd ---\n{self.dsd_log()}")
        if self.init:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.init, signal.SIGKILL)  # and all that lives in there
        if self.unshare is not None:
            self.unshare.kill()
            self.unshare.wait()
        harness.wait_for(self.remove_control_groups, "the control group to be empty")
        shutil.rmtree(self.work, ignore_errors=True)

    def remove_control_groups(self):
        with contextlib.suppress(OSError):
            for directory, _, _ in os.walk(self.control_group, topdown=False):
                os.rmdir(directory)
        return not os.path.exists(self.control_group)

    def write(self, name, text):
        path = os.path.join(self.work, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)

    def write_files(self):
        os.chmod(self.work, 0o755)
        for name in UNITS:
            with open(os.path.join(harness.source, "systemd", name)) as file:
                text = file.read().replace("/usr/bin/", "/mnt/programs/")
            text = text.replace("/etc/deepserve/", "/mnt/test/")
            text = re.sub(r"^Documentation=.*\n", "", text, flags=re.M)
            self.write(f"units/{name}", text)
        self.write("units/deepserve.service.d/log.conf",
                   "[Service]\nStandardOutput=append:/run/dsd.log\nStandardError=inherit\n")
        for target in ("sysinit", "basic", "sockets", "shutdown", "network"):
            self.write(f"units/{target}.target", f"[Unit]\nDescription={target}\nDefaultDependencies=no\n")
        self.write("units/test.target", f"[Unit]\nDescription=test\nWants={' '.join(UNITS)}\n")
        for name, lines in (("passwd", "deepserve:x:990:990::/var/lib/deepserve:/usr/sbin/nologin\n"),
                            ("group", "deepserve:x:990:\ndeepserve-admin:x:991:\n")):
            with open(f"/etc/{name}") as file:
                kept = [line for line in file if not line.startswith("deepserve")]
            self.write(name, "".join(kept) + lines)
        self.write("deepserve.toml", CONFIG)
        os.chmod(os.path.join(self.work, "deepserve.toml"), 0o644)

    def start(self):
        script = os.path.join(harness.source, "tests", "system", "systemd", "inside.sh")
        command = ["unshare", "--fork", "--kill-child", "--pid", "--mount", "--uts", "--ipc", "--cgroup",
                   "--mount-proc", "sh", script, self.work, os.path.abspath(harness.programs),
                   os.path.abspath(harness.source), SYSTEMD]
        # In its own control group before the namespace is made: that is the root there.
        enter = f'echo $$ > {self.control_group}/cgroup.procs && exec "$@"'
        with open(os.path.join(self.work, "log"), "wb") as log:
            self.unshare = subprocess.Popen(["sh", "-c", enter, "sh", *command], stdout=log, stderr=log)
        try:
            harness.wait_for(self.find_init, "process 1", 5)
            harness.wait_for(lambda: self.unshare.poll() is not None or self.is_up(), "systemd", 10)
        except AssertionError as error:
            raise unittest.SkipTest(f"systemd does not start here: {error}\n{self.log()}") from error
        if self.unshare.poll() is not None:
            raise unittest.SkipTest(f"systemd does not start here:\n{self.log()}")

    def find_init(self):
        if self.unshare.poll() is not None:
            return True
        with open(f"/proc/{self.unshare.pid}/task/{self.unshare.pid}/children") as file:
            children = file.read().split()
        self.init = int(children[0]) if children else 0
        return self.init != 0

    def is_up(self):
        """Clients can connect; no systemd but ours knows these units."""
        states = self.run("systemctl", "is-active", *SOCKETS).stdout.split()
        return states == ["active"] * len(SOCKETS)

    def log(self):
        with open(os.path.join(self.work, "log"), errors="replace") as file:
            return file.read()

    def root(self, path):
        """A path in there, from out here."""
        return f"/proc/{self.init}/root{path}"

    def dsd_log(self):
        with contextlib.suppress(OSError), open(self.root("/run/dsd.log"), errors="replace") as file:
            return file.read()
        return ""

    def run(self, *words):
        return subprocess.run(["nsenter", f"--target={self.init}", "--pid", "--mount", "--uts", "--ipc",
                               "--cgroup", *words], capture_output=True, text=True, timeout=60)

    def systemctl(self, *words):
        ran = self.run("systemctl", *words)
        if ran.returncode != 0:
            raise AssertionError(f"systemctl {' '.join(words)}: {ran.stderr}\n{self.dsd_log()}")
        return ran.stdout.strip()

    def main_pid(self):
        return int(self.systemctl("show", "--property=MainPID", "--value", "deepserve.service"))

    def processes(self):
        """The names of the service's processes, with their pids in there."""
        path = os.path.join(self.control_group, "system.slice", "deepserve.service")
        found = {}
        for directory, _, _ in os.walk(path):
            with open(os.path.join(directory, "cgroup.procs")) as file:
                for pid in file.read().split():
                    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as comm:
                        found[int(pid)] = comm.read().strip()
        return found

    def ask(self, method, endpoint, body=None, socket="api"):
        return harness.ask_at(self.root(f"/run/deepserve/{socket}.sock"), method, endpoint, body)

    def runner(self):
        return self.ask("GET", "/ctl/runners", socket="ctl").json[0]

    def wait_ready(self):
        harness.wait_for(lambda: self.ask("GET", "/readyz").status == 200, "a ready runner")
