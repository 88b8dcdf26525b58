"""deepserve under a real systemd: what a death of dsd leaves alive, and what a stop does not."""

import concurrent.futures
import time
import unittest

import harness
from harness import greedy
from private_systemd import CONFIG, PrivateSystemd

LONG = greedy(tokens=900, n=64)
PATIENT = {"X-Deepserve-Deadline-Ms": "60000"}  # none is to be refused


class Systemd(unittest.TestCase):
    def setUp(self):
        self.systemd = self.enterContext(PrivateSystemd())
        self.systemd.wait_ready()

    def kill_dsd(self):
        """SIGKILL; until the next one has a ready runner. How long that took."""
        before = self.systemd.main_pid()
        begin = time.monotonic()
        self.systemd.run("kill", "-KILL", str(before))
        harness.wait_for(lambda: self.systemd.main_pid() not in (0, before), "the next dsd")
        self.systemd.wait_ready()
        return time.monotonic() - begin

    def test_a_killed_dsd_is_started_again_and_has_its_runner(self):
        runner = self.systemd.runner()
        for _ in range(3):
            took_s = self.kill_dsd()
            row = self.systemd.runner()
            self.assertEqual((row["pid"], row["restarts"], row["state"]), (runner["pid"], 0, "ready"))
            self.assertEqual(self.systemd.ask("POST", "/v1/completions", greedy(tokens=3)).status, 200)
            print(f"from the kill of dsd to its runner: {took_s:.2f} s")

    def test_who_connects_while_there_is_no_dsd_is_answered_by_the_next(self):
        before = self.systemd.main_pid()
        self.systemd.run("kill", "-KILL", str(before))
        answer = self.systemd.ask("POST", "/v1/completions", greedy(tokens=3))
        self.assertEqual(answer.status, 200)
        self.assertNotEqual(self.systemd.main_pid(), before)

    def test_streams_go_on_over_two_kills_of_dsd(self):
        path = self.systemd.root("/run/deepserve/api.sock")
        body = greedy(tokens=900, n=16)  # seconds: a busy machine kills late
        expected = self.systemd.ask("POST", "/v1/completions", body).json["choices"]
        streams = [harness.FollowedStream(path, body, headers=PATIENT, may_break=lambda: True)
                   for _ in range(2)]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            ends = [pool.submit(stream.follow) for stream in streams]
            harness.wait_for(lambda: all(stream.request_id for stream in streams), "all streams to begin")
            for _ in range(2):
                self.kill_dsd()
            for end in ends:
                end.result()
        for stream in streams:
            self.assertIsNone(stream.error)
            self.assertEqual(stream.texts, {choice["index"]: choice["text"] for choice in expected})
        self.assertEqual(self.systemd.runner()["restarts"], 0)
        breaks = [stream.breaks for stream in streams]
        print(f"times that a kill of dsd broke a stream off: {breaks}")
        self.assertGreater(min(breaks), 0, "a kill that hits no stream shows nothing")
        self.assertLessEqual(max(breaks), 2)

    def test_a_reload_takes_over_the_file_or_says_what_is_wrong_with_it(self):
        def deadline():
            config = self.systemd.ask("GET", "/ctl/config", socket="ctl").json["config"]
            return config["class"]["normal"]["deadline"]

        before = self.systemd.main_pid()
        self.systemd.write("deepserve.toml", CONFIG + '[class.normal]\ndeadline = "7s"\n')
        self.systemd.systemctl("reload", "deepserve.service")
        self.assertEqual(deadline(), "7s")
        self.systemd.write("deepserve.toml", CONFIG + '[class.normal]\ndeadline = "soon"\n')
        self.assertNotEqual(self.systemd.run("systemctl", "reload", "deepserve.service").returncode, 0)
        self.assertIn("'soon' is no duration", self.systemd.dsd_log())
        self.assertEqual((deadline(), self.systemd.main_pid()), ("7s", before))

    def test_a_stop_leaves_no_orphan_whatever_dsd_had_adopted(self):
        self.kill_dsd()
        self.systemd.systemctl("stop", "deepserve.service")
        self.assertEqual(self.systemd.processes(), {})

    def test_a_restart_has_a_runner_of_its_own_and_no_orphan(self):
        before = self.systemd.processes()
        self.systemd.systemctl("restart", "deepserve.service")
        self.systemd.wait_ready()
        after = self.systemd.processes()
        self.assertEqual(sorted(after.values()), ["ds-runner", "dsd"])
        self.assertFalse(before.keys() & after.keys())

    def test_a_stop_that_has_to_kill_dsd_ends_the_runners_as_well(self):
        # A long answer outlasts the stop's limit: dsd is killed while it drains, its runner goes on.
        stream = harness.Stream(self.systemd.root("/run/deepserve/api.sock"), "/v1/completions", LONG)
        self.addCleanup(stream.close)
        next(stream.texts())
        self.systemd.write("units/deepserve.service.d/stop.conf", "[Service]\nTimeoutStopSec=1\n")
        self.systemd.systemctl("daemon-reload")
        self.systemd.systemctl("stop", "deepserve.service")
        self.assertEqual(self.systemd.systemctl("show", "--property=Result", "--value", "deepserve.service"),
                         "timeout")
        self.assertEqual(self.systemd.processes(), {})


if __name__ == "__main__":
    harness.main()
