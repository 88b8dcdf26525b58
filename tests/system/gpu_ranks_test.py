"""A model over two emulated GPUs under dsd, which exchange by tests/gpu/fake_nccl: what it says, and what
becomes of an answer when a rank is lost."""

import os
import signal
import unittest

import harness
from gpu_host import device, model
from harness import Dsd, greedy


def answer(dsd, tokens):
    told = dsd.api("POST", "/v1/completions", greedy(tokens=tokens))
    return told.json["choices"][0]["text"] if told.status == 200 else told.text


def spread(supervise=""):
    config = (f"[supervise]\n{supervise}\n" + device("gpu0", 0) + device("gpu1", 1) +
              model("tiny", "gpu0", "gpu1", extra="tensor_parallel = 2\n"))
    return Dsd(config, runner=harness.program("ds-runner-emulated"))


class GpuRanks(unittest.TestCase):
    def set_environment(self, name, value):
        before = os.environ.get(name)
        os.environ[name] = value
        self.addCleanup(os.environ.pop if before is None else os.environ.__setitem__, name, before)

    def test_two_gpus_say_what_the_cpu_says(self):
        with spread() as dsd:
            dsd.wait_ready()
            row, = dsd.runners()
            self.assertEqual([rank["device"] for rank in row["ranks"]], ["gpu0", "gpu1"])
            self.assertIn("-r2-cuda", row["numerics_id"])
            told = answer(dsd, 12)
        with Dsd(harness.DEVICE + harness.model_toml("tiny")) as dsd:
            dsd.wait_ready()
            self.assertEqual(told, answer(dsd, 12))

    def lose_a_rank(self, number, error, supervise=""):
        with spread(supervise) as dsd:
            dsd.wait_ready()
            expected = answer(dsd, 16)
            old = [rank["pid"] for rank in dsd.runner_row()["ranks"]]
            stream = dsd.stream(greedy(tokens=16))
            text = ""
            for count, event in enumerate(stream.events()):
                if count == 3:
                    harness.send(old[1], number)
                text += event["choices"][0]["text"]
            self.assertTrue(stream.done, stream.error)
            self.assertEqual(text, expected)
            row = dsd.wait_state("ready")
            self.assertEqual(row["restarts"], 1)
            self.assertRegex(row["last_error"], error)
            self.assertEqual([pid for pid in old if not harness.is_gone(pid)], [])

    def test_a_killed_rank_restarts_the_group_and_its_answer_goes_on_with_the_same_words(self):
        self.lose_a_rank(signal.SIGKILL, r"^rank 1 of 2: was killed from outside \(SIGKILL\)")

    def test_a_stopped_rank_is_named_and_its_answer_goes_on_with_the_same_words(self):
        self.lose_a_rank(signal.SIGSTOP, r"rank 1 of 2 \(pid \d+\) hangs", 'hang_after = "60s"')

    def test_an_illegal_address_on_a_rank_restarts_the_group_and_the_answer_goes_on(self):
        with spread() as dsd:
            dsd.wait_ready()
            expected = answer(dsd, 17)
        self.set_environment("DEEPSERVE_EMULATED_GPU", "fault=700 fault_launches=650")  # of each process
        with spread() as dsd:
            dsd.wait_ready()
            self.assertEqual(answer(dsd, 17), expected)
            row = dsd.runner_row()
            self.assertGreaterEqual(row["restarts"], 1)
            self.assertRegex(row["last_error"], r"rank [01] of 2: CUDA error 700 \(illegal address\)")

    def test_without_nccl_the_model_fails_at_once(self):
        none = os.path.join(harness.programs, "..", "fakes", "nccl_none")
        self.set_environment("LD_LIBRARY_PATH", os.path.abspath(none))
        with spread() as dsd:
            row = dsd.wait_state("failed")
            self.assertIn("tensor_parallel on GPUs needs NVIDIA's NCCL: ", row["last_error"])
            self.assertEqual(row["restarts"], 0)


if __name__ == "__main__":
    harness.main()
