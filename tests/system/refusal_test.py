"""What a refused client hears, what its ticket is worth; limits, end users, fallbacks, what dsctl shows."""

import json
import os
import signal
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
        harness.send(self.dsd.runner_row()["pid"], signal.SIGSTOP)

    def ask_in_background(self, prompt="Once", headers=None):
        before = len(self.dsd.requests())
        thread = threading.Thread(target=lambda: self.answers.append(
            self.dsd.api("POST", "/v1/completions", greedy(prompt, tokens=4), headers)))
        thread.start()
        self.addCleanup(thread.join, harness.BOUND_S)
        harness.wait_for(lambda: len(self.dsd.requests()) > before, "the request to be taken")
        return thread

    def resume(self):
        harness.send(self.dsd.runner_row()["pid"], signal.SIGCONT)

    def dsctl(self, *words):
        return json.loads(harness.dsctl(self.dsd, *words).stdout)


class Refusals(Held):
    def come_back(self, body, refused):
        """As it was told: Retry-After is what is under test, so that it is waited for."""
        time.sleep(int(refused.headers["retry-after"]) if refused.json["error"]["booked"] else 0)
        ticket = {"X-Deepserve-Ticket": refused.headers.get("x-deepserve-ticket", "none")}
        return self.dsd.api("POST", "/v1/completions", body, ticket)

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
        self.assertEqual(self.come_back(body, refused).status, 200)

    def test_one_ticket_is_for_all_prompts_of_a_request(self):
        threads = [self.ask_in_background(), self.ask_in_background()]
        body = greedy(["One", "Two"], tokens=4)
        refused = self.dsd.api("POST", "/v1/completions", body)
        self.assertEqual(refused.status, 503)
        self.resume()
        for thread in threads:
            thread.join(harness.BOUND_S)
        answer = self.come_back(body, refused)
        self.assertEqual(answer.status, 200, answer.text)
        self.assertEqual(len(answer.json["choices"]), 2)

    def test_a_bad_ticket_helps_nobody_and_hurts_nobody(self):
        self.resume()
        for ticket in ("x", "A" * 96, "A" * 5_000):
            answer = self.dsd.api("POST", "/v1/completions", greedy(tokens=2), {"X-Deepserve-Ticket": ticket})
            self.assertEqual(answer.status, 200)

    def test_nonsense_is_refused_by_name_and_gains_no_priority(self):
        self.resume()
        for name, value in (("X-Deepserve-Class", "royal"), ("X-Deepserve-Class", "VIP"),
                            ("X-Deepserve-Class", ""), ("X-Deepserve-Deadline-Ms", "0"),
                            ("X-Deepserve-Deadline-Ms", "-1"), ("X-Deepserve-Deadline-Ms", "86400001"),
                            ("X-Deepserve-Deadline-Ms", "18446744073709551617"),
                            ("X-Deepserve-Accept-Degraded", "anything")):
            answer = self.dsd.api("POST", "/v1/completions", greedy(tokens=2), {name: value})
            self.assertEqual((answer.status, answer.json["error"]["param"]), (400, name), value)
        for field, value in (("priority", "royal"), ("priority", 1e30), ("service_tier", "gold"),
                             ("truncation", "maybe")):
            answer = self.dsd.api("POST", "/v1/completions", greedy(tokens=2, **{field: value}))
            self.assertEqual((answer.status, answer.json["error"]["param"]), (400, field), value)

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


class Ceilings(Held):
    config = f'[[client]]\nname = "me"\nuid = {os.getuid()}\nclass = "normal"\n'

    def test_who_asks_for_more_than_his_class_gets_his_class(self):
        self.ask_in_background()
        self.ask_in_background()
        for headers, body in (({"X-Deepserve-Class": "vip"}, {}), ({}, {"priority": "vip"}),
                              ({}, {"priority": -(1 << 62)}), ({}, {"service_tier": "priority"})):
            refused = self.dsd.api("POST", "/v1/completions", greedy(tokens=4, **body), headers)
            self.assertEqual((refused.status, refused.json["error"]["class"]), (503, "normal"))
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
