"""A full queue and an expired deadline are answered with 503 and when to come back."""

import signal
import threading
import unittest

import harness
from harness import Dsd, greedy


class Admission(unittest.TestCase):
    def setUp(self):
        # One sequence at a time; the runner stands still (and is not found hung): everything else must wait.
        self.dsd = self.enterContext(Dsd('[supervise]\nhang_after = "10m"\n' + harness.DEVICE +
                                         harness.model_toml(extra="sequences_max = 1\n") +
                                         '[class.normal]\nqueue_max = 2\ndeadline = "10m"\n'))
        self.dsd.wait_ready()
        self.answers = []
        harness.send(self.dsd.runner_row()["pid"], signal.SIGSTOP)

    def ask_in_background(self, headers=None):
        before = len(self.dsd.requests())
        thread = threading.Thread(target=lambda: self.answers.append(
            self.dsd.api("POST", "/v1/completions", greedy(tokens=4), headers)))
        thread.start()
        self.addCleanup(thread.join, harness.BOUND_S)
        harness.wait_for(lambda: len(self.dsd.requests()) > before, "the request to be taken")
        return thread

    def resume(self):
        harness.send(self.dsd.runner_row()["pid"], signal.SIGCONT)

    def test_a_full_queue_refuses_with_retry_after_and_the_others_are_served(self):
        threads = [self.ask_in_background() for _ in range(3)]
        self.assertEqual([row["state"] for row in self.dsd.requests()], ["dispatched", "queued", "queued"])
        refused = self.dsd.api("POST", "/v1/completions", greedy(tokens=4))
        self.assertEqual(refused.status, 503)
        self.assertGreaterEqual(int(refused.headers["retry-after"]), 1)
        self.assertGreaterEqual(int(refused.headers["retry-after-ms"]), 1000)
        error = refused.json["error"]
        self.assertEqual((error["code"], error["reason"], error["class"]),
                         ("server_overloaded", "queue_full", "normal"))
        status = self.dsd.control("GET", "/ctl/status").json
        self.assertEqual(status["classes"]["normal"]["waiting"], 2)
        self.resume()
        for thread in threads:
            thread.join(harness.BOUND_S)
        self.assertEqual([answer.status for answer in self.answers], [200, 200, 200])

    def test_a_body_that_no_runner_takes_is_refused_at_once_and_a_large_one_is_not(self):
        self.ask_in_background()  # the runner is busy: nothing is decided by a dispatch
        refused = self.dsd.api("POST", "/v1/completions", greedy("a" * (5 << 20), tokens=4))
        self.assertEqual(refused.status, 413, refused.text)
        self.assertIn(str(4 << 20), refused.json["error"]["message"])
        self.resume()
        taken = self.dsd.api("POST", "/v1/completions", greedy("a" * (3 << 20), tokens=4))
        self.assertEqual(taken.json["error"]["code"], "context_length_exceeded", taken.text)

    def test_an_expired_deadline_is_shed_and_an_accepted_request_is_not(self):
        self.ask_in_background({"X-Deepserve-Deadline-Ms": "1000"})  # dispatched: too late to shed it
        late = self.dsd.api("POST", "/v1/completions", greedy(tokens=4), {"X-Deepserve-Deadline-Ms": "200"})
        self.assertEqual(late.status, 503)
        self.assertEqual(late.json["error"]["reason"], "deadline")
        self.assertIn("retry-after", late.headers)
        harness.wait_for(lambda: self.dsd.requests()[0]["age_s"] > 1.1, "the other's deadline to expire")
        self.resume()
        harness.wait_for(lambda: self.answers, "the dispatched one")
        self.assertEqual(self.answers[0].status, 200)

    def test_a_waiting_vip_is_served_before_earlier_normals(self):
        self.ask_in_background()
        first = self.dsd.requests()[0]["id"]
        vip = {"X-Deepserve-Class": "vip", "X-Deepserve-Deadline-Ms": "60000"}
        threads = [self.ask_in_background(headers) for headers in (None, vip)]
        waiting = {row["class"]: row["id"] for row in self.dsd.requests() if row["id"] != first}
        self.resume()
        for thread in threads:
            thread.join(harness.BOUND_S)
        self.assertLess(self.dsd.finished_s(waiting["vip"]), self.dsd.finished_s(waiting["normal"]))

    def test_requests_that_come_while_the_runner_starts_wait_for_it(self):
        harness.send(self.dsd.runner_row()["pid"], signal.SIGKILL)
        answer = self.dsd.api("POST", "/v1/completions", greedy(tokens=4))
        self.assertEqual(answer.status, 200, answer.text)


if __name__ == "__main__":
    harness.main()
