"""Who answers for a model that only fails: another one, or a text, and it is said."""

import os
import unittest
from tempfile import TemporaryDirectory

import harness
from harness import Dsd, greedy


class Fallback(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        path = os.path.join(cls.enterClassContext(TemporaryDirectory()), "broken.gguf")
        with open(path, "wb") as file:
            file.write(b"not a model at all")
        cls.dsd = cls.enterClassContext(Dsd(
            harness.DEVICE + harness.model_toml() +
            harness.model_toml("other", path, extra='fallback = ["tiny"]\n') +
            harness.model_toml("text", path, extra='fallback_reply = "Come back later."\n') +
            harness.model_toml("nobody", path)))
        cls.dsd.wait_ready()
        for index in (1, 2, 3):
            cls.dsd.wait_state("failed", index=index)

    def ask(self, model, endpoint="completions", **more):
        return self.dsd.api("POST", f"/v1/{endpoint}", {"model": model, **more})

    def test_another_model_answers_in_its_own_words(self):
        expected = self.ask("tiny", **greedy(tokens=20)).json["choices"][0]["text"]
        answer = self.ask("other", **greedy(tokens=20))
        self.assertEqual(answer.status, 200, answer.text)
        self.assertEqual(answer.json["choices"][0]["text"], expected)
        self.assertEqual(answer.headers["x-deepserve-degraded"], "fallback_model=tiny")

    def test_a_text_answers_where_no_model_does_each_choice_and_as_a_stream(self):
        chat = self.ask("text", "chat/completions", messages=[{"role": "user", "content": "Hello!"}], n=2)
        self.assertEqual(chat.status, 200, chat.text)
        self.assertEqual([choice["message"]["content"] for choice in chat.json["choices"]],
                         ["Come back later."] * 2)
        self.assertEqual(chat.headers["x-deepserve-degraded"], "fallback_reply")
        stream = self.dsd.stream({"model": "text", **greedy()})
        self.assertEqual(stream.text(), "Come back later.")
        self.assertTrue(stream.done)

    def test_without_a_fallback_it_is_an_error_and_an_embedding_has_none(self):
        self.assertEqual(self.ask("nobody", **greedy()).json["error"]["code"], "model_failed")
        self.assertEqual(self.ask("other", "embeddings", input="a").json["error"]["code"], "model_failed")


if __name__ == "__main__":
    harness.main()
