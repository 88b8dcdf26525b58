"""The official Python client drives every field of the API, over the Unix socket and over TCP with a key."""

import base64
import json
import math
import struct
import unittest

import harness
import httpx2
import openai
from api_keys_test import KEY, digest, free_port
from harness import Dsd

# Twenty tokens of an answer are enough to see a field's effect.
SHORT = {"max_tokens": 20, "temperature": 0}
PROMPT = "Once upon a time"
CHAT = [{"role": "user", "content": "Hello"}]


class EveryField:
    """The tests; the two classes at the end say over which socket."""

    def setUp(self):
        self.port = free_port()
        self.dsd = self.enterContext(Dsd(
            f'[server]\nlisten = ["unix:api.sock", "127.0.0.1:{self.port}"]\n' + harness.DEVICE +
            harness.model_toml(extra='aliases = ["gpt-tiny"]\n') +
            f'[[client]]\nname = "web"\nclass = "vip"\napi_key_sha256 = "{digest(KEY)}"\n'))
        self.dsd.wait_ready()
        self.client = self.enterContext(self.make_client())

    def complete(self, **fields):
        return self.client.completions.create(**{"model": "tiny", "prompt": PROMPT, **SHORT, **fields})

    def chat(self, **fields):
        return self.client.chat.completions.create(**{"model": "tiny", "messages": CHAT, **SHORT, **fields})

    # Choices, their scores, and the prompt among them.

    def test_n_choices_come_in_order_and_a_seed_repeats_them(self):
        drawn = dict(n=3, temperature=1.5, seed=7)
        first, second = self.complete(**drawn), self.complete(**drawn)
        self.assertEqual([choice.index for choice in first.choices], [0, 1, 2])
        texts = [choice.text for choice in first.choices]
        self.assertEqual(texts, [choice.text for choice in second.choices])
        self.assertEqual(len(set(texts)), 3)
        other = self.complete(n=3, temperature=1.5, seed=8)
        self.assertNotEqual(texts, [choice.text for choice in other.choices])

    def test_best_of_tells_the_likeliest(self):
        answer = self.complete(n=1, best_of=4, temperature=1.2, seed=3, logprobs=0)
        every = self.complete(n=4, temperature=1.2, seed=3, logprobs=0)
        mean = lambda choice: sum(choice.logprobs.token_logprobs) / len(choice.logprobs.token_logprobs)
        self.assertEqual(answer.choices[0].text, max(every.choices, key=mean).text)
        self.assertEqual(answer.usage.completion_tokens, every.usage.completion_tokens)

    def test_completion_logprobs_have_tokens_offsets_and_alternatives(self):
        choice = self.complete(logprobs=3).choices[0]
        scores = choice.logprobs
        self.assertEqual("".join(scores.tokens), choice.text)
        self.assertEqual(len(scores.tokens), len(scores.token_logprobs))
        offset = 0
        for token, at in zip(scores.tokens, scores.text_offset):
            self.assertEqual(at, offset)
            offset += len(token)
        for token, logprob, best in zip(scores.tokens, scores.token_logprobs, scores.top_logprobs):
            self.assertLessEqual(logprob, 0)
            self.assertEqual(len(best), 3)
            self.assertAlmostEqual(max(best.values()), logprob, places=4)  # greedy
            self.assertIn(token, best)

    def test_echo_comes_first_and_has_logprobs_when_asked(self):
        self.assertTrue(self.complete(echo=True).choices[0].text.startswith(PROMPT))
        choice = self.complete(echo=True, logprobs=1, max_tokens=0).choices[0]
        self.assertEqual(choice.text, PROMPT)
        self.assertEqual("".join(choice.logprobs.tokens), PROMPT)
        self.assertIsNone(choice.logprobs.token_logprobs[0])
        self.assertTrue(all(value < 0 for value in choice.logprobs.token_logprobs[1:]))

    def test_several_prompts_are_answered_in_order(self):
        answer = self.complete(prompt=[PROMPT, "The sea"], n=2, echo=True)
        self.assertEqual([choice.index for choice in answer.choices], [0, 1, 2, 3])
        starts = [choice.text.startswith(PROMPT) for choice in answer.choices]
        self.assertEqual(starts, [True, True, False, False])

    def test_chat_logprobs_have_bytes_and_alternatives(self):
        choice = self.chat(logprobs=True, top_logprobs=2).choices[0]
        for entry in choice.logprobs.content:
            self.assertEqual(bytes(entry.bytes).decode(), entry.token)
            self.assertEqual(len(entry.top_logprobs), 2)
            self.assertAlmostEqual(entry.top_logprobs[0].logprob, entry.logprob, places=4)

    # When it ends.

    def test_five_stops_end_the_text_before_the_first_that_comes(self):
        whole = self.complete(max_tokens=60).choices[0].text
        words = [word for word in whole.split() if len(word) > 3][2:6]
        answer = self.complete(max_tokens=60, stop=["\x00never", *words]).choices[0]
        self.assertEqual(answer.finish_reason, "stop")
        self.assertTrue(whole.startswith(answer.text))
        self.assertFalse(any(word in answer.text for word in words))

    def test_stop_token_ids_end_the_answer(self):
        token = self.complete(logprobs=0).choices[0].logprobs.tokens[4]
        ids = self.dsd.api("POST", "/tokenize", {"prompt": token}).json["tokens"]
        answer = self.complete(extra_body={"stop_token_ids": ids})
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        self.assertLess(answer.usage.completion_tokens, 20)

    def test_without_max_tokens_an_answer_has_the_rest_of_the_context(self):
        answer = self.client.completions.create(model="tiny", prompt=PROMPT, temperature=0,
                                                extra_body={"ignore_eos": True})
        self.assertEqual(answer.choices[0].finish_reason, "length")
        model = self.client.models.retrieve("tiny")
        self.assertEqual(answer.usage.total_tokens, model.model_extra["max_model_len"])

    def test_max_completion_tokens_is_chats_name_for_it(self):
        answer = self.client.chat.completions.create(model="tiny", messages=CHAT, max_completion_tokens=3,
                                                     extra_body={"ignore_eos": True})
        self.assertEqual(answer.usage.completion_tokens, 3)

    # Streams.

    def test_a_stream_says_the_same_and_ends_with_its_usage(self):
        whole = self.chat()
        events = list(self.chat(stream=True, stream_options={"include_usage": True}))
        text = "".join(event.choices[0].delta.content or "" for event in events if event.choices)
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertEqual(events[-1].choices, [])
        self.assertEqual(events[-1].usage.completion_tokens, whole.usage.completion_tokens)
        self.assertIsNone(events[0].usage)

    # Who asks, and how urgently.

    def test_labels_are_taken_and_change_nothing(self):
        plain = self.complete().choices[0].text
        labelled = self.complete(user="ann", extra_body={"metadata": {"job": "7"}}).choices[0].text
        self.assertEqual(plain, labelled)
        self.chat(user="ann", metadata={"job": "7"}, store=False)

    def test_the_service_tier_in_force_is_told(self):
        self.assertEqual(self.chat(service_tier="flex").service_tier, "flex")
        self.assertEqual(self.chat(service_tier="auto").service_tier, "default")

    def test_priority_names_a_class(self):
        for priority in ("vip", "normal", "batch", -1, 0, 1):
            self.chat(extra_body={"priority": priority})
        with self.assertRaises(openai.BadRequestError) as refused:
            self.chat(extra_body={"priority": "gold"})
        self.assertEqual(refused.exception.param, "priority")

    def test_usage_has_its_details(self):
        block = 16
        for ask in (self.chat, self.complete):
            ask()
            usage = ask().usage
            self.assertEqual(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
            # Whole blocks of what was asked before are found again; the last token is always computed.
            whole_blocks = (usage.prompt_tokens - 1) // block * block
            self.assertEqual(usage.prompt_tokens_details.cached_tokens, whole_blocks)
            self.assertEqual(usage.completion_tokens_details.reasoning_tokens, 0)

    def test_a_request_over_its_time_is_told_so(self):
        with self.assertRaises(openai.APIStatusError) as late:
            self.client.with_options(max_retries=0).completions.create(
                model="tiny", prompt=PROMPT, max_tokens=900, n=64, extra_body={"ignore_eos": True},
                extra_headers={"X-Deepserve-Timeout-Ms": "300"})
        self.assertEqual(late.exception.status_code, 408)
        self.assertEqual(late.exception.code, "request_timeout")
        self.dsd.wait_idle()

    # What the answer is bound to be.

    def test_json_mode_gives_a_json_object(self):
        answer = self.chat(response_format={"type": "json_object"}, max_tokens=400, temperature=1, seed=2)
        if answer.choices[0].finish_reason == "stop":
            self.assertIsInstance(json.loads(answer.choices[0].message.content), dict)

    def test_a_schema_is_kept(self):
        schema = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 8},
                                                   "age": {"type": "integer", "minimum": 0, "maximum": 99},
                                                   "kind": {"enum": ["cat", "dog"]}},
                  "required": ["name", "age", "kind"], "additionalProperties": False}
        form = {"type": "json_schema", "json_schema": {"name": "pet", "schema": schema, "strict": True}}
        for seed in range(5):
            answer = self.chat(response_format=form, max_tokens=200, temperature=1.2, seed=seed)
            self.assertEqual(answer.choices[0].finish_reason, "stop")
            pet = json.loads(answer.choices[0].message.content)
            self.assertEqual(list(pet), ["name", "age", "kind"])
            self.assertLessEqual(len(pet["name"]), 8)
            self.assertIn(pet["age"], range(100))
            self.assertIn(pet["kind"], ("cat", "dog"))

    def test_a_schema_that_cannot_be_kept_is_refused_by_its_keyword(self):
        schema = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}
        form = {"type": "json_schema", "json_schema": {"name": "set", "schema": schema}}
        with self.assertRaisesRegex(openai.BadRequestError, "uniqueItems"):
            self.chat(response_format=form)

    def test_a_grammar_is_kept(self):
        answer = self.complete(extra_body={"grammar": 'root ::= ("yes" | "no") " " [0-9]{3}'}, temperature=1)
        self.assertRegex(answer.choices[0].text, r"^(yes|no) [0-9]{3}$")
        with self.assertRaises(openai.BadRequestError):
            self.complete(extra_body={"grammar": "root ::= missing"})

    # Embeddings.

    def test_embeddings_have_length_one_and_their_order(self):
        inputs = ["a dog", "a cat", "the law of nations"]
        answer = self.client.embeddings.create(model="tiny", input=inputs, encoding_format="float")
        vectors = [row.embedding for row in answer.data]
        self.assertEqual([row.index for row in answer.data], [0, 1, 2])
        for vector in vectors:
            self.assertAlmostEqual(math.hypot(*vector), 1, places=5)
        alone = self.client.embeddings.create(model="tiny", input=inputs[1], encoding_format="float")
        self.assertEqual(alone.data[0].embedding, vectors[1])
        self.assertGreater(answer.usage.prompt_tokens, alone.usage.prompt_tokens)

    def test_embeddings_come_shortened_and_in_base64(self):
        short = self.client.embeddings.create(model="tiny", input="a dog", dimensions=8)  # base64 on the wire
        self.assertEqual(len(short.data[0].embedding), 8)
        self.assertAlmostEqual(math.hypot(*short.data[0].embedding), 1, places=5)
        asked = {"input": "a dog", "dimensions": 8, "encoding_format": "base64"}
        raw = self.dsd.api("POST", "/v1/embeddings", asked)
        told = struct.unpack("<8f", base64.b64decode(raw.json["data"][0]["embedding"]))
        self.assertEqual([round(value, 5) for value in told],
                         [round(value, 5) for value in short.data[0].embedding])

    # Models and requests.

    def test_an_alias_is_the_model(self):
        self.assertEqual(self.complete(model="gpt-tiny").model, "tiny")
        self.assertEqual(self.client.models.retrieve("gpt-tiny").model_extra["root"], "tiny")
        self.assertIn("tiny", [model.id for model in self.client.models.list()])
        with self.assertRaises(openai.NotFoundError) as unknown:
            self.complete(model="gpt-4")
        self.assertEqual(unknown.exception.code, "model_not_found")

    def test_what_became_of_a_request_is_told_to_its_client(self):
        answer = self.chat()
        status = self.client.get(f"/requests/{answer.id}", cast_to=httpx2.Response).json()
        self.assertEqual(status["state"], "finished")
        self.assertEqual(status["usage"]["completion_tokens"], answer.usage.completion_tokens)
        with self.assertRaises(openai.NotFoundError):
            self.client.get("/requests/chatcmpl-0000000000000001", cast_to=httpx2.Response)

    # What is not there is refused by name.

    def test_fields_that_are_not_honoured_are_refused_by_name(self):
        for fields in ({"suffix": "the end"}, {"best_of": 2, "stream": True}):
            with self.assertRaises(openai.BadRequestError) as refused:
                self.complete(**fields)
            self.assertIn(refused.exception.param, fields)
        for name, value in (("audio", {"voice": "a", "format": "mp3"}), ("web_search_options", {}),
                            ("frobnicate", 1)):
            with self.assertRaises(openai.BadRequestError) as refused:
                self.chat(extra_body={name: value})
            self.assertEqual(refused.exception.param, name)

    def test_a_bad_value_names_its_field(self):
        for fields in ({"temperature": 3}, {"top_p": 0}, {"n": 0}, {"logit_bias": {"x": 1}}, {"stop": [""]},
                       {"presence_penalty": 9}, {"max_tokens": -1}, {"seed": "x"}):
            with self.assertRaises(openai.BadRequestError) as refused:
                self.chat(**fields)
            self.assertEqual(refused.exception.param.split(".")[0], next(iter(fields)))
            self.assertEqual(refused.exception.type, "invalid_request_error")


class OverTheUnixSocket(EveryField, unittest.TestCase):
    def make_client(self):
        transport = httpx2.HTTPTransport(uds=self.dsd.api_path)
        return openai.OpenAI(base_url="http://deepserve/v1", api_key="unused", max_retries=0,
                             http_client=httpx2.Client(transport=transport, timeout=harness.BOUND_S))


class OverTcp(EveryField, unittest.TestCase):
    def make_client(self):
        return openai.OpenAI(base_url=f"http://127.0.0.1:{self.port}/v1", api_key=KEY, max_retries=0,
                             timeout=harness.BOUND_S)

    def test_a_wrong_key_is_an_authentication_error(self):
        with self.assertRaises(openai.AuthenticationError) as refused:
            self.client.with_options(api_key="wrong").models.list()
        self.assertEqual(refused.exception.code, "invalid_api_key")


if __name__ == "__main__":
    harness.main()
