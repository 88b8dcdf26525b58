"""ds-runner's CUDA backend under dsd, on the emulated GPU of tests/gpu/emulator: what becomes of a model when
the GPU cannot. What it says there, and after a fault, is tests/gpu/serving's."""

import os
import unittest

import harness
from gpu_host import device, model
from harness import Dsd

def emulated(extra=""):
    config = device("gpu0", 0) + model("tiny", "gpu0", extra=extra)
    return Dsd(config, runner=harness.program("ds-runner-emulated"))


class GpuServing(unittest.TestCase):
    def setUp(self):
        self.addCleanup(os.environ.pop, "DEEPSERVE_EMULATED_GPU", None)

    def emulate(self, what):
        os.environ["DEEPSERVE_EMULATED_GPU"] = what

    def expect_refusal(self, emulation, *words):
        self.emulate(emulation)
        with emulated() as dsd:
            row = dsd.wait_state("failed")
            for word in words:
                self.assertIn(word, row["last_error"])
            self.assertEqual(row["restarts"], 0)

    def test_too_little_memory_fails_the_model_at_once_with_the_sizes(self):
        self.expect_refusal("memory=4MiB", "of GPU memory are needed", "for weights", "for the KV cache")

    def test_a_driver_that_is_too_old_fails_the_model_at_once(self):
        self.expect_refusal("driver=12040", "the driver knows CUDA up to 12.4")

    def test_a_gpu_without_machine_code_fails_the_model_at_once(self):
        self.expect_refusal("capability=75", "compute capability 7.5")

    def test_a_kv_type_without_kernels_fails_the_model_at_once(self):
        with emulated('kv_type = "q8"\n') as dsd:
            self.assertIn('kv_type = "q8" is not supported on a GPU', dsd.wait_state("failed")["last_error"])


if __name__ == "__main__":
    harness.main()
