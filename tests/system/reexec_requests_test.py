"""Requests and the upgrade in place: what runs goes on where it is, what waits waits on."""

import contextlib
import json
import signal
import threading
import time
import unittest

import harness
from harness import MANY, Dsd, greedy


def reexec(dsd):
    return dsd.control("POST", "/ctl/daemon/reexec", {})


class Requests(unittest.TestCase):
    def start(self, model_extra="", hang_after="10m"):
        config = f'[supervise]\nhang_after = "{hang_after}"\n'
        dsd = self.enterContext(Dsd(config + harness.DEVICE + harness.model_toml(extra=model_extra)))
        dsd.wait_ready()
        return dsd

    @contextlib.contextmanager
    def stopped_runner(self, dsd):
        """No request ends meanwhile."""
        pid = dsd.runner_row()["pid"]
        harness.send(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            harness.send(pid, signal.SIGCONT)

    def ask_later(self, dsd, answers, tokens, headers=None):
        """Asks in a thread; returns once dsd has it, which is seen for sure while the runner is stopped."""
        before = len(dsd.requests())
        thread = threading.Thread(target=lambda: answers.append(
            (tokens, dsd.api("POST", "/v1/completions", greedy(tokens=tokens), headers))))
        thread.start()
        self.addCleanup(thread.join)
        harness.wait_for(lambda: len(dsd.requests()) > before, "the request to be taken")
        return thread

    def ask_unheard(self, dsd, endpoint, body, headers=None):
        """Returns once dsd has read it: no row tells of these."""
        connection = harness.UnixConnection(dsd.api_path)
        self.addCleanup(connection.close)
        connection.request("POST", endpoint, json.dumps(body),
                           {"Content-Type": "application/json", **(headers or {})})
        harness.wait_until_read(connection.sock)
        return connection

    def test_a_stream_and_a_whole_answer_go_on_at_the_same_runner(self):
        dsd = self.start()
        expected = dsd.api("POST", "/v1/completions", greedy(tokens=900)).json["choices"][0]["text"]
        runner = dsd.runner_row()
        answers = []
        with self.stopped_runner(dsd):
            whole = self.ask_later(dsd, answers, 900)
        stream = dsd.stream(greedy(tokens=900, n=MANY)).begin()
        for _ in range(3):
            self.assertEqual(reexec(dsd).status, 200)
        whole.join(harness.BOUND_S)
        self.assertEqual(stream.choices(), [expected] * MANY)
        self.assertTrue(stream.done)
        self.assertEqual(answers[0][1].json["choices"][0]["text"], expected)
        self.assertEqual(dsd.runner_row()["pid"], runner["pid"])
        self.assertEqual(dsd.runner_row()["restarts"], runner["restarts"])
        dsd.wait_idle()

    def test_what_a_runner_has_that_does_not_outlive_it_begins_again_and_tells_the_same(self):
        dsd = self.start(hang_after="6s")  # longer than a reader waits where nothing may come
        body = greedy(tokens=900, n=MANY, logprobs=1)
        expected = dsd.api("POST", "/v1/completions", body).json["choices"]
        runner = dsd.runner_row()
        stream = dsd.stream(body).begin()
        answers = []
        # It answers no rendezvous, and is ended before it has told the next dsd of anything.
        harness.send(runner["pid"], signal.SIGSTOP)
        whole = self.ask_later(dsd, answers, 3, {"X-Deepserve-Deadline-Ms": "60000"})
        self.assertEqual(reexec(dsd).status, 200)
        self.assertEqual(stream.choices(), [choice["text"] for choice in expected])
        self.assertTrue(stream.done)
        whole.join(harness.BOUND_S)
        self.assertEqual(answers[0][1].status, 200, answers[0][1].text)
        self.assertNotEqual(dsd.runner_row()["pid"], runner["pid"])
        dsd.wait_idle()

    def test_what_a_generation_that_drains_has_goes_on_elsewhere_when_its_runner_does_not_outlive_it(self):
        dsd = self.start(hang_after="6s")
        body = greedy(tokens=900, n=MANY)
        expected = dsd.api("POST", "/v1/completions", body).json["choices"]
        old = dsd.runner_row()
        stream = dsd.stream(body).begin()
        swap = threading.Thread(target=dsd.control, args=("POST", "/ctl/orders/swap/tiny", {}))
        swap.start()
        self.addCleanup(swap.join)
        harness.wait_for(lambda: any(row["state"] == "ready" and row["pid"] != old["pid"]
                                     for row in dsd.runners()), "the next generation")
        harness.send(old["pid"], signal.SIGSTOP)
        harness.wait_for(lambda: reexec(dsd).status == 200, "the upgrade")
        self.assertEqual(stream.choices(), [choice["text"] for choice in expected])
        self.assertTrue(stream.done)
        dsd.wait_idle()

    def test_what_waits_is_served_in_its_order(self):
        dsd = self.start("sequences_max = 1\n")
        patient = {"X-Deepserve-Deadline-Ms": "60000"}
        expected = {n: dsd.api("POST", "/v1/completions", greedy(tokens=n)).json["choices"][0]["text"]
                    for n in (900, 3, 4, 5)}
        stream = dsd.stream(greedy(tokens=900, n=MANY)).begin()  # one choice after the other
        answers = []
        with self.stopped_runner(dsd):
            threads = [self.ask_later(dsd, answers, tokens, patient) for tokens in (3, 4, 5)]
            waiting = sorted((row for row in dsd.requests() if row["state"] == "queued"),
                             key=lambda row: -row["age_s"])
        self.assertEqual(len(waiting), 3)
        self.assertEqual(reexec(dsd).status, 200)
        self.assertEqual(stream.choices(), [expected[900]] * MANY)
        for thread in threads:
            thread.join(harness.BOUND_S)
        waited = [row["id"] for row in waiting]
        self.assertEqual(sorted(waited, key=dsd.finished_s), waited)
        for tokens, answer in answers:
            self.assertEqual(answer.status, 200, answer.text)
            self.assertEqual(answer.json["choices"][0]["text"], expected[tokens])

    def test_a_deadline_goes_on_while_it_waits(self):
        dsd = self.start("sequences_max = 1\n")
        dsd.stream(greedy(tokens=900, n=MANY)).begin()
        answers = []
        with self.stopped_runner(dsd):
            begin = time.monotonic()
            thread = self.ask_later(dsd, answers, 3, {"X-Deepserve-Deadline-Ms": "1500"})
            self.assertEqual(reexec(dsd).status, 200)
            thread.join(harness.BOUND_S)
        self.assertEqual(answers[0][1].status, 503, answers[0][1].text)
        self.assertLess(time.monotonic() - begin, 4)

    def test_a_new_key_waits_for_no_earlier_answer(self):
        dsd = self.start()
        self.assertEqual(reexec(dsd).status, 200)
        begin = time.monotonic()
        answer = dsd.api("POST", "/v1/completions", greedy(tokens=3), {"Idempotency-Key": "new"})
        self.assertEqual(answer.status, 200, answer.text)
        self.assertLess(time.monotonic() - begin, 4)  # after a death it would be five seconds

    def test_who_waits_for_what_a_dead_dsd_had_waits_on(self):
        dsd = self.start()
        expected = dsd.api("POST", "/v1/completions", greedy(tokens=30)).json["choices"][0]["text"]
        dsd.replace()
        connection = self.ask_unheard(dsd, "/v1/completions", greedy(tokens=30), {"Idempotency-Key": "key"})
        upgraded = reexec(dsd)
        self.assertEqual(upgraded.status, 200, upgraded.text)
        answer = harness.Answer(connection.getresponse())
        self.assertEqual(answer.status, 200, answer.text)
        self.assertEqual(answer.json["choices"][0]["text"], expected)

    def test_what_cannot_be_handed_over_has_a_second_to_end(self):
        dsd = self.start()
        with self.stopped_runner(dsd):
            connection = self.ask_unheard(dsd, "/tokenize", {"prompt": "Once"})
            refused = reexec(dsd)
        self.assertEqual(refused.status, 409, refused.text)
        self.assertIn("not now: a question to a runner", refused.json["error"]["message"])
        self.assertEqual(connection.getresponse().status, 200)


if __name__ == "__main__":
    harness.main()
