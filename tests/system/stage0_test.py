"""What would be refused anyway is refused on the head of its request, before its body is sent."""

import socket
import unittest

import harness
from harness import Dsd, greedy

BODY_BYTES = 3_000


class Head:
    """Sends a head alone, and asks to be told whether to go on."""

    def __init__(self, dsd, headers):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(harness.BOUND_S)
        self.socket.connect(dsd.api_path)
        lines = ["POST /v1/completions HTTP/1.1", "Host: x", "Content-Type: application/json",
                 f"Content-Length: {BODY_BYTES}", "Expect: 100-continue"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.text = self.socket.recv(65536).decode()
        self.status = int(self.text.split()[1])
        self.socket.close()

    def field(self, name):
        for line in self.text.split("\r\n"):
            if line.lower().startswith(name + ":"):
                return line.split(":", 1)[1].strip()
        return None


class Stage0(unittest.TestCase):
    def serve(self, *models):
        dsd = self.enterContext(Dsd(harness.DEVICE + "".join(harness.model_toml(name) for name in models)))
        dsd.wait_ready()
        harness.wait_for(lambda: all(row["state"] == "ready" for row in dsd.runners()), "all models")
        for name in models:  # how fast they are is measured
            body = greedy("A long story. " * 60, tokens=20, model=name)
            for _ in range(2):
                dsd.api("POST", "/v1/completions", body)
        harness.wait_for(lambda: all(row["prefill_tokens_per_second"] > 0 for row in dsd.runners()), "speeds")
        return dsd

    def check(self, dsd):
        hopeless = {"X-Deepserve-Deadline-Ms": "1"}
        for more in ({}, {"X-Deepserve-Class": "normal"}):
            refused = harness.wait_for(
                lambda more=more: (lambda head: head if head.status == 503 else None)(
                    Head(dsd, {**hopeless, **more})), "a refusal on the head")
            self.assertIn('"reason":', refused.text)
            self.assertIsNotNone(refused.field("retry-after"))
        for fine in ({}, {"X-Deepserve-Deadline-Ms": "60000"}, {"X-Deepserve-Class": "batch"}):
            self.assertEqual(Head(dsd, fine).status, 100, fine)

    def test_with_one_model_and_without_the_class_named(self):
        self.check(self.serve("tiny"))

    def test_with_several_models_of_which_the_body_names_one(self):
        self.check(self.serve("tiny", "other"))


if __name__ == "__main__":
    harness.main()
