"""dsctl bench against a dsd with the built-in model: seconds of load, and figures that agree with dsd's."""

import json
import unittest

import harness
from harness import Dsd

BOUND_S = 100


def bench(dsd, *arguments, expected=0):
    done = harness.dsctl(dsd, "bench", "--prompt-tokens", "uniform:4:40", "--warmup", "0", "--itl", "20s",
                         "--drain", "20s", *arguments, bound_s=BOUND_S)
    if done.returncode != expected:
        raise AssertionError(f"exit status {done.returncode}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


class Load(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dsd = cls.enterClassContext(Dsd(harness.DEVICE + harness.model_toml()))
        cls.dsd.wait_ready()

    def test_every_request_of_an_open_loop_is_accounted_for(self):
        report = bench(self.dsd, "--rate", "20", "--duration", "2s", "--output-tokens", "4",
                       "--ttft", "vip=20s,normal=20s")
        everything = report["points"][0]["all"]
        self.assertGreater(everything["arrived"], 10)
        ends = ("full", "degraded", "refused", "failed", "unsent", "unfinished")
        self.assertEqual(sum(everything[end] for end in ends), everything["arrived"])
        self.assertEqual(everything["full"], everything["arrived"])
        self.assertEqual(everything["completion_tokens"], 4 * everything["full"])
        self.assertEqual(everything["ttft_ms"]["count"], everything["full"])
        self.assertLessEqual(everything["ttft_ms"]["p99"], everything["e2e_ms"]["max"])
        self.dsd.wait_idle()

    def test_a_closed_loop_keeps_so_many_clients_busy(self):
        report = bench(self.dsd, "--concurrent", "4", "--duration", "1s", "--mix", "vip=0.5,normal=0.5",
                       "--output-tokens", "4", "--ttft", "vip=20s,normal=20s")
        point = report["points"][0]
        self.assertEqual(set(point["classes"]), {"vip", "normal"})
        self.assertGreaterEqual(point["all"]["full"], 4)
        self.assertEqual(point["all"]["full"], point["all"]["arrived"])

    def test_a_capacity_is_found_and_loads_are_its_multiples(self):
        report = bench(self.dsd, "--loads", "0.5,2", "--probe", "300ms", "--duration", "500ms",
                       "--mix", "vip=1", "--ttft", "vip=150ms", "--output-tokens", "16",
                       "--connections", "64")
        capacity = report["capacity_per_s"]
        self.assertGreater(capacity, 0)
        self.assertTrue(any(not probe["sustained"] for probe in report["probes"]))
        offered = [point["offered_per_s"] for point in report["points"]]
        self.assertAlmostEqual(offered[0], 0.5 * capacity)
        self.assertAlmostEqual(offered[1], 2 * capacity)
        self.dsd.wait_idle()

    def test_a_model_that_does_not_exist_is_said_before_any_load(self):
        failed = bench(self.dsd, "--rate", "5", "--model", "nobody", expected=5)
        self.assertIn("model_not_found", failed["error"]["message"])


class Refusals(unittest.TestCase):
    def test_what_is_refused_is_counted_by_class_and_reason_and_comes_back_when_told(self):
        config = harness.DEVICE + harness.model_toml(extra="sequences_max = 1\n")
        with Dsd(config + '[class.normal]\nqueue_max = 1\n') as dsd:
            dsd.wait_ready()
            # Long beside an answer, so that on a slow host too somebody is told to come back before it ends.
            report = bench(dsd, "--concurrent", "8", "--duration", "5s", "--mix", "normal=1",
                           "--output-tokens", "40", "--tries", "2")
            point = report["points"][0]
            refusals = point["classes"]["normal"]["refusals"]
            self.assertIn("queue_full", [row["reason"] for row in refusals])
            self.assertTrue(all(row["latency_ms"]["p99"] > 0 for row in refusals))
            self.assertGreater(point["retry_after"]["booked"], 0)
            self.assertGreater(point["retry_after"]["came_back"], 0)


if __name__ == "__main__":
    harness.main()
