"""Models that are loaded while they are wanted: idle ones go, and a request brings them back.

Nobody waits for one to be ready that goes again a moment later: a busy host would not see it.
"""

import json
import os
import shutil
import time
import unittest

import harness
from harness import DEVICE, MANY, Dsd, dsctl, greedy, model_toml, wait_for


def ask(dsd, model, **more):
    return dsd.api("POST", "/v1/completions", {**greedy(tokens=8), "model": model, **more})


def states(dsd):
    return {row["name"]: row["state"] for row in dsd.control("GET", "/ctl/models").json}


class OnDemand(unittest.TestCase):
    def test_an_idle_model_goes_and_a_request_brings_it_back(self):
        with Dsd(DEVICE + model_toml(extra='keep_alive = "400ms"\n')) as dsd:
            text = ask(dsd, "tiny").json["choices"][0]["text"]
            wait_for(lambda: not dsd.runners(), "the idle model to be unloaded")
            self.assertEqual(states(dsd), {"tiny": "unloaded"})
            begun = time.monotonic()
            again = ask(dsd, "tiny")
            self.assertEqual(again.status, 200, again.text)
            self.assertEqual(again.json["choices"][0]["text"], text)
            print(f"the request that loaded it took {time.monotonic() - begun:.2f} s")
            wait_for(lambda: not dsd.runners(), "it to be unloaded again")
            reasons = [row["reason"] for row in
                       json.loads(dsctl(dsd, "model", "history", "tiny").stdout)["generations"]]
            self.assertTrue(all("without a request" in reason for reason in reasons), reasons)

    def test_who_cannot_wait_for_the_load_is_told_when_and_it_is_loaded_for_him(self):
        with Dsd(DEVICE + model_toml(extra='keep_alive = "2s"\n')) as dsd:
            wait_for(lambda: not dsd.runners(), "the idle model to be unloaded")
            hasty = dsd.api("POST", "/v1/completions", {**greedy(tokens=8), "model": "tiny"},
                            headers={"X-Deepserve-Deadline-Ms": "1"})
            self.assertEqual(hasty.status, 503, hasty.text)
            self.assertIn("retry-after", hasty.headers)
            wait_for(lambda: states(dsd) == {"tiny": "ready"}, "the model to be loaded")

    def test_the_least_recently_used_one_makes_room(self):
        device = DEVICE + 'memory_limit = "900MiB"\n'
        models = "".join(model_toml(name=name, kv_memory="300MiB") for name in ("a", "b", "c"))
        with Dsd(device + models) as dsd:
            dsd.wait_ready()
            wait_for(lambda: states(dsd) == {"a": "ready", "b": "ready", "c": "unloaded"}, "two to be loaded")
            for model in ("a", "b", "a"):
                self.assertEqual(ask(dsd, model).status, 200)
            self.assertEqual(ask(dsd, "c").status, 200, "it is loaded for the request")
            self.assertEqual(states(dsd), {"a": "ready", "b": "unloaded", "c": "ready"})
            self.assertEqual(ask(dsd, "b").status, 200)
            self.assertEqual(states(dsd), {"a": "unloaded", "b": "ready", "c": "ready"})
            # What works is not unloaded: the other one goes, whenever it was used.
            stream = dsd.stream({**greedy(tokens=900, n=MANY), "model": "b"}).begin()
            self.assertEqual(ask(dsd, "a").status, 200)
            self.assertEqual(states(dsd)["c"], "unloaded")
            self.assertEqual(len(stream.choices()), MANY)
            self.assertTrue(stream.done)

    def test_a_model_that_is_asked_in_like_pauses_is_loaded_ahead_of_the_next_request(self):
        def width(pauses):
            beyond = len(pauses) // 10
            kept = sorted(pauses)[beyond:len(pauses) - beyond]
            return kept[-1] - kept[0]

        with Dsd(DEVICE + model_toml(extra='keep_alive = "1s"\n')) as dsd:
            pauses = []
            self.assertEqual(ask(dsd, "tiny").status, 200)
            while len(pauses) < 4 or width(pauses) > 0.5:
                answered = time.monotonic()
                self.assertLess(len(pauses), 20, "this machine keeps no time")
                wait_for(lambda: not dsd.runners(), "the idle model to be unloaded")
                time.sleep(max(0, answered + 2 - time.monotonic()))  # the pause under test
                pauses.append(time.monotonic() - answered)
                self.assertEqual(ask(dsd, "tiny").status, 200)

            def reasons():
                rows = json.loads(dsctl(dsd, "model", "history", "tiny").stdout)["generations"]
                return [row["reason"] for row in rows]
            wait_for(lambda: reasons()[-1].endswith("was to be expected did not come"),
                     "it to be loaded for nobody, and to go again")

    def test_what_an_operator_loads_waits_for_its_first_request_as_long_as_for_the_next(self):
        with Dsd(DEVICE + model_toml(extra='keep_alive = "2s"\n')) as dsd:
            dsd.wait_ready()
            for verb in ("load", "swap"):
                wait_for(lambda: not dsd.runners(), "the idle model to be unloaded")
                loaded = dsctl(dsd, "model", verb, "tiny")
                self.assertEqual(json.loads(loaded.stdout)["model"]["state"], "ready", loaded.stdout)

    def test_what_an_operator_unloads_stays_away(self):
        with Dsd(DEVICE + model_toml(extra='keep_alive = "1h"\n')) as dsd:
            dsd.wait_ready()
            self.assertEqual(dsctl(dsd, "model", "unload", "tiny").returncode, 0)
            refused = ask(dsd, "tiny")
            self.assertIn("unloaded", refused.text)
            self.assertEqual(dsd.runners(), [])

    def test_a_load_that_fails_is_tried_again_after_a_while(self):
        with Dsd('[supervise]\nwindow = "3s"\n' + DEVICE, start=False) as dsd:
            path = os.path.join(dsd.directory, "copy.gguf")
            shutil.copy(harness.tiny_model(), path)
            with open(dsd.config_path, "a") as file:
                file.write(model_toml(path=path, extra='keep_alive = "200ms"\n'))
            dsd.start()
            wait_for(lambda: not dsd.runners(), "the idle model to be unloaded")
            with open(path, "r+b") as file:
                file.write(b"none")
            self.assertEqual(ask(dsd, "tiny").json["error"]["code"], "model_failed")
            wait_for(lambda: not dsd.runners(), "what could not be loaded to be gone")
            told = wait_for(lambda: (answer := ask(dsd, "tiny")).status == 503 and answer, "a later try")
            self.assertEqual(told.json["error"]["code"], "model_not_ready")
            self.assertIn("copy.gguf", told.json["error"]["message"])
            self.assertIn(told.headers["retry-after"], ("1", "2", "3"))
            shutil.copy(harness.tiny_model(), path)
            wait_for(lambda: ask(dsd, "tiny").status == 200, "it to be tried again")


if __name__ == "__main__":
    harness.main()
