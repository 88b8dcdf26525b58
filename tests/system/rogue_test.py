"""A runner that lies is ended, its request gets an explicit error, and the others are served on."""

import os
import unittest

import harness
from harness import Dsd

LIES = ["gap", "choice", "unaccepted", "finished_unaccepted", "accepted_twice", "garbage",
        "unknown_type", "our_own_type", "adopted_unasked",
        "echo_unasked", "embedding_unasked", "logprob_infinite"]

EMBEDDING_LIES = ["embedding_wide", "embedding_no_number", "embedding_missing", "embedding_twice",
                  "embedding_with_tokens"]


class Rogue(unittest.TestCase):
    def start(self, manner, supervise="", more=""):
        config = more + f"[supervise]\n{supervise}\n" + harness.DEVICE
        dsd = Dsd(config, runner=harness.program("rogue_runner"), start=False)
        with open(dsd.config_path, "a") as file:
            for name in ("good", manner):
                path = os.path.join(dsd.directory, f"{name}.gguf")
                with open(path, "w") as model:
                    model.write("the rogue runner reads only the name\n")
                file.write(harness.model_toml(name, path))
        dsd.start()
        self.enterContext(dsd)
        dsd.wait_ready()
        return dsd

    def embed(self, dsd, model):
        return dsd.api("POST", "/v1/embeddings", {"model": model, "input": "go"})

    def ask(self, dsd, model):
        return dsd.api("POST", "/v1/completions", {"model": model, "prompt": "go", "max_tokens": 1})

    def expect_the_end_of_the_liar(self, manner, ask):
        dsd = self.start(manner, "deaths_max = 1")
        dsd.wait_state("ready", index=1)
        answer = ask(dsd, manner)
        self.assertIn(answer.status, (502, 503), answer.text)
        self.assertIn(answer.json["error"]["code"], ("runner_lost", "model_failed"))
        row = dsd.wait_state("failed", index=1)
        self.assertIn("broke the lane's rules", row["last_error"])
        self.assertEqual(ask(dsd, "good").status, 200)
        self.assertEqual(dsd.runner_row(0)["restarts"], 0)

    def test_each_lie_ends_the_runner_and_only_that_one(self):
        for manner in LIES:
            with self.subTest(manner):
                self.expect_the_end_of_the_liar(manner, self.ask)

    def test_each_lie_about_an_embedding_does_so_as_well(self):
        for manner in EMBEDDING_LIES:
            with self.subTest(manner):
                self.expect_the_end_of_the_liar(manner, self.embed)

    def test_repeats_and_strangers_requests_are_ignored(self):
        for manner in ("repeats", "strangers"):
            with self.subTest(manner):
                dsd = self.start(manner)
                answer = self.ask(dsd, manner)
                self.assertEqual(answer.status, 200, answer.text)
                self.assertEqual(answer.json["choices"][0]["text"], "x")
                self.assertEqual(dsd.runner_row(1)["restarts"], 0)

    def test_a_runner_that_exits_at_every_request_loses_that_request_after_one_replay(self):
        dsd = self.start("exit")
        answer = self.ask(dsd, "exit")
        self.assertEqual(answer.status, 502, answer.text)
        self.assertEqual(answer.json["error"]["code"], "runner_lost")
        self.assertIn("exited with status 3", dsd.runner_row(1)["last_error"])
        self.assertEqual(self.ask(dsd, "good").status, 200)

    def test_a_stream_of_a_runner_that_drains_goes_on_elsewhere(self):
        dsd = self.start("leaves", "", '[server]\ndrain_limit = "1s"\n')
        stream = dsd.stream({"model": "leaves", "prompt": "go", "max_tokens": 2})
        self.assertEqual(stream.status, 200)
        texts = stream.texts()
        self.assertEqual(next(texts), "x")
        dsd.wait_state("draining", index=1)  # it is alive and is given nothing
        self.assertEqual("".join(texts), "x")
        self.assertIsNone(stream.error)
        self.assertTrue(stream.done)
        self.assertEqual(dsd.runner_row(1)["restarts"], 1)

    def test_a_model_file_that_changes_while_it_is_served_is_loaded_again(self):
        dsd = self.start("changed")
        answer = self.ask(dsd, "changed")
        self.assertEqual(answer.status, 200, answer.text)
        self.assertEqual(dsd.wait_state("ready", index=1)["restarts"], 1)

    def test_a_client_does_not_hear_where_a_changed_file_lies(self):
        dsd = self.start("always_changed")
        answer = self.ask(dsd, "always_changed")
        self.assertEqual(answer.json["error"]["code"], "runner_lost")
        self.assertEqual(answer.json["error"]["message"], "the model's file changed while it was served")
        self.assertIn("/some/where/model.gguf", dsd.log())

    def test_a_runner_that_dies_without_having_served_is_not_forgiven(self):
        dsd = self.start("short_lived")
        row = dsd.wait_state("backoff", index=1)  # one that is forgiven never gets there
        self.assertGreaterEqual(row["restarts"], 1)  # more where the first of its pauses was over unseen

    def test_a_runner_that_never_says_a_word_is_hung(self):
        dsd = self.start("silent", 'load_hang_after = "1s"\ndeaths_max = 1')
        row = dsd.wait_state("failed", index=1)
        self.assertIn("hung", row["last_error"])
        self.assertEqual(self.ask(dsd, "good").status, 200)


class Poison(unittest.TestCase):
    """What kills its runner is found among those that run beside it, and it alone fails (DESIGN 6.4)."""

    def serve(self, poisons, streams=8):
        config = harness.DEVICE
        dsd = Dsd(config, runner=harness.program("rogue_runner"), start=False)
        path = os.path.join(dsd.directory, "poisoned.gguf")
        with open(path, "w") as model:
            model.write("the rogue runner reads only the name\n")
        with open(dsd.config_path, "a") as file:
            file.write(harness.model_toml("poisoned", path))
        dsd.start()
        self.enterContext(dsd)
        dsd.wait_ready()
        prompts = ["poison" if i in poisons else "go" for i in range(streams)]
        opened = [dsd.stream({"prompt": prompt, "max_tokens": 200}) for prompt in prompts]
        return dsd, [(stream, stream.text()) for stream in opened]

    def expect_that_only_these_fail(self, poisons):
        dsd, ended = self.serve(poisons)
        for i, (stream, text) in enumerate(ended):
            if i in poisons:
                self.assertEqual(stream.error["code"], "runner_lost")
                self.assertFalse(stream.done)
            else:
                self.assertIsNone(stream.error)
                self.assertEqual((text, stream.done), ("x" * 200, True))
        dsd.wait_idle()
        return dsd.wait_state("ready")

    def test_one_among_others_fails_after_three_deaths_at_most(self):
        for place in (0, 3, 7):
            with self.subTest(place):
                self.assertLessEqual(self.expect_that_only_these_fail({place})["restarts"], 3)

    def test_two_are_found_before_the_runner_is_given_up(self):
        self.assertLessEqual(self.expect_that_only_these_fail({2, 5})["restarts"], 6)

    def test_one_by_itself_is_tried_twice(self):
        dsd, ended = self.serve({0}, streams=1)
        self.assertEqual(ended[0][0].error["code"], "runner_lost")
        self.assertEqual(dsd.wait_state("ready")["restarts"], 2)


if __name__ == "__main__":
    harness.main()
