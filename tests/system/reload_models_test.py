"""Models, devices, listeners and supervision that come, go and change while dsd serves."""

import json
import os
import signal
import socket
import unittest

import harness
from harness import DEVICE, MANY, Dsd, FollowedStream, ask_at, greedy, model_toml, wait_for
from harness import dsctl


def tiny():
    return model_toml()


def other():
    return model_toml(name="other")


def device(cores):
    return DEVICE + f"cores = {cores}\n"


class ReloadOfModels(unittest.TestCase):
    def write(self, dsd, text):
        with open(dsd.config_path, "w") as file:
            file.write(text)

    def reload(self, dsd, text):
        """Whether it was taken, what it says of it, and the changes by key."""
        self.write(dsd, text)
        done = dsctl(dsd, "config", "reload")
        changes = json.loads(done.stdout)["changes"] if done.returncode == 0 else []
        return done.returncode == 0, done.stderr, {row["key"]: row["takes_effect"] for row in changes}

    def models(self, dsd):
        return {row["name"]: row["state"] for row in dsd.control("GET", "/ctl/models").json}

    def status_of(self, dsd, model):
        return dsd.api("POST", "/v1/completions", greedy(tokens=1, model=model)).status

    def text_of(self, dsd, model):
        answer = dsd.api("POST", "/v1/completions", greedy(tokens=900, model=model))
        return answer.json["choices"][0]["text"]

    def test_a_model_comes_while_another_one_streams(self):
        with Dsd(DEVICE + tiny()) as dsd:
            dsd.wait_ready()
            expected = self.text_of(dsd, "tiny")
            pid = dsd.runner_row()["pid"]
            self.assertEqual(self.status_of(dsd, "other"), 404)
            stream = dsd.stream(greedy(tokens=900, n=MANY)).begin()
            taken, why, changes = self.reload(dsd, DEVICE + tiny() + other())
            self.assertTrue(taken, why)
            self.assertEqual(changes["model.other.path"], "load")
            self.assertEqual(changes["model"], "reload")
            # It waits for what is being loaded, as any request of a model that starts.
            self.assertEqual(self.text_of(dsd, "other"), expected)
            self.assertEqual(stream.choices(), [expected] * MANY)
            self.assertTrue(stream.done, stream.error)
            self.assertEqual(self.models(dsd), {"tiny": "ready", "other": "ready"})
            self.assertEqual(dsd.runner_row()["pid"], pid, "the one that was there is left alone")

    def test_a_model_that_goes_serves_what_it_has_to_the_end(self):
        with Dsd(DEVICE + tiny() + other()) as dsd:
            wait_for(lambda: set(self.models(dsd).values()) == {"ready"}, "both models")
            expected = self.text_of(dsd, "other")
            stream = dsd.stream(greedy(tokens=900, n=MANY, model="other")).begin()
            taken, why, changes = self.reload(dsd, DEVICE + tiny())
            self.assertTrue(taken, why)
            self.assertEqual(changes["model.other.path"], "drain")
            self.assertEqual(self.status_of(dsd, "other"), 404)
            self.assertEqual([row["id"] for row in dsd.api("GET", "/v1/models").json["data"]], ["tiny"])
            self.assertEqual(stream.choices(), [expected] * MANY)
            self.assertTrue(stream.done, stream.error)
            wait_for(lambda: self.models(dsd) == {"tiny": "ready"}, "the model to be gone")
            wait_for(lambda: len(dsd.runners()) == 1, "its runner to be gone")
            # And back: as another order of the same file's.
            self.assertTrue(self.reload(dsd, DEVICE + tiny() + other())[0])
            self.assertEqual(self.text_of(dsd, "other"), expected)

    def test_the_first_model_is_the_default_also_after_a_reload(self):
        with Dsd(DEVICE + tiny()) as dsd:
            dsd.wait_ready()
            self.assertTrue(self.reload(dsd, DEVICE + other() + tiny())[0])
            wait_for(lambda: self.models(dsd)["other"] == "ready", "the model that comes")
            answer = dsd.api("POST", "/v1/completions", greedy(tokens=1))
            self.assertEqual((answer.status, answer.json["model"]), (200, "other"))
            self.assertTrue(self.reload(dsd, DEVICE + other())[0])
            wait_for(lambda: self.models(dsd) == {"other": "ready"}, "the other one to be gone")
            self.assertEqual(self.status_of(dsd, "other"), 200)

    def test_models_that_come_and_go_are_known_to_the_next_program(self):
        with Dsd(DEVICE + tiny() + other()) as dsd:
            wait_for(lambda: set(self.models(dsd).values()) == {"ready"}, "both models")
            expected = self.text_of(dsd, "tiny")
            stream = dsd.stream(greedy(tokens=900, n=MANY, model="tiny")).begin()
            self.assertTrue(self.reload(dsd, DEVICE + other() + model_toml(name="third"))[0])
            done = dsctl(dsd, "daemon", "reexec")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(stream.choices(), [expected] * MANY)
            self.assertTrue(stream.done, stream.error)
            wait_for(lambda: self.models(dsd) == {"other": "ready", "third": "ready"}, "the models")
            for model, status in (("tiny", 404), ("other", 200), ("third", 200)):
                self.assertEqual(self.status_of(dsd, model), status)

    def test_a_dsd_that_finds_a_model_gone_from_its_file_serves_what_its_runner_has(self):
        with Dsd(DEVICE + tiny() + other()) as dsd:
            wait_for(lambda: set(self.models(dsd).values()) == {"ready"}, "both models")
            expected = self.text_of(dsd, "other")
            stream = FollowedStream(dsd.api_path, greedy(tokens=900, n=MANY, model="other"))

            def strike():
                self.write(dsd, DEVICE + tiny())
                dsd.replace()

            stream.strike_once(strike)
            self.assertEqual(stream.follow().texts, dict.fromkeys(range(MANY), expected))
            self.assertEqual(self.status_of(dsd, "other"), 404)
            wait_for(lambda: self.models(dsd) == {"tiny": "ready"}, "the model to be gone")

    def test_a_device_that_changes_gets_its_models_swapped(self):
        with Dsd(device([0]) + tiny()) as dsd:
            dsd.wait_ready()
            expected = self.text_of(dsd, "tiny")
            stream = dsd.stream(greedy(tokens=900, n=MANY)).begin()
            first = dsd.runner_row()["pid"]
            taken, why, changes = self.reload(dsd, device([0]) + 'memory_limit = "8GiB"\n' + tiny())
            self.assertTrue(taken, why)
            self.assertEqual(changes, {"device.cpu0.memory_limit": "swap"})
            self.assertEqual(stream.choices(), [expected] * MANY)
            self.assertTrue(stream.done, stream.error)
            rows = lambda: [row for row in dsd.runners() if row["generation"] == 2]  # noqa: E731
            wait_for(lambda: rows() and rows()[0]["state"] == "ready", "the swap")
            with open(f"/proc/{rows()[0]['pid']}/cmdline") as file:
                self.assertIn(str(8 << 30), file.read().split("\0"))
            self.assertNotEqual(rows()[0]["pid"], first)

    def test_listeners_come_and_go_and_an_address_in_use_changes_nothing(self):
        with Dsd(DEVICE + tiny()) as dsd, socket.socket() as taken_port:
            dsd.wait_ready()
            second = os.path.join(dsd.runtime_dir, "second.sock")
            listen = lambda *names: f"[server]\nlisten = {json.dumps(list(names))}\n"  # noqa: E731
            metrics = os.path.join(dsd.runtime_dir, "observe.sock")
            observe = '[observe]\nlisten = "unix:observe.sock"\n'
            running = dsd.stream(greedy(tokens=900, n=MANY)).begin()
            taken, why, changes = self.reload(
                dsd, listen("unix:api.sock", "unix:second.sock") + observe + DEVICE + tiny())
            self.assertTrue(taken, why)
            self.assertEqual(changes, {"server.listen": "reload", "observe.listen": "reload"})
            self.assertEqual(ask_at(second, "GET", "/v1/models").status, 200)
            self.assertEqual(ask_at(metrics, "GET", "/metrics").status, 200)
            taken_port.bind(("127.0.0.1", 0))
            taken_port.listen()
            busy = f'[observe]\nlisten = "127.0.0.1:{taken_port.getsockname()[1]}"\n'
            taken, why, _ = self.reload(
                dsd, listen("unix:second.sock", "unix:third.sock") + busy + DEVICE + tiny() + other())
            self.assertFalse(taken)
            self.assertIn("observe.listen", why)
            self.assertFalse(os.path.exists(os.path.join(dsd.runtime_dir, "third.sock")))
            self.assertEqual(self.models(dsd), {"tiny": "ready"})
            self.assertEqual(dsd.api("GET", "/v1/models").status, 200)
            taken, why, _ = self.reload(dsd, listen("unix:second.sock") + DEVICE + tiny())
            self.assertTrue(taken, why)
            self.assertFalse(os.path.exists(dsd.api_path) or os.path.exists(metrics))
            # The stream came over the socket that is gone, and goes on in the next program as well.
            done = dsctl(dsd, "daemon", "reexec")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(len(set(running.choices())), 1)
            self.assertTrue(running.done, running.error)
            self.assertEqual(ask_at(second, "GET", "/v1/models").status, 200)

    def test_the_limits_of_supervision_count_for_runners_that_are_there(self):
        with Dsd(DEVICE + tiny()) as dsd:
            dsd.wait_ready()
            taken, why, changes = self.reload(dsd, "[supervise]\ndeaths_max = 0\n" + DEVICE + tiny())
            self.assertTrue(taken, why)
            self.assertEqual(changes, {"supervise.deaths_max": "reload"})
            harness.send(dsd.runner_row()["pid"], signal.SIGABRT)
            dsd.wait_state("failed")


if __name__ == "__main__":
    harness.main()
