"""A model file that cannot be served fails by itself, with the reason; the other models go on."""

import os
import shutil
import unittest
from tempfile import TemporaryDirectory

import harness
from harness import Dsd, greedy


class BadModel(unittest.TestCase):
    def test_a_truncated_file_fails_with_its_reason_and_the_other_model_serves(self):
        with open(harness.tiny_model(), "rb") as file:
            whole = file.read()
        directory = self.enterContext(TemporaryDirectory())
        truncated = os.path.join(directory, "truncated.gguf")
        with open(truncated, "wb") as file:
            file.write(whole[:len(whole) // 2])
        config = harness.DEVICE + harness.model_toml() + harness.model_toml("broken", truncated)
        dsd = self.enterContext(Dsd(config))
        dsd.wait_ready()
        row = dsd.wait_state("failed", index=1)
        self.assertIn("truncated.gguf", row["last_error"])
        self.assertEqual(row["restarts"], 0)  # it would be as broken the next time
        self.assertEqual(dsd.control("GET", "/ctl/models/broken").json["state"], "failed")
        refused = dsd.api("POST", "/v1/completions", greedy(tokens=2, model="broken"))
        self.assertEqual(refused.status, 500)  # coming back would not help
        self.assertEqual(refused.json["error"]["code"], "model_failed")
        self.assertIn("truncated.gguf", refused.json["error"]["message"])
        self.assertNotIn(directory, refused.json["error"]["message"])
        self.assertEqual(dsd.api("POST", "/v1/completions", greedy(tokens=2)).status, 200)

    def test_a_kv_cache_that_cannot_be_had_fails_at_once_with_its_reason(self):
        dsd = self.enterContext(Dsd(harness.DEVICE + harness.model_toml(kv_memory="1024TiB")))
        row = dsd.wait_state("failed")
        self.assertIn("more than this host's memory", row["last_error"])
        self.assertEqual(row["restarts"], 0)  # it would not fit the next time

    def test_weights_that_are_no_numbers_are_refused_by_the_files_name(self):
        directory = self.enterContext(TemporaryDirectory())
        path = os.path.join(directory, "nan.gguf")
        shutil.copy(harness.tiny_model(), path)
        with open(path, "r+b") as file:
            file.seek(os.path.getsize(path) // 2)
            file.write(b"\xff" * 65536)
        dsd = self.enterContext(Dsd(harness.DEVICE + harness.model_toml(path=path)))
        row = dsd.wait_state("failed")
        self.assertIn("nan.gguf", row["last_error"])
        self.assertEqual(row["restarts"], 0)

    def test_a_touched_file_is_loaded_again_and_served(self):
        directory = self.enterContext(TemporaryDirectory())
        path = os.path.join(directory, "model.gguf")
        shutil.copy(harness.tiny_model(), path)
        dsd = self.enterContext(Dsd(harness.DEVICE + harness.model_toml(path=path)))
        dsd.wait_ready()
        os.utime(path)
        answer = dsd.api("POST", "/v1/completions", greedy(tokens=200))
        self.assertEqual(answer.status, 200, answer.text)
        self.assertEqual(dsd.wait_state("ready")["restarts"], 1)

    def test_a_repaired_file_is_served_after_a_restart_of_its_runner(self):
        directory = self.enterContext(TemporaryDirectory())
        path = os.path.join(directory, "model.gguf")
        with open(path, "wb") as file:
            file.write(b"not a model at all")
        dsd = self.enterContext(Dsd(harness.DEVICE + harness.model_toml(path=path)))
        dsd.wait_state("failed")
        again = dsd.control("POST", "/ctl/runners/tiny@cpu0/restart")
        self.assertEqual(again.status, 500)
        self.assertIn("model.gguf", again.json["error"]["message"])
        with open(harness.tiny_model(), "rb") as good, open(path + ".new", "wb") as file:
            file.write(good.read())
        os.rename(path + ".new", path)
        self.assertEqual(dsd.control("POST", "/ctl/runners/tiny@cpu0/restart").status, 200)
        self.assertEqual(dsd.api("POST", "/v1/completions", greedy(tokens=2)).status, 200)



if __name__ == "__main__":
    harness.main()
