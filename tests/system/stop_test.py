"""The end of dsd: draining, its limits, and who may come after it."""

import os
import signal
import subprocess
import threading
import unittest

import harness
from harness import MANY, Dsd, greedy

# More than the built-in model says while a busy host keeps the test from stopping its runner.
LONG = greedy(tokens=900, n=64)


class Stop(unittest.TestCase):
    def start(self, server="", model_extra="", supervise=""):
        config = f'[server]\n{server}\n[supervise]\nhang_after = "10m"\n{supervise}\n'
        dsd = self.enterContext(Dsd(config + harness.DEVICE + harness.model_toml(extra=model_extra)))
        dsd.wait_ready()
        return dsd

    def test_a_running_stream_ends_well_and_then_dsd_ends_with_0(self):
        dsd = self.start()
        expected = dsd.api("POST", "/v1/completions", greedy(tokens=600)).json["choices"][0]["text"]
        runner = dsd.runner_row()["pid"]
        stream = dsd.stream(greedy(tokens=600, n=MANY)).begin()
        dsd.process.send_signal(signal.SIGTERM)
        self.assertEqual(stream.choices(), [expected] * MANY)
        self.assertTrue(stream.done)
        self.assertEqual(dsd.process.wait(harness.BOUND_S), 0)
        self.assertFalse(os.path.exists(f"/proc/{runner}"))

    def test_what_waits_is_refused_and_what_runs_too_long_fails_by_name(self):
        dsd = self.start('drain_limit = "500ms"', "sequences_max = 1\n")
        stream = dsd.stream(LONG)
        texts = stream.texts()
        next(texts)
        harness.send(dsd.runner_row()["pid"], signal.SIGSTOP)
        answers = []
        waiting = threading.Thread(
            target=lambda: answers.append(dsd.api("POST", "/v1/completions", greedy(tokens=4))))
        waiting.start()
        harness.wait_for(lambda: len(dsd.requests()) == 2, "the second request")
        dsd.process.send_signal(signal.SIGTERM)
        waiting.join(harness.BOUND_S)
        self.assertEqual(answers[0].status, 503)
        self.assertEqual(answers[0].json["error"]["code"], "shutting_down")
        for _ in texts:
            pass
        self.assertEqual(stream.error["code"], "shutting_down")
        self.assertFalse(stream.done)
        self.assertEqual(dsd.process.wait(harness.BOUND_S), 0)

    def test_a_vip_that_no_runner_has_accepted_is_refused_as_a_vip(self):
        dsd = self.start('drain_limit = "500ms"')
        harness.send(dsd.runner_row()["pid"], signal.SIGSTOP)
        answers = []
        asking = threading.Thread(target=lambda: answers.append(
            dsd.api("POST", "/v1/completions", greedy(tokens=4), {"X-Deepserve-Class": "vip"})))
        asking.start()
        harness.wait_for(lambda: dsd.requests(), "the request to be taken")
        dsd.process.send_signal(signal.SIGTERM)
        asking.join(harness.BOUND_S)
        self.assertEqual(answers[0].status, 503)
        error = answers[0].json["error"]
        self.assertEqual((error["code"], error["class"]), ("shutting_down", "vip"))

    def test_a_second_signal_ends_at_once(self):
        dsd = self.start()
        stream = dsd.stream(LONG)
        next(stream.texts())
        runner = dsd.runner_row()["pid"]
        harness.send(runner, signal.SIGSTOP)
        dsd.process.send_signal(signal.SIGTERM)
        harness.wait_for(lambda: "stopping" in dsd.log(), "the first signal to be heard")
        dsd.process.send_signal(signal.SIGTERM)
        self.assertEqual(dsd.process.wait(5), 1)

    def test_a_second_dsd_on_the_same_directory_is_refused(self):
        dsd = self.start()
        second = subprocess.run(dsd.arguments(), capture_output=True, text=True, timeout=harness.BOUND_S)
        self.assertEqual(second.returncode, 1)
        self.assertIn(f"another dsd (pid {dsd.process.pid})", second.stderr)
        self.assertEqual(dsd.api("GET", "/readyz").status, 200)

    def test_after_a_kill_of_dsd_the_next_one_adopts_its_runner(self):
        dsd = self.start()
        before = dsd.runner_row()
        dsd.process.kill()
        dsd.process.wait()
        self.assertTrue(os.path.exists(dsd.api_path))
        dsd.start()
        dsd.wait_ready()
        row = dsd.runner_row()
        self.assertEqual((row["pid"], row["restarts"]), (before["pid"], 0))
        self.assertGreaterEqual(row["uptime_s"], before["uptime_s"])
        self.assertEqual(dsd.api("POST", "/v1/completions", greedy(tokens=2)).status, 200)

    def test_a_runner_that_no_dsd_comes_for_ends_when_its_limit_is_over(self):
        dsd = self.start(supervise='orphan_limit = "300ms"')
        runner = dsd.runner_row()["pid"]
        dsd.process.kill()
        dsd.process.wait()
        harness.wait_for(lambda: harness.is_gone(runner), "the orphan's end")
        self.assertEqual(len(os.listdir(dsd.rendezvous_dir)), 1)
        dsd.start()
        dsd.wait_ready()
        row = dsd.runner_row()
        self.assertNotEqual(row["pid"], runner)
        self.assertEqual(os.listdir(dsd.rendezvous_dir), [harness.rendezvous_name(row["pid"])])

    def test_an_orphan_finishes_what_it_runs_before_it_ends(self):
        dsd = self.start(supervise='orphan_limit = "100ms"')
        stream = dsd.stream(LONG)
        next(stream.texts())
        runner = dsd.runner_row()["pid"]
        dsd.process.kill()
        dsd.process.wait()
        harness.wait_for(lambda: "no daemon has come" in dsd.log(), "the limit to be over")
        self.assertFalse(harness.is_gone(runner))
        harness.wait_for(lambda: harness.is_gone(runner), "the orphan's end", 90)

    def test_a_stop_leaves_no_runner_and_no_file(self):
        dsd = self.start()
        runner = dsd.runner_row()["pid"]
        made = [dsd.api_path, dsd.control_path]
        self.assertEqual([path for path in made if os.path.exists(path)], made)
        dsd.process.send_signal(signal.SIGTERM)
        self.assertEqual(dsd.process.wait(harness.BOUND_S), 0)
        self.assertTrue(harness.is_gone(runner))
        self.assertEqual(os.listdir(dsd.rendezvous_dir), [])
        self.assertEqual([path for path in made if os.path.exists(path)], [])


if __name__ == "__main__":
    harness.main()
