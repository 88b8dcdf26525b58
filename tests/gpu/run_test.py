"""The frame of tests/gpu/run, without a GPU: stages that break, hang, are missing, or come too late."""

import contextlib
import importlib.machinery
import importlib.util
import io
import json
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import report  # noqa: E402
import rival  # noqa: E402
from stages import CANNOT_BE_TRIED, STAGES, Stage, at_least, at_most  # noqa: E402


def load_run():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "run")
    loader = importlib.machinery.SourceFileLoader("gpu_run", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("gpu_run", loader))
    loader.exec_module(module)
    return module


gpu_run = load_run()


def prints(text, limit_s=30, bars=None, figures=True):
    return Stage("prints", limit_s, [sys.executable, "-c", f"print({text!r})"], bars or {}, figures)


def figure(value, name="speed"):
    return json.dumps({"figures": [{"name": name, "value": value, "unit": "x", "n": 5, "spread": "1-2"}]})


PASSES = Stage("passes", 30, [sys.executable, "-c", "pass"])


class Run(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.out = os.path.join(self.directory.name, "made", "gpu.json")

    def run_stages(self, *stages, words=(), gpus=("GPU 0",)):
        """Exit status, what was printed, and the JSON (None: none was written)."""
        self.printed = io.StringIO()
        with contextlib.redirect_stdout(self.printed), contextlib.redirect_stderr(self.printed):
            status = gpu_run.main(["--out", self.out, *words], list(stages), lambda: list(gpus))
        if not os.path.exists(self.out):
            return status, None
        with open(self.out) as file:
            return status, json.load(file)

    def test_without_a_gpu_it_says_so_and_runs_nothing(self):
        status, told = self.run_stages(PASSES, gpus=())
        self.assertEqual((status, told), (3, None))
        self.assertIn("there is no GPU here", self.printed.getvalue())

    def test_all_that_pass_are_a_pass(self):
        status, told = self.run_stages(PASSES, prints(figure(1.5), bars={"speed": at_least(1)}))
        self.assertEqual(status, 0)
        self.assertTrue(told["passed"])

    def test_the_json_has_value_bar_outcome_n_and_spread_of_each_figure(self):
        _, told = self.run_stages(prints(figure(1.5), bars={"speed": at_least(1)}))
        self.assertEqual(set(told), {"deadline_s", "passed", "stages"})
        self.assertEqual(set(told["stages"][0]), {"name", "outcome", "why", "seconds", "figures"})
        self.assertEqual(told["stages"][0]["figures"], [
            {"name": "speed", "value": 1.5, "unit": "x", "n": 5, "spread": "1-2", "bar": ">= 1",
             "outcome": "PASS"}])

    def test_a_figure_below_its_bar_fails_and_so_does_one_above_an_upper_bar(self):
        for bar in (at_least(2), at_most(1)):
            status, told = self.run_stages(prints(figure(1.5), bars={"speed": bar}))
            self.assertEqual((status, told["stages"][0]["outcome"]), (1, "FAIL"))

    def test_a_figure_that_is_no_number_never_passes(self):
        for value in (float("nan"), None, "1.5", True):
            status, _ = self.run_stages(prints(figure(value), bars={"speed": at_least(1)}))
            self.assertEqual(status, 1, value)

    def test_a_broken_stage_does_not_hide_those_behind_it(self):
        broken = Stage("broken", 30, [sys.executable, "-c", "import os; os.abort()"])
        status, told = self.run_stages(broken, prints("no JSON"), prints('{"figures": 3}'), PASSES)
        self.assertEqual(status, 1)
        self.assertEqual([stage["outcome"] for stage in told["stages"]], ["FAIL", "FAIL", "FAIL", "PASS"])
        self.assertIn("exit status -6", told["stages"][0]["why"])
        self.assertIn("printed no JSON", told["stages"][1]["why"])

    def test_a_figure_with_a_bar_that_is_not_told_fails_by_name(self):
        _, told = self.run_stages(prints(figure(1.5), bars={"other": at_least(1)}))
        self.assertEqual(told["stages"][0]["why"], "BadFigures: it told nothing of other")

    def test_a_missing_program_is_named_and_never_a_pass(self):
        status, told = self.run_stages(Stage("kernels", 30, ["gpu_nowhere"]),
                                       Stage("checked", 30, [sys.executable, "gpu_neither"]))
        self.assertEqual(status, 1)
        whys = [stage["why"] for stage in told["stages"]]
        self.assertEqual(whys, ["missing: gpu_nowhere", "missing: gpu_neither"])

    def test_what_this_host_lacks_something_for_is_missing_and_never_a_pass(self):
        script = "import sys; print('no MPS here'); sys.exit(77)"
        status, told = self.run_stages(Stage("shares", 30, [sys.executable, "-c", script]))
        self.assertEqual((status, told["stages"][0]["outcome"]), (1, "missing"))
        self.assertEqual(told["stages"][0]["why"], "no MPS here")

    def test_a_stage_reads_what_the_ones_before_it_printed(self):
        reader = Stage("reads", 30, [sys.executable, "-c", "import sys; print(open(sys.argv[1]).read())",
                                     "{logs}/gpu-first.log"], figures=True)
        first = Stage("first", 30, [sys.executable, "-c", "print('{\"figures\": []}')"])
        self.assertEqual(self.run_stages(first, reader)[0], 0)

    def test_the_rivals_figures_are_ratios_to_what_the_bench_told(self):
        told = rival.figures({1: 200.0, 32: 4000.0}, {1: [40.0, 20.0, 25.0], 32: [500.0]})
        self.assertEqual([(one["name"], one["value"]) for one in told[::2]],
                         [("decode 7B batch 1, of transformers", 8.0),
                          ("decode 7B batch 32, of transformers", 8.0)])
        self.assertEqual(told[0]["spread"], "5-10")

    def test_without_the_benchs_figures_the_rival_is_missing(self):
        done = subprocess.run([sys.executable, rival.__file__, "/nowhere"], capture_output=True, timeout=60)
        self.assertEqual(done.returncode, CANNOT_BE_TRIED)

    def test_a_stage_that_hangs_is_ended_with_all_that_it_started(self):
        script = "import os, time; os.fork(); print(os.getpid(), flush=True); time.sleep(600)"
        _, told = self.run_stages(Stage("hangs", 1.0, [sys.executable, "-c", script]), PASSES)
        self.assertIn("ran longer than 1 s", told["stages"][0]["why"])
        self.assertEqual(told["stages"][1]["outcome"], "PASS")

    def test_behind_the_deadline_nothing_is_run_and_it_is_said(self):
        status, told = self.run_stages(PASSES, words=["--deadline", "0"])
        self.assertEqual((status, told["stages"][0]["outcome"]), (1, "not run"))

    def test_a_stage_that_does_not_exist_is_a_mistake_of_usage(self):
        with self.assertRaises(SystemExit) as raised:
            self.run_stages(PASSES, words=["--only", "nothing"])
        self.assertEqual(raised.exception.code, 2)

    def test_the_table_is_printed_last_with_every_figure(self):
        self.run_stages(prints(figure(1.5), bars={"speed": at_least(1)}))
        self.assertRegex(self.printed.getvalue(), r"speed +1\.5 x +bar >= 1 +PASS")


class Stages(unittest.TestCase):
    def test_names_are_unlike_each_other(self):
        names = [stage.name for stage in STAGES]
        self.assertEqual(len(names), len(set(names)))

    def test_no_stages_are_no_pass(self):
        self.assertFalse(report.all_passed([]))


if __name__ == "__main__":
    unittest.main()
