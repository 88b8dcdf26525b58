"""What a refused client hears, what its ticket is worth; limits, end users, fallbacks, what dsctl shows."""

import json
import os
import signal
import subprocess
import threading
import time
import unittest

import harness
from harness import Dsd, greedy


class Held(unittest.TestCase):
    """A runner that stands still, and is not found hung: everything but one request must wait."""

    config = ""

    def setUp(self):
        self.dsd = self.enterContext(Dsd('[supervise]\nhang_after = "10m"\n' + harness.DEVICE +
                                         harness.model_toml(extra="sequences_max = 1\n") +
                                         '[class.normal]\nqueue_max = 1\ndeadline = "10m"\n' + self.config))
        self.dsd.wait_ready()
        self.answers = []
        os.kill(self.dsd.runner_row()["pid"], signal.SIGSTOP)

    def ask_in_background(self, prompt="Once", headers=None):
        before = len(self.dsd.requests())
        thread = threading.Thread(target=lambda: self.answers.append(
            self.dsd.api("POST", "/v1/completions", greedy(prompt, tokens=4), headers)))
        thread.start()
        self.addCleanup(thread.join, harness.BOUND_S)
        harness.wait_for(lambda: len(self.dsd.requests()) > before, "the request to be taken")
        return thread

    def resume(self):
        os.kill(self.dsd.runner_row()["pid"], signal.SIGCONT)

    def dsctl(self, *words):
        command = [harness.program("dsctl"), "--runtime-dir", self.dsd.runtime_dir, "--json", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)


class Refusals(Held):
    def test_a_refusal_says_when_and_its_ticket_is_served_then(self):
        threads = [self.ask_in_background(), self.ask_in_background()]
        body = greedy("Come back later", tokens=4)
        refused = self.dsd.api("POST", "/v1/completions", body)
        self.assertEqual(refused.status, 503)
        error = refused.json["error"]
        self.assertEqual(error["reason"], "queue_full")
        self.assertEqual(error["retry_after_ms"], int(refused.headers["retry-after-ms"]))
        self.assertEqual(error["deadline_ms"], 600_000)
        self.assertEqual(error["booked"], "x-deepserve-ticket" in refused.headers)
        self.resume()
        for thread in threads:
            thread.join(harness.BOUND_S)
        time.sleep(int(refused.headers["retry-after"]) if error["booked"] else 0)
        ticket = {"X-Deepserve-Ticket": refused.headers.get("x-deepserve-ticket", "none")}
        self.assertEqual(self.dsd.api("POST", "/v1/completions", body, ticket).status, 200)

    def test_a_bad_ticket_helps_nobody_and_hurts_nobody(self):
        self.resume()
        for ticket in ("x", "A" * 96, "A" * 5_000):
            answer = self.dsd.api("POST", "/v1/completions", greedy(tokens=2), {"X-Deepserve-Ticket": ticket})
            self.assertEqual(answer.status, 200)

    def test_dsctl_shows_what_waits_and_why_and_who_asked(self):
        self.ask_in_background()
        self.ask_in_background("Twice")
        queue = self.dsctl("queue", "ls")
        self.assertEqual(len(queue), 1)
        self.assertIn(queue[0]["waits_for"], ("seats", "prefill", "memory", "ahead"))
        self.assertGreater(queue[0]["deadline_in_s"], 0)
        shown = self.dsctl("request", "show", queue[0]["id"])
        self.assertEqual(shown["waits_for"], queue[0]["waits_for"])
        clients = self.dsctl("client", "ls")
        self.assertEqual([(row["client"], row["running"]) for row in clients], [(f"uid:{os.getuid()}", 2)])
        self.resume()

    def test_the_ticket_key_is_made_for_its_owner_alone(self):
        key = os.stat(os.path.join(self.dsd.directory, "state", "ticket.key"))
        self.assertEqual((key.st_size, key.st_mode & 0o777), (32, 0o600))


class Clients(Held):
    config = (f'[[client]]\nname = "proxy"\nuid = {os.getuid()}\nclass = "vip"\nmax_concurrent = 1\n'
              'trusted_proxy = true\n')

    def test_a_client_has_as_many_at_once_as_it_may_and_end_users_count_by_themselves(self):
        self.ask_in_background(headers={"X-Deepserve-Client": "alice"})
        refused = self.dsd.api("POST", "/v1/completions", greedy(tokens=4), {"X-Deepserve-Client": "alice"})
        self.assertEqual(refused.status, 429)
        self.assertEqual(refused.json["error"]["code"], "rate_limited")
        self.assertEqual(refused.json["error"]["reason"], "client_requests")
        self.assertGreaterEqual(int(refused.headers["retry-after"]), 1)
        self.ask_in_background(headers={"X-Deepserve-Client": "bob"})
        self.assertEqual({row["client"] for row in self.dsctl("client", "ls")}, {"proxy#alice", "proxy#bob"})
        self.resume()


class Fallbacks(unittest.TestCase):
    def test_a_model_that_fails_is_answered_for_and_that_is_announced(self):
        config = harness.DEVICE + harness.model_toml("good") + harness.model_toml(
            "bad", path=os.path.abspath(__file__), extra='fallback = ["good"]\n') + harness.model_toml(
            "worse", path=os.path.abspath(__file__), extra='fallback_reply = "Later, please."\n')
        with Dsd(config.replace('[[device]]', '[supervise]\ndeaths_max = 0\n[[device]]', 1)) as dsd:
            dsd.wait_ready()
            harness.wait_for(lambda: all(row["state"] == "failed" for row in dsd.runners()
                                         if row["model"] != "good"), "the bad models to fail")
            answer = dsd.api("POST", "/v1/completions", {**greedy(tokens=4), "model": "bad"})
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.headers["x-deepserve-degraded"], "fallback_model=good")
            for stream in (False, True):
                body = {**greedy(tokens=4), "model": "worse", "stream": stream}
                answer = dsd.api("POST", "/v1/completions", body)
                self.assertEqual(answer.status, 200)
                self.assertEqual(answer.headers["x-deepserve-degraded"], "fallback_reply")
                self.assertIn("Later, please.", answer.text)


if __name__ == "__main__":
    harness.main()
