"""dsd is killed and another one takes its place: whoever comes back gets the rest, and nobody else does."""

import signal
import subprocess
import unittest

import harness
from harness import MANY, Dsd, FollowedStream, greedy

LONG = greedy(tokens=900, n=MANY)


class ComeBack(unittest.TestCase):
    def setUp(self):
        self.dsd = self.enterContext(Dsd(harness.DEVICE + harness.model_toml(kv_memory="64MiB")))
        self.dsd.wait_ready()
        self.runner = self.dsd.runner_row()["pid"]

    def post(self, body, key=None, endpoint="/v1/completions"):
        return self.dsd.api("POST", endpoint, body, {"Idempotency-Key": key} if key else None)

    def hold_runner(self):
        """So that what runs now still does when dsd dies."""
        harness.send(self.runner, signal.SIGSTOP)
        self.assertTrue(self.dsd.requests(), "it was over before the runner was held: nothing was tried")

    def replace_dsd(self):
        self.dsd.replace()
        harness.send(self.runner, signal.SIGCONT)

    def assert_same_runner(self):
        row = self.dsd.wait_state("ready")
        self.assertEqual((row["pid"], row["restarts"]), (self.runner, 0))

    def test_dsctl_reads_on_by_itself(self):
        command = [harness.program("dsctl"), "--runtime-dir", self.dsd.runtime_dir, "generate", "The sea",
                   "--max-tokens", "900", "--temperature", "0"]
        expected = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
        self.dsd.stream(LONG).begin()  # beside it dsctl's answer takes as long
        with subprocess.Popen(command, bufsize=0, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reader:
            first = reader.stdout.read(1)
            self.hold_runner()
            self.replace_dsd()
            rest, trouble = reader.communicate(timeout=60)
            self.assertEqual(reader.returncode, 0, trouble)
        self.assertEqual(first + rest, expected)
        self.assert_same_runner()

    def test_a_repeated_post_gets_the_first_ones_answer(self):
        expected = {choice["index"]: choice["text"] for choice in self.post(LONG).json["choices"]}
        stream = self.dsd.stream(LONG, headers={"Idempotency-Key": "k"})
        stream.begin()
        self.hold_runner()
        self.replace_dsd()
        stream.close()
        again = FollowedStream(self.dsd.api_path, LONG, headers={"Idempotency-Key": "k"}).follow()
        self.assertEqual(again.texts, expected)
        self.assertEqual(again.request_id, stream.ids[0].split(":")[0])
        self.assertEqual(self.post({**LONG, "max_tokens": 5}, "k").status, 422)
        self.assert_same_runner()

    def test_several_prompts_and_choices_come_back_together(self):
        prompts = ["Once upon a time", "The sea"]
        body = greedy(prompts, tokens=900, n=MANY // 2, seed=5) | {"temperature": 0.8}
        expected = {choice["index"]: choice["text"] for choice in self.post(body).json["choices"]}
        stream = FollowedStream(self.dsd.api_path, body)

        def strike():
            self.hold_runner()
            self.replace_dsd()

        stream.strike_once(strike)
        self.assertEqual(stream.follow().texts, expected)
        self.assertEqual(set(stream.finishes.values()), {1})
        self.assert_same_runner()

    def test_what_had_ended_can_be_read_on_too(self):
        stream = self.dsd.stream(greedy(tokens=900))
        text = stream.text()
        embedding = self.post({"input": ["a", "b"]}, "e", "/v1/embeddings")
        self.replace_dsd()
        rest = FollowedStream(self.dsd.api_path, {})
        rest.request_id, rest.last_id = stream.ids[0].split(":")[0], stream.ids[len(stream.ids) // 2]
        rest.follow()
        self.assertTrue(text.endswith(rest.texts.get(0, "")))
        self.assertEqual(rest.finishes, {0: 1})
        whole = FollowedStream(self.dsd.api_path, {})
        whole.request_id = rest.request_id
        self.assertEqual(whole.follow().texts, {0: text})
        again = self.post({"input": ["a", "b"]}, "e", "/v1/embeddings")
        self.assertEqual(again.json["data"], embedding.json["data"])
        self.assertEqual(again.headers["x-request-id"], embedding.headers["x-request-id"])

    def test_with_its_runner_dead_too_it_is_gone(self):
        stream = self.dsd.stream(LONG)
        stream.begin()
        self.hold_runner()
        self.dsd.process.send_signal(signal.SIGKILL)
        self.dsd.process.wait()
        stream.close()
        harness.send(self.runner, signal.SIGKILL)
        self.dsd.start()
        lost = FollowedStream(self.dsd.api_path, {})
        lost.request_id, lost.last_id = stream.ids[0].split(":")[0], stream.ids[-1]
        lost.follow()
        self.assertEqual(lost.status, 410)
        self.assertEqual(lost.error["code"], "gone")


if __name__ == "__main__":
    harness.main()
