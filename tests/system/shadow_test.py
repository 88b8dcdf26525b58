"""A shadow gets copies of requests; its answers are compared and thrown away, and no client notices."""

import concurrent.futures
import json
import os
import re
import shutil
import unittest

import harness
from harness import DEVICE, Dsd, model_toml, tiny_model, wait_for
from swap_test import dsctl

ANSWERS = 20


def another_model(path):
    """The tiny model with some of its weights' bits turned over: it works, and says other things."""
    with open(tiny_model(), "rb") as file:
        data = bytearray(file.read())
    for i in range(len(data) // 2, len(data), 97):
        data[i] ^= 1
    with open(path, "wb") as file:
        file.write(data)


def ask(dsd, i):
    body = {"model": "tiny", "prompt": f"prompt {i}", "max_tokens": 24, "temperature": 1, "seed": i,
            "ignore_eos": True, "n": 2}
    answer = dsd.api("POST", "/v1/completions", body)
    return answer.status, [choice["text"] for choice in answer.json.get("choices", [])]


class Shadow(unittest.TestCase):
    def shadow_row(self, dsd):
        return json.loads(dsctl(dsd, "model", "history", "tiny").stdout)["generations"][1]

    def compared(self, dsd):
        """Answers that were compared, and of those the equal ones."""
        found = re.match(r"of (\d+) answers (\d+) equal", self.shadow_row(dsd)["evidence"])
        return (int(found[1]), int(found[2])) if found else (0, 0)

    def begin(self, dsd, path, percent="100"):
        dsd.wait_ready()
        before = [ask(dsd, i) for i in range(ANSWERS)]
        done = dsctl(dsd, "model", "shadow", "tiny", "--path", path, "--percent", percent)
        self.assertEqual(done.returncode, 0, done.stderr)
        return before

    def ask_one_by_one(self, dsd):
        """Each copy has ended before the next request, so that none is skipped."""
        texts = []
        for i in range(ANSWERS):
            texts.append(ask(dsd, i))
            wait_for(lambda: self.compared(dsd)[0] == len(texts), "its copy to be compared")
        return texts

    def test_the_same_weights_give_the_same_answers(self):
        with Dsd(DEVICE + model_toml()) as dsd:
            copy = os.path.join(dsd.directory, "copy.gguf")
            shutil.copy(tiny_model(), copy)
            before = self.begin(dsd, copy)
            row = dsd.control("GET", "/ctl/models").json[0]
            self.assertEqual((row["generation"], row["shadow"], row["shadow_percent"], row["canary"]),
                             (1, 2, 100, 0))
            self.assertEqual(self.ask_one_by_one(dsd), before)
            self.assertEqual(self.compared(dsd), (ANSWERS, ANSWERS))
            print(self.shadow_row(dsd)["evidence"])
            self.assertEqual(dsctl(dsd, "model", "rollback", "tiny").returncode, 0)
            wait_for(lambda: len(dsd.runners()) == 1, "the shadow to be gone")
            self.assertEqual(self.compared(dsd), (ANSWERS, ANSWERS), "the evidence stays")
            self.assertEqual([ask(dsd, i) for i in range(ANSWERS)], before)

    def test_other_weights_are_found_out_and_no_client_gets_them_before_they_are_promoted(self):
        with Dsd(DEVICE + model_toml()) as dsd:
            other = os.path.join(dsd.directory, "other.gguf")
            another_model(other)
            before = self.begin(dsd, other)
            self.assertEqual(self.ask_one_by_one(dsd), before)
            answers, equal = self.compared(dsd)
            self.assertEqual(answers, ANSWERS)
            self.assertLess(equal, ANSWERS)
            print(self.shadow_row(dsd)["evidence"])
            self.assertEqual(dsctl(dsd, "model", "promote", "tiny").returncode, 0)
            self.assertNotEqual([ask(dsd, i) for i in range(ANSWERS)], before)

    def test_another_dsd_goes_on_with_it(self):
        with Dsd(DEVICE + model_toml()) as dsd:
            copy = os.path.join(dsd.directory, "copy.gguf")
            shutil.copy(tiny_model(), copy)
            before = self.begin(dsd, copy)
            pids = {row["pid"] for row in dsd.runners()}
            dsd.replace()
            dsd.wait_ready()
            wait_for(lambda: {row["pid"] for row in dsd.runners()} == pids, "both to be adopted")
            self.assertEqual(self.ask_one_by_one(dsd), before)
            self.assertEqual(self.compared(dsd), (ANSWERS, ANSWERS))

    def test_it_is_not_asked_while_clients_wait(self):
        with Dsd(DEVICE + model_toml(extra="sequences_max = 1\n")) as dsd:
            self.begin(dsd, tiny_model())
            with concurrent.futures.ThreadPoolExecutor(harness.MANY) as pool:
                answers = list(pool.map(lambda i: ask(dsd, i), range(harness.MANY)))
            self.assertEqual({status for status, _ in answers}, {200})
            wait_for(lambda: "skipped" in self.shadow_row(dsd)["evidence"]
                     and " 0 skipped" not in self.shadow_row(dsd)["evidence"], "copies to be skipped")


if __name__ == "__main__":
    harness.main()
