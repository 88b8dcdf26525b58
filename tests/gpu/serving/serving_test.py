"""dsd with the CUDA backend on this host's GPU: what a model says there, a real fault, a shared GPU, NVML.

usage: serving_test.py DSD FAULT_RUNNER [--runner RUNNER] [TEST...]

RUNNER, ds-runner beside DSD when it is not given, may be one with an emulated GPU. 77: what was asked for
cannot be tried on this host.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))

import harness
from gpu_host import device, model
from harness import Dsd, greedy, wait_for

TOKENS = 14
FAULT_STEPS = 11  # warming up takes some, and the last but one may be lost with the last
paths = None


def on_gpu(runner, config=None):
    return Dsd(config or device("gpu0", 0) + model("tiny", "gpu0"), runner=os.path.abspath(runner))


def text_of(dsd, tokens=TOKENS):
    answer = dsd.api("POST", "/v1/completions", greedy(tokens=tokens))
    if answer.status != 200:
        raise AssertionError(answer.text)
    return answer.json["choices"][0]["text"]


def text_on_the_cpu():
    with Dsd(harness.DEVICE + harness.model_toml("tiny")) as dsd:
        dsd.wait_ready()
        return text_of(dsd)


class Serving(unittest.TestCase):
    def test_the_built_in_model_says_what_it_says_on_the_cpu(self):
        with on_gpu(paths.runner) as dsd:
            dsd.wait_ready()
            # What of the sandbox this kernel has: a runner that has all of it shows most.
            print("\n".join(line for line in dsd.log().splitlines() if "sandbox:" in line), flush=True)
            self.assertEqual(text_of(dsd), text_on_the_cpu())

    def test_a_request_goes_on_after_an_illegal_address(self):
        expected = text_on_the_cpu()
        os.environ["DEEPSERVE_FAULT_STEPS"] = str(FAULT_STEPS)
        self.addCleanup(os.environ.pop, "DEEPSERVE_FAULT_STEPS")
        with on_gpu(paths.fault_runner) as dsd:
            dsd.wait_ready()
            first = dsd.runner_row()["pid"]
            self.assertEqual(text_of(dsd), expected)
            row = dsd.runner_row()
            self.assertGreaterEqual(row["restarts"], 1)
            self.assertIn("CUDA error 700 (illegal address)", row["last_error"])
            self.assertTrue(harness.is_gone(first))


class Shares(unittest.TestCase):
    """Two runners on one GPU under MPS."""

    def setUp(self):
        if shutil.which("nvidia-cuda-mps-control") is None:
            raise unittest.SkipTest("nvidia-cuda-mps-control is not on PATH")

    def test_both_answer_and_a_killed_one_takes_the_other_along_and_both_come_back(self):
        half = {"thread_percent": 50, "memory_limit": "8GiB"}
        config = (device("half0", 0, **half) + device("half1", 0, **half) +
                  model("one", "half0") + model("two", "half1"))
        with on_gpu(paths.runner, config) as dsd:
            for index in (0, 1):
                dsd.wait_state("ready", index)
            before = [row["pid"] for row in dsd.runners()]
            self.assertEqual(self.answers(dsd), [200, 200])
            os.kill(before[0], signal.SIGKILL)
            wait_for(lambda: not set(before) & {row["pid"] for row in dsd.runners()}, "both to be replaced")
            for index in (0, 1):
                dsd.wait_state("ready", index)
            self.assertEqual(self.answers(dsd), [200, 200])

    def answers(self, dsd):
        bodies = [greedy(tokens=4) | {"model": name} for name in ("one", "two")]
        return [dsd.api("POST", "/v1/completions", body).status for body in bodies]


class Telemetry(unittest.TestCase):
    def setUp(self):
        if shutil.which("nvidia-smi") is None:
            raise unittest.SkipTest("nvidia-smi is not on PATH")

    def asked(self, *fields):
        command = ["nvidia-smi", "--query-gpu=" + ",".join(fields), "--format=csv,noheader,nounits", "--id=0"]
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return [value.strip() for value in told.stdout.strip().split(",")]

    def test_what_dsd_tells_of_the_gpu_is_what_nvidia_smi_tells(self):
        with on_gpu(paths.runner) as dsd:
            dsd.wait_ready()
            gpu = wait_for(lambda: next((one for one in dsd.control("GET", "/ctl/status").json["gpus"]
                                         if one["state"] == "ready"), None), "a reading")
            uuid, total_mib, degrees = self.asked("uuid", "memory.total", "temperature.gpu")
            self.assertEqual(gpu["uuid"], uuid)
            self.assertAlmostEqual(gpu["memory_bytes"] / 2**20, float(total_mib), delta=1024)
            self.assertAlmostEqual(gpu["temperature_celsius"], float(degrees), delta=10)
            self.assertGreater(gpu["memory_used_bytes"], 0)


def main():
    global paths
    parser = argparse.ArgumentParser()
    parser.add_argument("dsd")
    parser.add_argument("fault_runner")
    parser.add_argument("--runner")
    paths, tests = parser.parse_known_args()
    harness.programs, harness.source = os.path.dirname(os.path.abspath(paths.dsd)), ROOT
    paths.runner = paths.runner or harness.program("ds-runner")
    result = unittest.main(argv=[sys.argv[0], "-v", *tests], exit=False).result
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(harness.SKIPPED if result.skipped else 0)


if __name__ == "__main__":
    main()
