"""Less than was asked for, where a client agreed to it: a long prompt cut, a smaller model's answer."""

import itertools
import os
import signal
import threading
import unittest

import harness
from harness import Dsd, greedy

SENTENCE = "Tell me about the sea and the ships that sail on it. "


def talk(turns):
    messages = [{"role": "system", "content": "Be kind."}]
    for _ in range(turns):
        messages += [{"role": role, "content": SENTENCE * 4} for role in ("user", "assistant")]
    return messages + [{"role": "user", "content": "And now?"}]


class Truncation(unittest.TestCase):
    def setUp(self):
        self.dsd = self.enterContext(Dsd(harness.DEVICE + harness.model_toml()))
        self.dsd.wait_ready()
        for _ in range(3):  # how many tokens bytes are is learnt
            self.assertEqual(self.ask("/v1/chat/completions", messages=talk(1)).status, 200)

    def ask(self, path, headers=None, **body):
        return self.dsd.api("POST", path, {"max_tokens": 4, "temperature": 0, **body}, headers)

    def test_a_chat_beyond_the_context_loses_its_oldest_turns_where_that_was_agreed_to(self):
        refused = self.ask("/v1/chat/completions", messages=talk(40))
        self.assertEqual(refused.json["error"]["code"], "context_length_exceeded", refused.text)
        agreed = {"X-Deepserve-Accept-Degraded": "truncated_context"}
        for more in ({"truncation": "auto"}, {"headers": agreed}):
            answer = self.ask("/v1/chat/completions", messages=talk(40), **more)
            self.assertEqual(answer.status, 200, answer.text)
            self.assertEqual(answer.headers["x-deepserve-degraded"], "truncated_context")
            usage = answer.json["usage"]
            self.assertGreater(usage["prompt_tokens"], 300)
            self.assertGreater(usage["prompt_tokens_details"]["truncated_bytes"], 8_000)
        metrics = self.dsd.api("GET", "/metrics").text
        self.assertIn('deepserve_degraded_answers_total{how="truncated_context"} 2', metrics)
        self.assertIn('deepserve_admission_total{class="normal",outcome="degraded",reason=""} 2', metrics)

    def test_of_a_text_the_end_stays_and_what_fits_is_served_whole(self):
        answer = self.ask("/v1/completions", prompt=SENTENCE * 300, truncation="auto")
        self.assertEqual(answer.headers.get("x-deepserve-degraded"), "truncated_context", answer.text)
        whole = self.ask("/v1/completions", prompt=SENTENCE, truncation="auto")
        self.assertNotIn("x-deepserve-degraded", whole.headers)
        self.assertNotIn("truncated_bytes", whole.text)
        echoed = self.ask("/v1/completions", prompt=SENTENCE * 300, truncation="auto", echo=True)
        self.assertEqual(echoed.status, 400, "a prompt that is told again is told whole")


class SmallerModel(unittest.TestCase):
    def test_a_fallback_answers_at_that_step_of_the_ladder(self):
        config = ('[supervise]\nhang_after = "10m"\n' + harness.DEVICE +
                  harness.model_toml("large", extra='sequences_max = 1\nfallback = ["small"]\n') +
                  harness.model_toml("small") + '[class.normal]\nqueue_max = 1\ndeadline = "10m"\n'
                  f'[[client]]\nname = "me"\nuid = {os.getuid()}\nclass = "vip"\n'
                  'accept_degraded = ["smaller_model", "truncated_context"]\n')
        with Dsd(config) as dsd:
            dsd.wait_ready()
            harness.wait_for(lambda: all(row["state"] == "ready" for row in dsd.runners()), "both models")
            stopped = next(row["pid"] for row in dsd.runners() if row["model"] == "large")
            harness.send(stopped, signal.SIGSTOP)
            body = {**greedy(tokens=4), "model": "large"}

            def in_background(headers):
                thread = threading.Thread(target=dsd.api, args=("POST", "/v1/completions", body, headers))
                before = len(dsd.requests())
                thread.start()
                self.addCleanup(thread.join, harness.BOUND_S)
                harness.wait_for(lambda: len(dsd.requests()) > before, "the request to be taken")

            nothing = {"X-Deepserve-Accept-Degraded": ""}
            in_background({**nothing, "X-Deepserve-Class": "vip"})  # late, for as long as its runner stands
            in_background(nothing)

            prompts = itertools.count()  # who asks for the same again comes for his slot, and waits

            def climbed():
                fresh = {**body, "prompt": f"number {next(prompts)}"}
                self.assertEqual(dsd.api("POST", "/v1/completions", fresh, nothing).status, 503)
                return dsd.control("GET", "/ctl/status").json["brownout"] == "substitute"

            harness.wait_for(climbed, "the ladder's step")
            self.assertIn("\ndeepserve_brownout_level 3\n", dsd.api("GET", "/metrics").text)
            answer = dsd.api("POST", "/v1/completions", body)
            self.assertEqual(answer.status, 200, answer.text)
            self.assertEqual(answer.headers["x-deepserve-degraded"], "smaller_model=small")
            harness.send(stopped, signal.SIGCONT)


if __name__ == "__main__":
    harness.main()
