"""What systemd would do: hand over sockets, hear of readiness, wait for the watchdog."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import unittest

import harness
from harness import Dsd, greedy

# Becomes dsd with the sockets at 3 and 4, as systemd's executor does: LISTEN_PID must be dsd's own pid.
EXECUTOR = """
import os, sys
first, second, *command = sys.argv[1:]
os.dup2(int(first), 3); os.dup2(int(second), 4)
pid = str(os.getpid())
os.environ.update(LISTEN_PID=pid, LISTEN_FDS="2", LISTEN_FDNAMES="api:ctl", WATCHDOG_PID=pid)
os.execv(command[0], command)
"""


class Activation(unittest.TestCase):
    def test_inherited_sockets_are_served_and_systemd_hears_of_it(self):
        dsd = self.enterContext(Dsd(harness.DEVICE + harness.model_toml(), start=False))
        sockets = []
        dsd.api_path, dsd.control_path = dsd.directory + "/a", dsd.directory + "/c"
        for path in (dsd.api_path, dsd.control_path):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(path)
            listener.listen()
            # Kept above 3 and 4, which is where dsd expects them.
            sockets.append(fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD, 20))
            self.addCleanup(listener.close)
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(dsd.directory + "/notify")
        manager.settimeout(harness.BOUND_S)
        environment = {**os.environ, "NOTIFY_SOCKET": dsd.directory + "/notify", "WATCHDOG_USEC": "600000"}
        with open(dsd.log_path, "ab") as log:
            command = [sys.executable, "-c", EXECUTOR, *map(str, sockets), *dsd.arguments()]
            dsd.process = subprocess.Popen(command, env=environment, pass_fds=sockets, stdout=log, stderr=log)
        self.hear(manager, "READY=1")
        dsd.wait_ready()
        self.assertFalse(os.path.exists(dsd.runtime_dir + "/api.sock"))
        self.assertEqual(dsd.api("POST", "/v1/completions", greedy(tokens=3)).status, 200)
        for _ in range(3):
            self.hear(manager, "WATCHDOG=1")
        dsd.process.send_signal(signal.SIGTERM)
        self.hear(manager, "STOPPING=1")
        self.assertEqual(dsd.process.wait(harness.BOUND_S), 0)
        for path in (dsd.api_path, dsd.control_path):
            self.assertTrue(os.path.exists(path), "it is the service manager's")

    def hear(self, manager, word):
        while word not in manager.recv(4096).decode().split("\n"):
            pass


if __name__ == "__main__":
    harness.main()
