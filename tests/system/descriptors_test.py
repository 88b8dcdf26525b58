"""Few descriptors (RLIMIT_NOFILE): clients may not take those that operators and runners need."""

import os
import resource
import signal
import socket
import subprocess
import unittest
from tempfile import TemporaryDirectory

import harness
from harness import Dsd, greedy

IDLE_CONNECTIONS = 300


class LimitedDsd(Dsd):
    """A dsd whose hard limit is `descriptors`."""

    def __init__(self, descriptors, **more):
        self.descriptors = descriptors
        super().__init__(harness.DEVICE + harness.model_toml(), **more)

    def arguments(self):
        return ["prlimit", f"--nofile={self.descriptors}:{self.descriptors}", *super().arguments()]


class Descriptors(unittest.TestCase):
    def setUp(self):
        # Our own ends of the connections are descriptors too.
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def refused(self, descriptors):
        directory = self.enterContext(TemporaryDirectory())
        dsd = LimitedDsd(descriptors, directory=directory, start=False)
        ended = subprocess.run(dsd.arguments(), capture_output=True, text=True, timeout=harness.BOUND_S)
        self.assertEqual(ended.returncode, 1, ended.stderr)
        self.assertFalse(os.path.exists(dsd.runtime_dir))
        return ended.stderr

    def idle_connection(self, dsd):
        connection = self.enterContext(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        connection.settimeout(harness.BOUND_S)
        connection.connect(dsd.api_path)
        return connection

    def open_descriptors(self, dsd):
        return len(os.listdir(f"/proc/{dsd.process.pid}/fd"))

    def check_a_runner_comes_back(self, descriptors):
        dsd = self.enterContext(LimitedDsd(descriptors))
        dsd.wait_ready()
        idle = [self.idle_connection(dsd) for _ in range(IDLE_CONNECTIONS)]
        # The last one has been accepted and refused: so all before it have found their place or none.
        self.assertIn(b"503", idle[-1].recv(64))
        self.assertLess(self.open_descriptors(dsd), descriptors)
        for death in range(1, 3):
            pid = dsd.runner_row()["pid"]
            harness.send(pid, signal.SIGKILL)
            harness.wait_for(lambda: dsd.runner_row()["state"] == "ready" and dsd.runner_row()["pid"] != pid,
                             "the next runner")
            self.assertEqual(dsd.runner_row()["restarts"], death)
        self.assertNotIn("Too many open files", dsd.log())
        self.assertIn("connections of clients instead of", dsd.log())
        for connection in idle:
            connection.close()
        dsd.wait_ready()
        self.assertEqual(dsd.api("POST", "/v1/completions", greedy(tokens=2)).status, 200)

    def test_a_runner_comes_back_while_clients_hold_all_that_they_may(self):
        self.check_a_runner_comes_back(512)

    def test_the_least_that_is_accepted_is_enough(self):
        message = self.refused(32)
        self.check_a_runner_comes_back(least_of(message))

    def test_too_few_are_refused_by_name(self):
        message = self.refused(32)
        self.assertIn("RLIMIT_NOFILE", message)
        self.assertIn("allows 32 descriptors", message)
        least = least_of(message)
        self.assertIn(f"allows {least - 1} descriptors", self.refused(least - 1))


def least_of(message):
    return int(message.split("at least ")[1].split()[0])


if __name__ == "__main__":
    harness.main()
