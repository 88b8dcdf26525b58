"""A canary gets its part of the requests, is judged by what they are like, and is promoted or rolled back.

The worse ones here are much worse. What is only a little so (one answer in twenty fails, first tokens come
half as late again) is for tests/unit/rollout to show, with simulated requests over a thousand seeds: a single
run here would be chance, and a busy machine's noise.
"""

import json
import os
import shutil
import stat
import threading
import unittest

import harness
from harness import DEVICE, Dsd, dsctl, greedy, model_toml, program, tiny_model, wait_for
PERCENT = "50"


class Asking(threading.Thread):
    """Different clients' first messages, one after the other, until told to stop."""

    def __init__(self, dsd):
        super().__init__()
        self.dsd, self.ended = dsd, threading.Event()
        self.statuses, self.problems = {}, []

    def ask(self, worker):
        i = 0
        while not self.ended.is_set():
            i += 1
            body = {"messages": [{"role": "user", "content": f"question {worker}.{i}"}], "max_tokens": 4,
                    "temperature": 0, "ignore_eos": True}
            status = self.dsd.api("POST", "/v1/chat/completions", body).status
            self.statuses[status] = self.statuses.get(status, 0) + 1

    def run(self):
        threads = [threading.Thread(target=self.ask, args=(worker,)) for worker in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()


def nan_model(path):
    """The tiny model with NaN in the bytes of its last tensors: it loads, and cannot be right."""
    with open(tiny_model(), "rb") as file:
        data = bytearray(file.read())
    spoiled = len(data) // 8
    data[-spoiled:] = b"\xff" * spoiled
    with open(path, "wb") as file:
        file.write(data)


class Canary(unittest.TestCase):
    def history(self, dsd):
        return json.loads(dsctl(dsd, "model", "history", "tiny").stdout)["generations"]

    def test_an_equal_one_is_promoted_with_its_evidence(self):
        with Dsd(DEVICE + model_toml()) as dsd:
            dsd.wait_ready()
            other = os.path.join(dsd.directory, "other.gguf")
            shutil.copy(tiny_model(), other)
            with Asking(dsd) as asking:
                done = dsctl(dsd, "model", "canary", "tiny", "--path", other, "--percent", PERCENT, "--auto")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(set(asking.statuses), {200})
            live = [row for row in self.history(dsd) if row["state"] == "live"]
            self.assertEqual([(row["generation"], row["path"]) for row in live], [(2, other)])
            evidence = live[0]["evidence"]
            self.assertTrue(evidence.startswith("0 of its "), evidence)
            self.assertGreaterEqual(int(evidence.split()[3]), 200)
            print(f"promoted after {live[0]['evidence']}")

    def test_one_that_computes_nan_never_serves_or_is_rolled_back(self):
        with Dsd(DEVICE + model_toml()) as dsd:
            dsd.wait_ready()
            worse = os.path.join(dsd.directory, "worse.gguf")
            nan_model(worse)
            with Asking(dsd) as asking:
                done = dsctl(dsd, "model", "canary", "tiny", "--path", worse, "--percent", PERCENT, "--auto")
            self.assertEqual(done.returncode, 1, done.stdout)
            print(f"refused: {done.stderr.strip()}; answers by status: {asking.statuses}")
            rows = self.history(dsd)
            self.assertEqual([row["generation"] for row in rows if row["state"] == "live"], [1])
            self.assertNotEqual(rows[1]["reason"], "")
            wait_for(lambda: len(dsd.runners()) == 1, "the worse one to be gone")
            self.assertEqual(dsd.api("POST", "/v1/completions", greedy(tokens=8)).status, 200)

    def test_one_that_is_slow_is_rolled_back(self):
        with Dsd(DEVICE + model_toml(), runner=self.slow_runner()) as dsd:
            dsd.wait_ready()
            worse = os.path.join(dsd.directory, "slow.gguf")
            shutil.copy(tiny_model(), worse)
            with Asking(dsd) as asking:
                done = dsctl(dsd, "model", "canary", "tiny", "--path", worse, "--percent", PERCENT, "--auto")
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn("worse", done.stderr)
            self.assertEqual(set(asking.statuses), {200}, "slow is not failing")
            print(f"rolled back: {done.stderr.strip()}")

    def slow_runner(self):
        """A runner that stands still most of the time where its model is slow.gguf."""
        directory = self.enterContext(harness.tempfile.TemporaryDirectory(prefix="deepserve-test-"))
        path = os.path.join(directory, "runner")
        with open(path, "w") as file:
            file.write(f"""#!/bin/sh
case "$*" in *slow.gguf*)
  self=$$
  (while kill -STOP $self; do sleep 0.03; kill -CONT $self || exit; sleep 0.004; done) 2>/dev/null &
esac
exec {program("ds-runner")} "$@"
""")
        os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
        return path

    def test_its_part_is_sticky_and_an_operator_may_end_it(self):
        with Dsd(DEVICE + model_toml()) as dsd:
            dsd.wait_ready()
            done = dsctl(dsd, "model", "canary", "tiny", "--percent", "20")
            self.assertEqual(done.returncode, 0, done.stderr)
            row = dsd.control("GET", "/ctl/models").json[0]
            self.assertEqual((row["generation"], row["canary"], row["canary_percent"]), (1, 2, 20))
            for i in range(60):
                body = {"messages": [{"role": "user", "content": f"conversation {i % 30}"}], "max_tokens": 2}
                self.assertEqual(dsd.api("POST", "/v1/chat/completions", body).status, 200)
            steps = {row["generation"]: row for row in dsd.runners()}
            self.assertEqual(set(steps), {1, 2})
            evidence = self.history(dsd)[1]["evidence"]
            asked = int(evidence.split(" of its ")[1].split()[0])
            self.assertEqual(asked % 2, 0, "each conversation was twice at the same generation")
            self.assertTrue(0 < asked < 40, evidence)
            self.assertEqual(dsctl(dsd, "model", "swap", "tiny").returncode, 1, "one thing at a time")
            self.assertEqual(dsctl(dsd, "model", "rollback", "tiny").returncode, 0)
            wait_for(lambda: len(dsd.runners()) == 1, "the canary to be gone")
            self.assertEqual(dsctl(dsd, "model", "promote", "tiny").returncode, 1)


if __name__ == "__main__":
    harness.main()
