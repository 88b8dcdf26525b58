"""Drain and resume of a runner, a model and the host; a runner's reset; what a request has been through."""

import json
import signal
import threading
import unittest

import harness
from harness import MANY, Dsd, greedy

TWO = '[[device]]\nname = "cpu0"\nkind = "cpu"\n[[device]]\nname = "cpu1"\nkind = "cpu"\n'


def dsctl(dsd, *words):
    return harness.dsctl(dsd, *words, options=("--no-retry",), bound_s=harness.BOUND_S)


class Ordered:
    """A dsctl that runs while the test goes on."""

    def __init__(self, dsd, *words):
        self.outcome = None
        self.thread = threading.Thread(target=lambda: setattr(self, "outcome", dsctl(dsd, *words)))
        self.thread.start()

    def wait(self):
        self.thread.join(harness.BOUND_S)
        return self.outcome


class Drain(unittest.TestCase):
    def start(self, config):
        # A runner that a test holds is not found hung.
        if "[supervise]" not in config:
            config = '[supervise]\nhang_after = "10m"\n' + config
        dsd = self.enterContext(Dsd(config))
        harness.wait_for(lambda: all(row["state"] == "ready" for row in dsd.runners()), "the runners")
        return dsd

    def runner_of(self, dsd, stream):
        rows = {row["id"]: row["runner"] for row in dsd.requests()}
        return rows[stream.ids[0].split(":")[0]]

    def test_a_drained_runner_ends_what_it_has_and_gets_no_more(self):
        dsd = self.start(TWO + harness.model_toml(devices=("cpu0", "cpu1")))
        stream = dsd.stream(greedy(tokens=900, n=MANY)).begin()
        there = self.runner_of(dsd, stream)
        pid = dsd.control("GET", f"/ctl/runners/{there}").json["pid"]
        harness.send(pid, signal.SIGSTOP)  # its stream does not end before it was looked at
        drain = Ordered(dsd, "runner", "drain", there)
        harness.wait_for(lambda: dsd.control("GET", f"/ctl/runners/{there}").json["state"] == "draining",
                         "the drain to show")
        for _ in range(4):
            self.assertEqual(dsd.api("POST", "/v1/completions", greedy(tokens=4)).status, 200)
        row = dsd.control("GET", f"/ctl/runners/{there}").json
        self.assertEqual(row["requests"], 1)
        harness.send(pid, signal.SIGCONT)
        self.assertEqual(len(stream.choices()), MANY)
        self.assertTrue(stream.done)
        self.assertEqual(drain.wait().returncode, 0)
        self.assertEqual(drain.outcome.stdout, f"runner {there} is drained\n")
        resumed = dsctl(dsd, "runner", "resume", there)
        self.assertEqual((resumed.returncode, resumed.stdout), (0, f"runner {there} is resumed\n"))
        self.assertEqual(dsd.control("GET", f"/ctl/runners/{there}").json["state"], "ready")

    def test_a_drained_runner_stays_so_when_its_process_dies(self):
        dsd = self.start(harness.DEVICE + harness.model_toml())
        self.assertEqual(dsctl(dsd, "runner", "drain", "tiny@cpu0").returncode, 0)
        pid = dsd.runner_row()["pid"]
        harness.send(pid, signal.SIGKILL)
        harness.wait_for(lambda: dsd.runner_row()["pid"] not in (pid, -1) and
                         dsd.runner_row()["state"] == "draining", "the next one")
        self.assertEqual(dsd.runner_row()["restarts"], 1)
        asked = threading.Thread(target=dsd.api, args=["POST", "/v1/completions",
                                                       greedy(tokens=4, priority="batch")])
        asked.start()
        waiting = harness.wait_for(dsd.requests, "a request that waits")
        self.assertEqual(waiting[0]["state"], "queued")
        self.assertEqual(dsctl(dsd, "runner", "resume", "tiny@cpu0").returncode, 0)
        asked.join(harness.BOUND_S)
        self.assertFalse(asked.is_alive())

    def test_a_drained_model_refuses_and_the_other_one_serves(self):
        dsd = self.start(harness.DEVICE + harness.model_toml() + harness.model_toml("other"))
        self.assertEqual(dsctl(dsd, "model", "drain", "tiny").stdout, "model tiny is drained\n")
        refused = dsd.api("POST", "/v1/completions", greedy(tokens=4, model="tiny"))
        self.assertEqual(refused.status, 503, refused.text)
        self.assertEqual(refused.json["error"]["code"], "model_not_ready")
        self.assertEqual(refused.json["error"]["reason"], "draining")
        self.assertIn("retry-after", refused.headers)
        self.assertEqual(dsd.api("POST", "/v1/completions", greedy(tokens=4, model="other")).status, 200)
        self.assertEqual(dsctl(dsd, "generate", "--model", "tiny", "-n", "4", "hello").returncode, 4)
        self.assertEqual(dsctl(dsd, "model", "resume", "tiny").returncode, 0)
        self.assertEqual(dsd.api("POST", "/v1/completions", greedy(tokens=4, model="tiny")).status, 200)

    def test_a_drained_host_is_not_ready_ends_what_runs_and_comes_back(self):
        dsd = self.start(harness.DEVICE + harness.model_toml())
        stream = dsd.stream(greedy(tokens=900, n=MANY)).begin()
        drain = Ordered(dsd, "drain", "--json")
        harness.wait_for(lambda: dsd.api("GET", "/readyz").status == 503, "the drain")
        self.assertTrue(dsd.control("GET", "/ctl/status").json["draining"])
        refused = dsd.api("POST", "/v1/completions", greedy(tokens=4))
        self.assertEqual((refused.status, refused.json["error"]["reason"]), (503, "draining"))
        self.assertEqual(len(stream.choices()), MANY)
        self.assertIsNone(stream.error)
        self.assertEqual(json.loads(drain.wait().stdout), {"state": "drained"})
        self.assertEqual(dsctl(dsd, "resume").stdout, "the host is resumed\n")
        self.assertEqual(dsd.api("GET", "/readyz").status, 200)
        self.assertEqual(dsd.api("POST", "/v1/completions", greedy(tokens=4)).status, 200)

    def test_a_drain_that_is_resumed_before_it_is_done_fails(self):
        dsd = self.start(harness.DEVICE + harness.model_toml())
        stream = dsd.stream(greedy(tokens=900, n=MANY)).begin()
        harness.send(dsd.runner_row()["pid"], signal.SIGSTOP)
        drain = Ordered(dsd, "drain")
        harness.wait_for(lambda: dsd.control("GET", "/ctl/status").json["draining"], "the drain")
        self.assertEqual(dsctl(dsd, "resume").returncode, 0)
        self.assertEqual(drain.wait().returncode, 1)
        self.assertIn("resumed", drain.outcome.stderr)
        stream.close()

    def test_what_is_not_there_exits_with_five(self):
        dsd = self.start(harness.DEVICE + harness.model_toml())
        for words in (("runner", "drain", "nope"), ("runner", "resume", "nope"), ("model", "drain", "nope"),
                      ("runner", "reset", "nope"), ("request", "trace", "00000000000000ff")):
            self.assertEqual(dsctl(dsd, *words).returncode, 5, words)

    def test_a_runner_that_failed_is_reset_and_one_that_lives_is_left_alone(self):
        dsd = self.start("[supervise]\ndeaths_max = 1\n" + harness.DEVICE + harness.model_toml() +
                         harness.model_toml("other"))
        rows = {row["model"]: row for row in dsd.runners()}
        for _ in range(2):
            row = dsd.control("GET", "/ctl/runners/tiny@cpu0").json
            harness.send(row["pid"], signal.SIGABRT)
            harness.wait_for(lambda: dsd.control("GET", "/ctl/runners/tiny@cpu0").json["pid"] != row["pid"],
                             "its end")
            harness.wait_for(lambda: dsd.control("GET", "/ctl/runners/tiny@cpu0").json["state"] in
                             ("ready", "failed"), "what comes next")
        self.assertEqual(dsd.control("GET", "/ctl/runners/tiny@cpu0").json["state"], "failed")
        self.assertEqual(dsd.api("POST", "/v1/completions", greedy(tokens=4, model="other")).status, 200)
        reset = dsctl(dsd, "runner", "reset", "tiny@cpu0")
        self.assertEqual(reset.returncode, 0, reset.stderr)
        self.assertIn("tiny@cpu0 is ready", reset.stdout)
        self.assertEqual(dsctl(dsd, "runner", "reset", "other@cpu0").returncode, 0)
        self.assertEqual(dsd.control("GET", "/ctl/runners/other@cpu0").json["pid"], rows["other"]["pid"])

    def test_a_trace_shows_deaths_and_replays(self):
        dsd = self.start(harness.DEVICE + harness.model_toml())
        pid = dsd.runner_row()["pid"]
        stream = dsd.stream(greedy(tokens=700, n=MANY)).begin()
        harness.send(pid, signal.SIGKILL)
        self.assertEqual(len(stream.choices()), MANY)
        request = stream.ids[0].split(":")[0]
        dsd.wait_idle()
        trace = json.loads(dsctl(dsd, "request", "trace", request, "--json").stdout)
        self.assertEqual([event["event"] for event in trace["events"]],
                         ["arrived", "dispatched", "accepted", "first_token", "runner_died", "dispatched",
                          "first_token", "finished"])
        self.assertEqual((trace["deaths"], trace["dispatches"]), (1, 2))
        times = [event["at_s"] for event in trace["events"]]
        self.assertEqual(times, sorted(times))
        died, again, end = trace["events"][4], trace["events"][5], trace["events"][-1]
        self.assertEqual((died["runner"], died["pid"]), ("tiny@cpu0", pid))
        self.assertIn("SIGKILL", died["text"])
        self.assertEqual(again["tokens"], died["tokens"])
        self.assertEqual(end["tokens"], 700 * MANY)
        self.assertIn("1 deaths", dsctl(dsd, "request", "trace", "cmpl-" + request).stdout)


if __name__ == "__main__":
    harness.main()
