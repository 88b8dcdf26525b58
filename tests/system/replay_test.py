"""Killing a runner loses no token and repeats none: streams go on where they were."""

import signal
import threading
import unittest

import harness
from harness import MANY, Dsd, greedy

TOKENS = 700


class Replay(unittest.TestCase):
    def setUp(self):
        self.dsd = self.enterContext(Dsd(harness.DEVICE + harness.model_toml()))
        self.dsd.wait_ready()

    def undisturbed(self, body):
        answer = self.dsd.api("POST", "/v1/completions", body)
        self.assertEqual(answer.status, 200, answer.text)
        return [choice["text"] for choice in answer.json["choices"]]

    def read_killing(self, body, kills, number=signal.SIGKILL):
        """The texts of a stream's choices; the runner is sent `number` after each of `kills` events."""
        stream = self.dsd.stream(body)
        self.assertEqual(stream.status, 200)
        texts = [""] * body.get("n", 1)
        killed = set()

        def next_victim():  # events may come from one that is dead, before dsd hears of its death
            row = self.dsd.runner_row()
            return row["state"] == "ready" and row["pid"] not in killed and row["pid"]

        for count, event in enumerate(stream.events(), start=1):
            for choice in event["choices"]:
                texts[choice["index"]] += choice["text"]
            if count in kills:
                pid = harness.wait_for(next_victim, "a runner to kill")
                self.assertTrue(self.dsd.requests(), "the stream was over before the kill: nothing was tried")
                killed.add(pid)
                harness.send(pid, number)
        return texts, stream

    def test_a_stream_survives_one_kill(self):
        body = greedy(tokens=TOKENS, n=MANY)
        expected = self.undisturbed(body)
        texts, stream = self.read_killing(body, {5})
        self.assertIsNone(stream.error)
        self.assertTrue(stream.done)
        self.assertEqual(texts, expected)
        row = self.dsd.runner_row()
        self.assertEqual(row["restarts"], 1)
        self.assertIn("SIGKILL", row["last_error"])
        self.assert_ids_only_grow(stream)

    def assert_ids_only_grow(self, stream):
        positions = [harness.tokens_told(one) for one in stream.ids]
        for before, after in zip(positions, positions[1:]):
            self.assertTrue(all(b <= a for b, a in zip(before, after)), (before, after))
        self.assertEqual(positions[-1], [TOKENS] * MANY)

    def test_a_stream_survives_many_kills(self):
        body = greedy("The old farmer", tokens=TOKENS, n=MANY)
        expected = self.undisturbed(body)
        texts, stream = self.read_killing(body, {2, 6, 10, 14})
        self.assertIsNone(stream.error)
        self.assertEqual(texts, expected)
        self.assertGreaterEqual(self.dsd.runner_row()["restarts"], 2)

    def test_sampled_choices_go_on_with_the_same_draws(self):
        body = greedy(tokens=300, n=MANY, temperature=0.9, seed=20)
        expected = self.undisturbed(body)
        texts, stream = self.read_killing(body, {5})
        self.assertIsNone(stream.error)
        self.assertEqual(texts, expected)

    def test_a_scored_echo_is_told_once_when_the_runner_dies_in_the_middle_of_it(self):
        body = greedy("Once upon a time there was a bird. " * 60, tokens=40, n=2, echo=True, logprobs=2)
        answer = self.dsd.api("POST", "/v1/completions", body)
        self.assertEqual(answer.status, 200, answer.text)
        expected = answer.json["choices"]
        stream = self.dsd.stream(body)
        texts, logprobs = ["", ""], [{}, {}]
        killed = False
        for event in stream.events():
            for choice in event["choices"]:
                texts[choice["index"]] += choice["text"]
                for name, values in (choice["logprobs"] or {}).items():
                    logprobs[choice["index"]].setdefault(name, []).extend(values)
            if not killed:
                killed = True
                self.assertLess(len(texts[0]), len(body["prompt"]), "the echo was over before the kill")
                harness.send(self.dsd.runner_row()["pid"], signal.SIGKILL)
        self.assertIsNone(stream.error)
        self.assertTrue(texts[0].startswith(body["prompt"]))
        harness.wait_for(lambda: self.dsd.runner_row()["restarts"] == 1, "the death to be heard of")
        for index, choice in enumerate(expected):
            self.assertEqual(texts[index], choice["text"])
            self.assertEqual(logprobs[index], choice["logprobs"])

    def test_concurrent_streams_all_survive(self):
        prompts = ["Once upon a time", "In the morning", "The bird said", "There was a king"]
        bodies = {prompt: greedy(prompt, tokens=400, n=4) for prompt in prompts}
        expected = {prompt: self.undisturbed(body) for prompt, body in bodies.items()}
        streams = {prompt: self.dsd.stream(body) for prompt, body in bodies.items()}
        texts = {}

        def read(prompt):
            texts[prompt] = streams[prompt].begin().choices()

        readers = [threading.Thread(target=read, args=[prompt]) for prompt in prompts]
        for reader in readers:
            reader.start()
        harness.wait_for(lambda: sum(row["generated_tokens"] for row in self.dsd.requests()) > 100,
                         "some tokens")
        harness.send(self.dsd.runner_row()["pid"], signal.SIGKILL)
        for reader in readers:
            reader.join(harness.BOUND_S)
        self.assertEqual(texts, expected)

    def test_the_first_crash_is_forgiven(self):
        body = greedy(tokens=TOKENS, n=MANY)
        expected = self.undisturbed(body)
        texts, stream = self.read_killing(body, {5}, signal.SIGSEGV)
        self.assertIsNone(stream.error)
        self.assertEqual(texts, expected)
        self.assertIn("SIGSEGV", self.dsd.runner_row()["last_error"])

    def test_the_second_crash_ends_the_stream_with_an_error_and_without_done(self):
        stream = self.dsd.stream(greedy(tokens=TOKENS, n=MANY))
        events = stream.events()
        for _ in range(2):
            next(events)
            row = self.dsd.wait_state("ready")
            harness.send(row["pid"], signal.SIGSEGV)
            harness.wait_for(lambda: self.dsd.runner_row()["pid"] != row["pid"], "another runner")
        for _ in events:
            pass
        self.assertEqual(stream.error["code"], "runner_lost")
        self.assertFalse(stream.done)
        self.dsd.wait_idle()


if __name__ == "__main__":
    harness.main()
