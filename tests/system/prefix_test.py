"""A prompt goes to the runner that has its beginning in its cache."""

import threading
import unittest

import harness
from harness import MANY, Dsd, greedy

DEVICES = '[[device]]\nname = "a"\nkind = "cpu"\n[[device]]\nname = "b"\nkind = "cpu"\n'
DOCUMENT = "The quick brown fox jumps over the lazy dog. " * 40


class Prefix(unittest.TestCase):
    def setUp(self):
        self.dsd = self.enterContext(Dsd(DEVICES + harness.model_toml(devices=("a", "b"))))
        self.dsd.wait_ready()
        harness.wait_for(lambda: all(row["state"] == "ready" for row in self.dsd.runners()), "both runners")

    def hits(self):
        return {row["id"]: row["prefix_hits_total"] for row in self.dsd.runners()}

    def ask(self, prompt, **more):
        answer = self.dsd.api("POST", "/v1/completions", greedy(prompt, **{"tokens": 2, **more}))
        self.assertEqual(answer.status, 200, answer.text)
        return answer.json["usage"]["prompt_tokens_details"]["cached_tokens"]

    def test_a_document_is_asked_about_where_it_is_known(self):
        # The runner that is taken among equals works on something else while the document comes.
        busy = threading.Thread(target=self.ask, args=["Once upon a time"],
                                kwargs={"tokens": 600, "n": MANY})
        busy.start()
        harness.wait_for(lambda: any(row["requests"] for row in self.dsd.runners()), "the first to be taken")
        self.assertEqual(self.ask(DOCUMENT + "First?"), 0)
        busy.join(harness.BOUND_S)
        before = self.hits()
        for question in ("What jumps?", "Over whom?", "How quick?"):
            self.assertGreater(self.ask(DOCUMENT + question), 100)
        after = self.hits()
        self.assertEqual(sum(after[name] > before[name] for name in after), 1)


if __name__ == "__main__":
    harness.main()
