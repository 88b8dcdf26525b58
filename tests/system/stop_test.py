"""The end of dsd: draining, its limits, and who may come after it."""

import os
import signal
import subprocess
import threading
import unittest

import harness
from harness import Dsd, greedy


class Stop(unittest.TestCase):
    def start(self, server="", model_extra=""):
        config = f'[server]\n{server}\n[supervise]\nhang_after = "10m"\n'
        dsd = self.enterContext(Dsd(config + harness.DEVICE + harness.model_toml(extra=model_extra)))
        dsd.wait_ready()
        return dsd

    def test_a_running_stream_ends_well_and_then_dsd_ends_with_0(self):
        dsd = self.start()
        expected = dsd.api("POST", "/v1/completions", greedy(tokens=600)).json["choices"][0]["text"]
        runner = dsd.runner_row()["pid"]
        stream = dsd.stream(greedy(tokens=600))
        texts = stream.texts()
        text = next(texts)
        dsd.process.send_signal(signal.SIGTERM)
        text += "".join(texts)
        self.assertEqual(text, expected)
        self.assertTrue(stream.done)
        self.assertEqual(dsd.process.wait(harness.BOUND_S), 0)
        self.assertFalse(os.path.exists(f"/proc/{runner}"))

    def test_what_waits_is_refused_and_what_runs_too_long_fails_by_name(self):
        dsd = self.start('drain_limit = "500ms"', "sequences_max = 1\n")
        stream = dsd.stream(greedy(tokens=900))
        texts = stream.texts()
        next(texts)
        os.kill(dsd.runner_row()["pid"], signal.SIGSTOP)
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
        os.kill(dsd.runner_row()["pid"], signal.SIGSTOP)
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
        stream = dsd.stream(greedy(tokens=900))
        next(stream.texts())
        runner = dsd.runner_row()["pid"]
        os.kill(runner, signal.SIGSTOP)
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

    def test_after_a_kill_of_dsd_its_runners_end_and_the_next_one_starts(self):
        dsd = self.start()
        runner = dsd.runner_row()["pid"]
        dsd.process.kill()
        dsd.process.wait()
        harness.wait_for(lambda: is_gone(runner), "the orphan's end")
        self.assertTrue(os.path.exists(dsd.api_path))
        dsd.start()
        dsd.wait_ready()
        self.assertEqual(dsd.api("POST", "/v1/completions", greedy(tokens=2)).status, 200)


def is_gone(pid):
    """Orphans of a container without an init stay as zombies: they have ended all the same."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


if __name__ == "__main__":
    harness.main()
