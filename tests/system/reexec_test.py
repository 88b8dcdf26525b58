"""The upgrade in place: dsd becomes another program, and nobody who is connected notices."""

import http.client
import os
import shutil
import socket
import tempfile
import time
import unittest
import unittest.mock

import harness
from harness import Dsd, UnixConnection


def reexec(dsd, binary=None):
    return dsd.control("POST", "/ctl/daemon/reexec", {"binary": binary} if binary else {})


class Connections(unittest.TestCase):
    def setUp(self):
        self.dsd = self.enterContext(Dsd(harness.DEVICE + harness.model_toml()))
        self.dsd.wait_ready()

    def connect(self):
        connection = UnixConnection(self.dsd.api_path)
        connection.connect()
        self.addCleanup(connection.close)
        return connection

    def assert_alive(self, connection):
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        response.read()
        self.assertEqual(response.status, 200)

    def upgraded(self, binary=None):
        answer = reexec(self.dsd, binary)
        self.assertEqual(answer.status, 200, answer.text)
        return answer.json

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.dsd.process.pid}/fd"))

    def test_idle_and_half_received_ones_are_carried_from_one_to_the_next(self):
        times, half_from = 20, 15  # a head has five seconds to be whole
        half = self.connect()  # the first: it is accepted once the others are answered
        idle = [self.connect() for _ in range(8)]
        for connection in idle:
            self.assert_alive(connection)
        request = b"GET /healthz HTTP/1.1\r\nHost: a-client\r\n\r\n"
        pauses = []
        before = self.descriptors()
        for i in range(times):
            if i >= half_from:
                half.sock.sendall(request[i - half_from:i - half_from + 1])
            done = self.upgraded()
            self.assertEqual(done["pid"], self.dsd.process.pid)
            pauses.append(done["pause_ms"])
            self.assert_alive(idle[i % len(idle)])
        half.sock.sendall(request[times - half_from:])
        self.assertTrue(half.sock.recv(4096).startswith(b"HTTP/1.1 200 OK"))
        for connection in idle:
            self.assert_alive(connection)
        self.assertIsNone(self.dsd.process.poll())
        self.dsd.wait_ready()
        harness.wait_for(lambda: self.descriptors() <= before, "the descriptors to be as many as before")
        print(f"{times} upgrades, pause of dsd's own {min(pauses):.1f} to {max(pauses):.1f} ms")

    def test_a_later_version_and_the_way_back(self):
        idle = self.connect()
        self.assert_alive(idle)
        ours = self.upgraded()["version"]
        later = self.upgraded(harness.program("next_dsd"))
        self.assertEqual((later["version"], later["version_before"]), ("9.9.9", ours))
        self.assertEqual(self.dsd.control("GET", "/ctl/status").json["version"], "9.9.9")
        self.assert_alive(idle)
        back = self.upgraded(harness.program("dsd"))
        self.assertEqual((back["version"], back["version_before"]), (ours, "9.9.9"))
        self.assert_alive(idle)
        self.assertEqual(back["pid"], self.dsd.process.pid)

    def program(self, name, text=None, mode=0o755):
        """A copy of the broken dsd, or a script, under this name."""
        path = os.path.join(self.dsd.directory, name)
        if text is None:
            shutil.copy(harness.program("broken_dsd"), path)
        else:
            with open(path, "w") as file:
                file.write(text)
        os.chmod(path, mode)
        return path

    def assert_refused(self, binary, why):
        idle = self.connect()
        self.assert_alive(idle)
        runner = self.dsd.runner_row()["pid"]
        answer = reexec(self.dsd, binary)
        self.assertEqual(answer.status, 409, answer.text)
        self.assertIn(why, answer.json["error"]["message"])
        self.assertIsNone(self.dsd.process.poll())
        self.assert_alive(idle)
        return runner

    def test_a_program_that_cannot_be_one_is_refused_by_name(self):
        for binary, why in (
                ("/nowhere/dsd", "cannot be opened"),
                ("dsd", "no absolute path"),
                (self.dsd.directory, "no regular file"),
                (self.program("open_to_all", "", 0o777), "written by others"),
                (self.program("unrunnable", "", 0o644), "not executable"),
                (self.program("ends", "#!/bin/sh\nexit 1\n"), "ended with 1 and no verdict"),
                (shutil.which("true"), "ended with 0 and no verdict"),
                (self.program("refuses_the_version"), "the state is of another version"),
                (self.program("aborts_in_its_trial"), "ended by signal 6")):
            with self.subTest(os.path.basename(binary)):
                self.assert_refused(binary, why)

    def test_a_program_that_says_nothing_is_waited_for_five_seconds(self):
        self.assert_refused(self.program("silent", "#!/bin/sh\nexec sleep 60\n"), "did not say within 5 s")

    def test_a_program_that_fails_before_it_is_ready_gives_the_process_back(self):
        for how, why in (("aborts", "signal 06"), ("checks", "signal 06"), ("overflows", "signal 11"),
                         ("exits", "ended before it was ready"), ("fails", "no such luck"),
                         ("hangs", "not ready in time")):
            with self.subTest(how):
                begin = time.monotonic()
                self.assert_refused(self.program(how), why)
                self.assertLess(time.monotonic() - begin, 8)
        self.assertEqual(reexec(self.dsd).status, 200)

    def test_a_program_that_is_killed_is_a_death_of_dsd(self):
        with self.assertRaises((ConnectionError, http.client.HTTPException)):
            reexec(self.dsd, self.program("is_killed"))
        self.dsd.process.wait(harness.BOUND_S)
        self.dsd.start()
        self.dsd.wait_ready()

    def test_dsctl_upgrades_and_stops(self):
        def dsctl(*words):
            return harness.dsctl(self.dsd, *words, options=(), bound_s=harness.BOUND_S)
        done = dsctl("daemon", "reexec", "--binary", harness.program("next_dsd"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"dsd 9.9.9 serves as pid {self.dsd.process.pid}", done.stdout)
        refused = dsctl("daemon", "reexec", "--binary", "/nowhere/dsd")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("/nowhere/dsd", refused.stderr)
        stopped = dsctl("daemon", "stop")
        self.assertEqual(stopped.returncode, 0, stopped.stderr)
        self.assertEqual(self.dsd.process.wait(harness.BOUND_S), 0)


class ServiceManager(unittest.TestCase):
    def test_the_service_manager_hears_of_it(self):
        path = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), "notify")
        notify = self.enterContext(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        notify.bind(path)
        notify.settimeout(harness.BOUND_S)
        with unittest.mock.patch.dict(os.environ, {"NOTIFY_SOCKET": path}):
            dsd = self.enterContext(Dsd(harness.DEVICE + harness.model_toml()))
        self.assertEqual(reexec(dsd).status, 200)

        def lines(until):
            while True:
                told = notify.recv(4096).decode().split("\n")
                if until in told:
                    return told
        reloading = lines("RELOADING=1")
        self.assertTrue(any(line.startswith("MONOTONIC_USEC=") for line in reloading))
        lines("READY=1")


if __name__ == "__main__":
    harness.main()
