"""ds-runner bench: what it prints is consistent with itself (no word about how fast it must be)."""

import json
import os
import subprocess
import unittest

import harness

SLACK = 1e-3  # of what is computed again from printed figures


def bench(*arguments):
    return subprocess.run([harness.program("ds-runner"), "bench", harness.tiny_model(), *arguments],
                          capture_output=True, text=True, timeout=harness.BOUND_S, check=False)


class Bench(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        done = bench("--json", "--prompt-tokens", "48", "--batch", "1,4", "--steps", "3", "--repeats", "3",
                     "--context-tokens", "20", "--threads", "2")
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        cls.found = json.loads(done.stdout)

    def assert_near(self, value, expected):
        self.assertAlmostEqual(value, expected, delta=SLACK * abs(expected))

    def test_each_kind_of_work_is_there_once(self):
        rows = [(row["what"], row["sequences"], row["tokens"], row["repeats"]) for row in self.found["runs"]]
        self.assertEqual(rows, [("prefill", 1, 48, 3), ("decode", 1, 3, 3), ("decode", 4, 12, 3)])

    def test_the_limits_are_measured(self):
        limits = self.found["limits"]
        self.assertGreater(limits["read_bytes_per_second"], 0)
        self.assertIn("f32", [peak["arithmetic"] for peak in limits["peaks"]])
        self.assertEqual(self.found["threads"], 2)

    def test_figures_agree_with_each_other(self):
        read_limit = self.found["limits"]["read_bytes_per_second"]
        for row in self.found["runs"]:
            with self.subTest(what=row["what"], sequences=row["sequences"]):
                seconds = row["step_seconds"] * row["steps"]
                self.assertLessEqual(row["tokens_per_second_min"], row["tokens_per_second"])
                self.assertLessEqual(row["tokens_per_second"], row["tokens_per_second_max"])
                self.assert_near(row["tokens_per_second"], row["tokens"] / seconds)
                self.assert_near(row["of_read_limit"], row["bytes_per_second"] / read_limit)
                self.assert_near(row["reached"], row["tokens_per_second"] / row["bound_tokens_per_second"])
                self.assert_near(row["reached"], max(row["of_read_limit"], row["of_peak"]))
                self.assertEqual(row["bound_by"],
                                 "reads" if row["of_read_limit"] > row["of_peak"] else "arithmetic")

    def test_a_step_reads_its_weights_once_and_computes_for_each_token(self):
        _, one, four = self.found["runs"]
        bytes_of_one, bytes_of_four = (row["bytes_per_second"] * row["step_seconds"] for row in (one, four))
        self.assertGreater(bytes_of_one, self.found["parameters"] / 2)
        self.assertLess(bytes_of_four, 1.5 * bytes_of_one)
        operations = [row["operations_per_second"] * row["step_seconds"] for row in (one, four)]
        self.assert_near(operations[1], 4 * operations[0])

    def test_people_get_a_table(self):
        done = bench("--prompt-tokens", "0", "--batch", "2", "--steps", "1", "--repeats", "1")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("limits of this host", done.stdout)
        self.assertRegex(done.stdout, r"decode +2 +[0-9.]+ ")

    def test_what_does_not_fit_is_refused_with_its_sizes(self):
        done = bench("--prompt-tokens", "0", "--kv-bytes", "1000000", "--batch", "64",
                     "--context-tokens", "500")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("a batch of 64 with 516 tokens each needs", done.stderr)

    def test_arguments_that_make_no_sense_are_usage_errors(self):
        self.assertEqual(bench("--repeats", "0").returncode, 2)
        self.assertEqual(bench("--batch", "one").returncode, 2)

    def test_a_gpus_prefill_is_also_timed_deterministic_and_the_two_rates_are_compared(self):
        words = [harness.program("ds-runner-emulated"), "bench", harness.tiny_model(), "--kind", "cuda",
                 "--deterministic", "--prompt-tokens", "65", "--batch", "0", "--repeats", "1",
                 "--kv-bytes", "1000000"]
        # Little memory: what it can do at best is measured on small matrices.
        environment = os.environ | {"DEEPSERVE_EMULATED_GPU": "memory=100MiB"}
        told = subprocess.run([*words, "--json"], env=environment, capture_output=True, text=True,
                              timeout=4 * harness.BOUND_S)
        self.assertEqual(told.returncode, 0, told.stderr)
        report = json.loads(told.stdout)
        rates = {run["what"]: run["tokens_per_second"] for run in report["runs"]}
        self.assertEqual(set(rates), {"prefill", "deterministic prefill"})
        part = rates["deterministic prefill"] / rates["prefill"]
        self.assertAlmostEqual(report["deterministic_part"], part, delta=part * 1e-4)
        spread = subprocess.run([*words, "--tensor-parallel", "2"], capture_output=True, text=True)
        self.assertEqual(spread.returncode, 2)
        self.assertIn("--deterministic is for one process", spread.stderr)


if __name__ == "__main__":
    harness.main()
