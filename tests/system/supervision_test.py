"""Runners that die, hang or are restarted by an operator."""

import signal
import unittest

import harness
from harness import MANY, Dsd, greedy


def config(supervise):
    return f"[supervise]\n{supervise}\n" + harness.DEVICE + harness.model_toml()


class Supervision(unittest.TestCase):
    def start(self, supervise=""):
        dsd = self.enterContext(Dsd(config(supervise)))
        dsd.wait_ready()
        return dsd

    def kill_ready_runner(self, dsd, number):
        """Signals the runner once it is ready; the pid that is gone."""
        row = dsd.wait_state("ready")
        harness.send(row["pid"], number)
        harness.wait_for(lambda: dsd.runner_row()["pid"] != row["pid"], "the runner's end")

    def test_too_many_crashes_end_in_failed_and_an_operator_brings_it_back(self):
        dsd = self.start("deaths_max = 2")
        for _ in range(3):
            self.kill_ready_runner(dsd, signal.SIGABRT)
        row = dsd.wait_state("failed")
        self.assertEqual(row["restarts"], 2)
        self.assertIn("SIGABRT", row["last_error"])
        refused = dsd.api("POST", "/v1/completions", greedy(tokens=2))
        self.assertEqual(refused.status, 500)  # coming back would not help
        self.assertEqual(refused.json["error"]["code"], "model_failed")
        self.assertIn("tiny@cpu0 is failed", refused.json["error"]["message"])
        self.assertEqual(dsd.api("GET", "/readyz").status, 503)
        self.assertEqual(dsd.api("GET", "/healthz").status, 200)
        restarted = dsd.control("POST", "/ctl/runners/tiny@cpu0/restart")
        self.assertEqual(restarted.status, 200, restarted.text)
        self.assertEqual(restarted.json["state"], "ready")
        self.assertEqual(dsd.api("POST", "/v1/completions", greedy(tokens=2)).status, 200)

    def test_kills_from_outside_never_fail_a_runner(self):
        dsd = self.start("deaths_max = 2")
        for _ in range(12):
            self.kill_ready_runner(dsd, signal.SIGKILL)
        row = dsd.wait_state("ready")
        self.assertEqual(row["restarts"], 12)

    def test_a_hung_runner_is_ended_and_its_stream_goes_on(self):
        dsd = self.start('hang_after = "1s"')
        expected = dsd.api("POST", "/v1/completions", greedy(tokens=600)).json["choices"][0]["text"]
        stopped = dsd.runner_row()["pid"]
        stream = dsd.stream(greedy(tokens=600, n=MANY)).begin()
        harness.send(stopped, signal.SIGSTOP)
        dsd.wait_state("hung")
        self.assertEqual(stream.choices(), [expected] * MANY)
        self.assertTrue(stream.done)
        row = dsd.wait_state("ready")
        self.assertNotEqual(row["pid"], stopped)
        self.assertIn("hung", row["last_error"])

    def test_an_operator_restarts_a_runner_under_a_running_stream(self):
        dsd = self.start()
        expected = dsd.api("POST", "/v1/completions", greedy(tokens=600)).json["choices"][0]["text"]
        old = dsd.runner_row()["pid"]
        stream = dsd.stream(greedy(tokens=600, n=MANY)).begin()
        restarted = dsd.control("POST", "/ctl/runners/tiny@cpu0/restart")
        self.assertEqual(restarted.status, 200, restarted.text)
        self.assertNotEqual(restarted.json["pid"], old)
        self.assertEqual(stream.choices(), [expected] * MANY)

    def test_a_runner_that_is_told_to_end_by_others_ends_its_streams_and_takes_no_more(self):
        dsd = self.start("deaths_max = 1")
        expected = dsd.api("POST", "/v1/completions", greedy(tokens=900)).json["choices"][0]["text"]
        pid = dsd.runner_row()["pid"]
        stream = dsd.stream(greedy(tokens=900, n=MANY)).begin()
        harness.send(pid, signal.SIGTERM)
        # Sent before dsd can know, and served by the next one; as batch, whose deadline a slow build meets.
        patient = {**greedy(tokens=4), "priority": "batch"}
        self.assertEqual(dsd.api("POST", "/v1/completions", patient).status, 200)
        self.assertEqual(stream.choices(), [expected] * MANY)
        self.assertIsNone(stream.error)
        row = dsd.wait_state("ready")
        self.assertEqual((row["restarts"], row["last_error"]), (1, "drained and exited"))

    def test_neither_dsd_nor_a_runner_may_dump_core(self):
        dsd = self.start()
        for pid in (dsd.process.pid, dsd.runner_row()["pid"]):
            with open(f"/proc/{pid}/limits") as file:
                limit = next(line for line in file if line.startswith("Max core file size"))
            self.assertEqual(limit.split()[4:6], ["0", "0"], limit)

    def test_an_unknown_runner_is_404_and_the_known_ones_are_listed(self):
        dsd = self.start()
        unknown = dsd.control("POST", "/ctl/runners/tiny@gpu7/restart")
        self.assertEqual(unknown.status, 404)
        self.assertIn("tiny@cpu0", unknown.json["error"]["message"])


if __name__ == "__main__":
    harness.main()
