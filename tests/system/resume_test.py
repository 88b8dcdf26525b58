"""Answers outlive their connections: cut at random, read on, repeated, and never another client's."""

import random
import threading
import unittest

import harness
from harness import Dsd, FollowedStream, greedy

RESUMABLE = {"X-Deepserve-Resume": "1"}
STREAMS = 64
SEED = random.randrange(1 << 30)


def in_parallel(jobs):
    failures = []

    def run(job):
        try:
            job()
        except Exception as error:  # told by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


class Resume(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        print(f"seed {SEED}, {STREAMS} streams")
        cls.dsd = cls.enterClassContext(Dsd(harness.DEVICE + harness.model_toml(kv_memory="64MiB")))
        cls.dsd.wait_ready()

    def undisturbed(self, body, endpoint="/v1/completions"):
        answer = self.dsd.api("POST", endpoint, body)
        self.assertEqual(answer.status, 200, answer.text)
        return {choice["index"]: choice["text"] if "text" in choice else choice["message"]["content"]
                for choice in answer.json["choices"]}

    def test_streams_that_lose_their_connections_at_random_are_byte_exact(self):
        bodies = [greedy(prompt=f"Story {i % 8}:", tokens=40 + 5 * (i % 8),
                         **({"n": 2, "temperature": 0.8, "seed": i % 8} if i % 3 == 0 else {}))
                  for i in range(STREAMS)]
        kinds = {repr(body): body for body in bodies}
        expected = {name: self.undisturbed(body) for name, body in kinds.items()}
        streams = []
        for i, body in enumerate(bodies):
            chance = random.Random(SEED + i)
            streams.append(FollowedStream(
                self.dsd.api_path, {**body, "stream_options": {"include_usage": True}}, headers=RESUMABLE,
                cut=lambda chance=chance: chance.random() < 0.05, bound_s=90))
        in_parallel([stream.follow for stream in streams])
        for body, stream in zip(bodies, streams):
            self.assertIsNone(stream.error)
            self.assertEqual(stream.texts, expected[repr(body)])
            self.assertEqual(set(stream.finishes.values()), {1})
            self.assertEqual(stream.usages, 1)
        connections = sum(stream.connections for stream in streams)
        print(f"{STREAMS} streams over {connections} connections")
        self.assertGreater(connections, STREAMS)

    def test_a_chat_tells_its_role_once_however_often_it_is_cut(self):
        body = {"messages": [{"role": "user", "content": "Hello! Who are you?"}], "temperature": 0,
                "max_tokens": 40}
        expected = self.undisturbed(body, "/v1/chat/completions")
        for lines in (4, 5, 6, 7, 9, 11):  # at the role's event, inside of the next ones, ...
            left = iter(range(lines))
            stream = FollowedStream(self.dsd.api_path, body, "/v1/chat/completions", RESUMABLE,
                                    cut=lambda left=left: next(left, None) == lines - 1).follow()
            self.assertEqual(stream.texts, expected)
            self.assertEqual(stream.roles, {0: 1})
            self.assertEqual(stream.finishes, {0: 1})

    def test_repeats_in_parallel_are_one_request_and_one_answer(self):
        body = greedy(tokens=30, temperature=1)  # without a seed: two requests would differ
        answers = []
        in_parallel([lambda: answers.append(self.dsd.api("POST", "/v1/completions", body,
                                                         {"Idempotency-Key": f"repeat-{SEED}"}))] * 16)
        self.assertEqual({answer.status for answer in answers}, {200})
        self.assertEqual(len({answer.text for answer in answers}), 1)
        self.assertEqual(len({answer.headers["x-request-id"] for answer in answers}), 1)
        other = self.dsd.api("POST", "/v1/completions", {**body, "max_tokens": 31},
                             {"Idempotency-Key": f"repeat-{SEED}"})
        self.assertEqual(other.status, 422)

    def test_it_runs_on_without_a_reader_and_one_that_did_not_ask_does_not(self):
        body = greedy(tokens=900, n=8)
        for headers, runs_on in ((RESUMABLE, True), ({}, False)):
            stream = self.dsd.stream(body, headers=headers)
            next(stream.texts())
            stream.close()
            id = stream.ids[0].split(":")[0]

            def state(id=id):
                return self.dsd.api("GET", f"/v1/requests/{id}").json["state"]

            ended = harness.wait_for(lambda: state() if state() != "running" else None, "its end")
            self.assertEqual(ended, "finished" if runs_on else "cancelled")
            if runs_on:
                rest = FollowedStream(self.dsd.api_path, {})
                rest.request_id = id
                self.assertEqual(rest.follow().texts, self.undisturbed(body))

    def test_what_nobody_knows_and_what_is_gone_are_told_apart(self):
        self.assertEqual(self.dsd.api("GET", "/v1/requests/00000000000000ff/events").status, 404)
        gone = self.dsd.api("GET", "/v1/requests/00000000000000ff/events",
                            headers={"Last-Event-ID": "00000000000000ff:3"})
        self.assertEqual(gone.status, 410)


class Strangers(unittest.TestCase):
    def test_another_clients_answer_is_as_none(self):
        config = harness.DEVICE + harness.model_toml() + (
            '[[client]]\nname = "proxy"\nuid = 0\ntrusted_proxy = true\n')
        dsd = self.enterContext(Dsd(config))
        dsd.wait_ready()
        alice, bob = ({"X-Deepserve-Client": name} for name in ("alice", "bob"))
        stream = dsd.stream(greedy(tokens=50), headers={**RESUMABLE, **alice})
        if stream.status == 403:
            self.skipTest("not run as root: the proxy is somebody else")
        text = stream.text()
        id = stream.ids[-1].split(":")[0]
        for last in ({}, {"Last-Event-ID": stream.ids[0]}):
            self.assertEqual(dsd.api("GET", f"/v1/requests/{id}/events", headers={**bob, **last}).status, 404)
        own = dsd.api("GET", f"/v1/requests/{id}/events", headers=alice)
        self.assertEqual(own.status, 200)
        self.assertEqual("".join(part.split('"')[0] for part in own.text.split('"text":"')[1:]),
                         text.replace("\n", "\\n"))


if __name__ == "__main__":
    harness.main()
