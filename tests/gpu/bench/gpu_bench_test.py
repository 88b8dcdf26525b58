"""gpu_bench on the emulated GPU: it prints the figures that tests/gpu/run reads, as the bars name them."""

import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import report
import stages

PROGRAM = sys.argv.pop()


def figures(*words):
    environment = os.environ | {"DEEPSERVE_EMULATED_GPU": "memory=48MiB"}
    done = subprocess.run([PROGRAM, *words, "--json"], env=environment, capture_output=True, text=True,
                          timeout=250)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return report.read_figures(done.stdout, {})


class GpuBench(unittest.TestCase):
    def test_floors_are_two_rates(self):
        self.assertEqual([one["unit"] for one in figures("floors")], ["GB/s", "TFLOP/s"])

    def test_loading_is_a_share_of_what_the_bus_can_do(self):
        share, *rates = figures("load", "--shape", "test")
        self.assertEqual(share["name"], "load test, of the bus")
        self.assertEqual([one["unit"] for one in rates], ["GB/s", "GB/s"])

    def test_a_whole_engine_is_a_share_of_the_time_that_its_kernels_take(self):
        for how in [], ["--one-by-one"]:
            share, *rates = figures("engine", "--shape", "test", *how)
            self.assertEqual(share["name"], "engine test 3 x (20 + 4), of kernel times")
            self.assertTrue(0 < share["value"] <= 1)
            self.assertEqual([one["unit"] for one in rates], ["tokens/s", "us/token"])

    def test_attention_alone_is_a_share_of_bandwidth(self):
        share, time = figures("attention", "--shape", "test", "--repeats", "3")
        self.assertEqual(share["name"], "paged decode attention 2 x 200 test, of copy bandwidth")
        self.assertGreater(share["value"], 0)
        self.assertEqual(time["unit"], "us")

    def test_steps_tell_of_every_bar(self):
        told = {one["name"] for one in figures("steps", "--shape", "test", "--prompt-tokens", "64",
                                                     "--repeats", "1")}
        bars = next(stage.bars for stage in stages.STAGES if stage.name == "bench")
        wanted = {name.replace("7B", "test").replace("4096", "64") for name in bars if "7B" in name}
        self.assertEqual(wanted - told, set())

    def test_draws_are_told_of_each_kind_and_number_of_rows(self):
        told = [one["name"] for one in figures("draws", "--shape", "test", "--repeats", "1")]
        self.assertEqual(len(told), len(set(told)))
        bars = next(stage.bars for stage in stages.STAGES if stage.name == "draws")
        self.assertEqual(set(bars) - set(told), set())

    def test_a_gpu_that_is_too_small_is_said(self):
        with self.assertRaisesRegex(AssertionError, "of GPU memory are needed"):
            figures("steps", "--shape", "1.5B")


if __name__ == "__main__":
    unittest.main()
