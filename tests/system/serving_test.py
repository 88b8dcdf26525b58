"""A model served end to end: ready, answers, streams, and what can be seen of it."""

import os
import unittest

import harness
from harness import MANY, Dsd, greedy


class Serving(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        config = harness.DEVICE + harness.model_toml(extra='aliases = ["default"]\n')
        cls.dsd = cls.enterClassContext(Dsd(config))
        cls.dsd.wait_ready()

    def test_a_stream_says_the_same_as_one_answer(self):
        whole = self.dsd.api("POST", "/v1/completions", greedy(tokens=60))
        self.assertEqual(whole.status, 200, whole.text)
        stream = self.dsd.stream(greedy(tokens=60))
        self.assertEqual(stream.text(), whole.json["choices"][0]["text"])
        self.assertTrue(stream.done)
        self.assertEqual(whole.json["usage"]["completion_tokens"], 60)

    def test_chat_answers_with_words(self):
        answer = self.dsd.api("POST", "/v1/chat/completions", {
            "model": "tiny", "messages": [{"role": "user", "content": "Tell me a story."}], "max_tokens": 40,
            "temperature": 0})
        self.assertEqual(answer.status, 200, answer.text)
        self.assertRegex(answer.json["choices"][0]["message"]["content"], "[a-z]+ [a-z]+")
        self.assertRegex(answer.headers["x-request-id"], "^[0-9a-f]{16}$")

    def test_two_choices_come_in_one_request(self):
        body = greedy(tokens=20, n=2, temperature=0.8, seed=7)
        first = self.dsd.api("POST", "/v1/completions", body).json
        self.assertEqual([choice["index"] for choice in first["choices"]], [0, 1])
        again = self.dsd.api("POST", "/v1/completions", body).json
        self.assertEqual([c["text"] for c in first["choices"]], [c["text"] for c in again["choices"]])

    def test_an_alias_and_the_default_reach_the_model_and_others_are_404(self):
        for name in ("default", "tiny"):
            answer = self.dsd.api("POST", "/v1/completions", greedy(tokens=2, model=name))
            self.assertEqual(answer.status, 200)
        unknown = self.dsd.api("POST", "/v1/completions", greedy(tokens=2, model="gpt-9"))
        self.assertEqual(unknown.status, 404)
        self.assertEqual(unknown.json["error"]["code"], "model_not_found")
        self.assertIn("tiny", unknown.json["error"]["message"])

    def test_tokenize_and_detokenize_are_each_others_inverse(self):
        question = {"prompt": "A blue bird.", "add_special_tokens": False}
        tokens = self.dsd.api("POST", "/tokenize", question).json["tokens"]
        text = self.dsd.api("POST", "/detokenize", {"tokens": tokens}).json
        self.assertEqual(text["prompt"], "A blue bird.")

    def test_a_running_request_is_seen_with_its_peer(self):
        stream = self.dsd.stream(greedy(tokens=900, n=MANY)).begin()
        rows = [row for row in self.dsd.requests() if row["state"] == "streaming"]
        stream.close()
        self.assertEqual(len(rows), 1, rows)
        self.assertEqual(rows[0]["peer"], {"pid": os.getpid(), "uid": os.getuid(), "gid": os.getgid()})
        self.assertEqual(rows[0]["runner"], "tiny@cpu0")
        self.assertGreater(rows[0]["generated_tokens"], 0)
        self.dsd.wait_idle()

    def test_an_operator_cancels_a_request(self):
        stream = self.dsd.stream(greedy(tokens=900, n=MANY)).begin()
        row = self.dsd.requests()[0]
        cancelled = self.dsd.control("POST", f"/ctl/requests/{row['id']}/cancel")
        self.assertEqual(cancelled.status, 200, cancelled.text)
        stream.choices()
        self.assertEqual(stream.error["code"], "request_cancelled")
        self.assertFalse(stream.done)
        self.dsd.wait_idle()
        self.assertEqual(self.dsd.control("POST", f"/ctl/requests/{row['id']}/cancel").status, 404)

    def test_a_prompt_longer_than_the_context_is_refused_by_name(self):
        answer = self.dsd.api("POST", "/v1/completions", greedy("word " * 5000, tokens=1))
        self.assertEqual(answer.status, 400)
        self.assertEqual(answer.json["error"]["code"], "context_length_exceeded")

    def test_the_control_api_shows_models_runners_and_config(self):
        status = self.dsd.control("GET", "/ctl/status").json
        self.assertTrue(status["ready"])
        self.assertEqual(status["pid"], self.dsd.process.pid)
        self.assertEqual(status["models"][0]["state"], "ready")
        self.assertEqual(status["runners"][0]["id"], "tiny@cpu0")
        config = self.dsd.control("GET", "/ctl/config").json
        self.assertEqual(config["path"], self.dsd.config_path)
        self.assertEqual(config["config"]["class"]["normal"]["deadline"], "5s")

    def test_the_sockets_are_for_whom_they_are_meant(self):
        self.assertEqual(os.stat(self.dsd.api_path).st_mode & 0o777, 0o660)
        self.assertEqual(os.stat(self.dsd.control_path).st_mode & 0o777, 0o600)
        self.assertEqual(os.stat(self.dsd.runtime_dir).st_mode & 0o777, 0o700)


if __name__ == "__main__":
    harness.main()
