"""A runner that dies again and again ends in `failed`; nobody else feels it. DEEPSERVE_LOOPS: how often."""

import os
import signal
import threading
import unittest

import harness
from harness import Dsd, greedy

LOOPS = int(os.environ.get("DEEPSERVE_LOOPS", "5"))
DEATHS_MAX = 2


def config():
    return (f"[supervise]\ndeaths_max = {DEATHS_MAX}\n" + harness.DEVICE + harness.model_toml() +
            harness.model_toml("other"))


class Others(threading.Thread):
    """Asks the other model one thing after another; what came is `wrong` where it is not as expected."""

    def __init__(self, dsd):
        super().__init__()
        self.dsd, self.over, self.asked, self.wrong = dsd, False, 0, []
        self.body = greedy(tokens=60, model="other")
        self.expected = dsd.api("POST", "/v1/completions", self.body).json["choices"][0]["text"]
        self.start()

    def run(self):
        while not self.over:
            answer = self.dsd.api("POST", "/v1/completions", self.body)
            self.asked += 1
            if answer.status != 200 or answer.json["choices"][0]["text"] != self.expected:
                self.wrong.append(answer.text)


class CrashLoop(unittest.TestCase):
    def row(self):
        return self.dsd.control("GET", "/ctl/runners/tiny@cpu0").json

    def crash(self):
        """The runner is up, and then it is not."""
        row = harness.wait_for(lambda: (lambda row: row if row["state"] == "ready" else None)(self.row()),
                               "a runner to crash")
        harness.send(row["pid"], signal.SIGSEGV)
        harness.wait_for(lambda: self.row()["pid"] != row["pid"], "its end")

    def test_each_loop_ends_in_failed_and_a_reset_brings_it_back(self):
        self.dsd = self.enterContext(Dsd(config()))
        harness.wait_for(lambda: all(row["state"] == "ready" for row in self.dsd.runners()), "the runners")
        others = Others(self.dsd)
        self.addCleanup(lambda: (setattr(others, "over", True), others.join()))
        other_pid = self.dsd.control("GET", "/ctl/runners/other@cpu0").json["pid"]
        for _ in range(LOOPS):
            for _ in range(DEATHS_MAX + 1):
                self.crash()
            harness.wait_for(lambda: self.row()["state"] == "failed", "the runner to be failed")
            row = self.row()
            self.assertIn("SIGSEGV", row["last_error"])
            refused = self.dsd.api("POST", "/v1/completions", greedy(tokens=2, model="tiny"))
            self.assertEqual((refused.status, refused.json["error"]["code"]), (500, "model_failed"))
            self.assertEqual(self.dsd.api("GET", "/readyz").status, 200)
            self.assertEqual(self.dsd.control("POST", "/ctl/runners/tiny@cpu0/reset").json["state"], "ready")
        others.over = True
        others.join()
        print(f"{LOOPS} crash loops; the other model gave {others.asked} answers meanwhile", flush=True)
        self.assertEqual(others.wrong, [])
        self.assertGreater(others.asked, 0)
        self.assertEqual(self.dsd.control("GET", "/ctl/runners/other@cpu0").json["pid"], other_pid)
        self.assertEqual(self.dsd.api("POST", "/v1/completions", greedy(tokens=2)).status, 200)


if __name__ == "__main__":
    harness.main()
