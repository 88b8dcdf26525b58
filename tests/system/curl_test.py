"""curl over the Unix socket and over TCP: the bytes of the API as a shell script sees them."""

import json
import subprocess
import unittest

import harness
from api_keys_test import KEY, digest, free_port
from harness import Dsd

# One request for each endpoint that has a body; fields beyond these are the Python client's to drive.
BODIES = {
    "/v1/chat/completions": {
        "model": "tiny", "messages": [{"role": "system", "content": "Be brief."},
                                      {"role": "user", "content": "Hi"}],
        "max_tokens": 4, "temperature": 0, "top_p": 0.9, "n": 2, "seed": 1, "stop": ["\n\n"],
        "logprobs": True,
        "top_logprobs": 1, "presence_penalty": 0.1, "frequency_penalty": 0.1, "logit_bias": {"5": -1},
        "user": "ann", "metadata": {"job": "1"}, "service_tier": "auto", "priority": "normal"},
    "/v1/completions": {
        "prompt": "Once", "max_tokens": 4, "temperature": 0.7, "top_k": 40, "min_p": 0.05, "seed": 1, "n": 1,
        "best_of": 2, "echo": True, "logprobs": 1, "stop_token_ids": [1], "repetition_penalty": 1.1,
        "min_tokens": 1, "ignore_eos": True},
    "/v1/embeddings": {"input": ["a", "b"], "dimensions": 4, "encoding_format": "float"},
    "/tokenize": {"prompt": "Once upon a time"},
    "/detokenize": {"tokens": [100, 101]},
}


class Curl(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.port = free_port()
        cls.dsd = cls.enterClassContext(Dsd(
            f'[server]\nlisten = ["unix:api.sock", "127.0.0.1:{cls.port}"]\n' + harness.DEVICE +
            harness.model_toml() + f'[[client]]\nname = "web"\napi_key_sha256 = "{digest(KEY)}"\n'))
        cls.dsd.wait_ready()

    def curl(self, *arguments):
        """Standard output, and the HTTP status as curl's --write-out tells it."""
        result = subprocess.run(["curl", "--silent", "--show-error", "--max-time", str(harness.BOUND_S),
                                 "--write-out", "\n%{http_code}", *arguments],
                                capture_output=True, text=True, check=True)
        body, status = result.stdout.rsplit("\n", 1)
        return int(status), body

    def over_both(self, path, *arguments):
        unix = self.curl("--unix-socket", self.dsd.api_path, f"http://deepserve{path}", *arguments)
        key = f"Authorization: Bearer {KEY}"
        tcp = self.curl("-H", key, f"http://127.0.0.1:{self.port}{path}", *arguments)
        return unix, tcp

    def test_every_endpoint_answers_alike_over_both_sockets(self):
        for path, body in BODIES.items():
            answers = self.over_both(path, "--json", json.dumps(body))
            parts = []
            for status, text in answers:
                self.assertEqual(status, 200, f"{path}: {text}")
                answer = json.loads(text)
                told = ("choices", "data", "tokens", "prompt")
                parts.append({key: answer[key] for key in told if key in answer})
            self.assertEqual(parts[0], parts[1], path)
            self.assertNotEqual(parts[0], {}, path)

    def test_a_stream_arrives_as_events_and_ends_with_done(self):
        body = {**BODIES["/v1/chat/completions"], "stream": True, "stream_options": {"include_usage": True}}
        for status, text in self.over_both("/v1/chat/completions", "--no-buffer", "--json", json.dumps(body)):
            self.assertEqual(status, 200)
            lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
            self.assertEqual(lines[-1], "[DONE]")
            self.assertEqual(json.loads(lines[-2])["usage"]["completion_tokens"], 8)

    def test_an_error_has_openais_shape_wherever_it_comes_from(self):
        mistakes = {"/v1/nowhere": (404, []), "/v1/completions": (405, ["-X", "GET"]),
                    "/v1/chat/completions": (400, ["--json", '{"messages": [}']),
                    "/v1/embeddings": (415, ["-H", "Content-Type: text/plain", "--data", "hi"]),
                    "/v1/models/none": (404, []), "/v1/requests/none": (404, []),
                    "/tokenize": (400, ["--json", '{"prompt": "a", "prompt": "b"}'])}
        for path, (expected, arguments) in mistakes.items():
            for status, text in self.over_both(path, *arguments):
                self.assertEqual(status, expected, f"{path}: {text}")
                self.assertEqual(set(json.loads(text)["error"]) & {"message", "type", "param", "code"},
                                 {"message", "type", "param", "code"})


if __name__ == "__main__":
    harness.main()
