"""Clients that leave, and clients that do not read."""

import unittest

import harness
from harness import Dsd, greedy


class HangUp(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # KV memory for all that the tests ask for: what would not fit waits in dsd (DESIGN 7).
        cls.dsd = cls.enterClassContext(Dsd(harness.DEVICE + harness.model_toml(kv_memory="128MiB")))
        cls.dsd.wait_ready()

    def test_a_hang_up_cancels_and_frees_the_blocks(self):
        total = self.dsd.runner_row()["kv_blocks_total"]
        # So much work that it cannot end by itself within the bound below.
        streams = [self.dsd.stream(greedy(tokens=900, n=8, temperature=1, seed=1)) for _ in range(4)]
        next(streams[0].texts())
        self.assertEqual(len(self.dsd.requests()), 4)
        for stream in streams:
            stream.close()
        self.dsd.wait_idle(bound_s=5)
        harness.wait_for(lambda: self.dsd.runner_row()["kv_blocks_free"] == total, "all blocks to be free")
        self.assertEqual(self.dsd.runner_row()["sequences_running"], 0)

    def test_readers_that_do_not_read_stall_nobody(self):
        idle_readers = [self.dsd.stream(greedy(tokens=900, n=4, temperature=1, seed=3)) for _ in range(4)]
        answer = self.dsd.api("POST", "/v1/completions", greedy(tokens=50))
        self.assertEqual(answer.status, 200, answer.text)
        for stream in idle_readers:
            stream.close()
        self.dsd.wait_idle()

    def test_a_client_that_reads_late_gets_every_token(self):
        expected = self.dsd.api("POST", "/v1/completions", greedy(tokens=900)).json["choices"][0]["text"]
        stream = self.dsd.stream(greedy(tokens=900))
        self.dsd.wait_idle()  # the runner is done; nothing was read so far
        self.assertEqual(stream.text(), expected)
        self.assertTrue(stream.done)


if __name__ == "__main__":
    harness.main()
