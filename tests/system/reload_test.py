"""Another configuration for a dsd that runs: taken over whole, or not at all."""

import json
import os
import signal
import unittest

import harness
from harness import DEVICE, MANY, Dsd, FollowedStream, dsctl, greedy, model_toml, wait_for

CLIENT = '[[client]]\nname = "me"\nuid = {uid}\nclass = "{ceiling}"\nweight = 2\n'


def config(ceiling="normal", deadline="5s", device=DEVICE, extra=""):
    return (device + model_toml(kv_memory="128MiB") + f'[class.normal]\ndeadline = "{deadline}"\n' +
            CLIENT.format(uid=os.getuid(), ceiling=ceiling) + extra)


class ConfigReload(unittest.TestCase):
    def write(self, dsd, text):
        with open(dsd.config_path, "w") as file:
            file.write(text)

    def class_of_vip_request(self, dsd):
        """What a request is served as that asks for vip, as its trace tells."""
        answer = dsd.api("POST", "/v1/completions", greedy(tokens=1), {"X-Deepserve-Class": "vip"})
        self.assertEqual(answer.status, 200, answer.text)
        request = answer.json["id"].removeprefix("cmpl-")
        return dsd.control("GET", f"/ctl/requests/{request}/trace").json["class"]

    def test_clients_and_classes_change_while_streams_run(self):
        with Dsd(config()) as dsd:
            dsd.wait_ready()
            self.assertEqual(self.class_of_vip_request(dsd), "normal")
            pid = dsd.runner_row()["pid"]
            running = dsd.stream(greedy(tokens=900, n=32)).begin()
            self.write(dsd, config(ceiling="vip", deadline="7s"))
            diff = json.loads(dsctl(dsd, "config", "diff").stdout)["changes"]
            self.assertEqual([(row["key"], row["from"], row["to"], row["takes_effect"]) for row in diff],
                             [("class.normal.deadline", "5s", "7s", "reload"),
                              ("client.me.class", "normal", "vip", "reload")])
            self.assertEqual(self.class_of_vip_request(dsd), "normal", "a diff changes nothing")
            done = dsctl(dsd, "config", "reload")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(self.class_of_vip_request(dsd), "vip")
            self.assertEqual([row["state"] for row in dsd.requests()], ["streaming"])
            self.assertEqual(len(running.choices()), 32)
            self.assertTrue(running.done, running.error)
            self.assertEqual(dsd.runner_row()["pid"], pid)
            self.assertEqual(json.loads(dsctl(dsd, "config", "diff").stdout)["changes"], [])
            shown = dsd.control("GET", "/ctl/config").json["config"]
            self.assertEqual(shown["class"]["normal"]["deadline"], "7s")

    def test_sighup_is_a_reload(self):
        with Dsd(config()) as dsd:
            dsd.wait_ready()
            self.write(dsd, config(deadline="9s"))
            dsd.process.send_signal(signal.SIGHUP)
            classes = lambda: dsd.control("GET", "/ctl/config").json["config"]["class"]  # noqa: E731
            wait_for(lambda: classes()["normal"]["deadline"] == "9s", "the reload")

    def generations(self, dsd):
        return {row["generation"]: row["state"]
                for row in dsd.control("GET", "/ctl/history/tiny").json["generations"]}

    def test_what_a_models_runners_have_from_their_start_is_swapped_in_under_a_stream(self):
        with Dsd(DEVICE + model_toml()) as dsd:
            dsd.wait_ready()
            expected = dsd.api("POST", "/v1/completions", greedy(tokens=900)).json["choices"][0]["text"]
            blocks = dsd.runner_row()["kv_blocks_total"]
            stream = dsd.stream(greedy(tokens=900, n=MANY)).begin()
            self.write(dsd, DEVICE + model_toml(kv_memory="32MiB", extra='aliases = ["small"]\n'))
            changes = json.loads(dsctl(dsd, "config", "reload").stdout)["changes"]
            self.assertEqual([(row["key"], row["takes_effect"]) for row in changes],
                             [("model.tiny.aliases", "reload"), ("model.tiny.kv_memory", "swap")])
            wait_for(lambda: self.generations(dsd).get(2) == "live", "the swap")
            self.assertEqual(stream.choices(), [expected] * MANY)
            self.assertTrue(stream.done, stream.error)
            row = next(row for row in dsd.runners() if row["generation"] == 2)
            self.assertEqual(row["kv_blocks_total"], 2 * blocks)
            self.assertEqual(dsd.api("POST", "/v1/completions", greedy(tokens=1, model="small")).status, 200)

    def test_a_change_that_has_no_room_or_meets_another_order_refuses_the_whole(self):
        device = DEVICE + 'memory_limit = "200MiB"\n'
        with Dsd(device + model_toml()) as dsd:
            dsd.wait_ready()
            self.write(dsd, device + model_toml(kv_memory="300MiB", extra='aliases = ["small"]\n'))
            done = dsctl(dsd, "config", "reload")
            self.assertEqual(done.returncode, 1)
            self.assertIn("memory_limit", done.stderr)
            self.assertEqual(dsd.api("POST", "/v1/completions", greedy(tokens=1, model="small")).status, 404)
            self.assertEqual(self.generations(dsd), {1: "live"})

    def test_a_dsd_that_finds_another_file_than_its_runners_had_keeps_them_and_then_follows_it(self):
        with Dsd(DEVICE + model_toml()) as dsd:
            dsd.wait_ready()
            expected = dsd.api("POST", "/v1/completions", greedy(tokens=900)).json["choices"][0]["text"]
            before = dsd.runner_row()["pid"]
            stream = FollowedStream(dsd.api_path, greedy(tokens=900, n=MANY))

            def strike():
                self.write(dsd, DEVICE + model_toml(kv_memory="32MiB"))
                dsd.replace()

            stream.strike_once(strike)
            self.assertEqual(stream.follow().texts, dict.fromkeys(range(MANY), expected))
            wait_for(lambda: self.generations(dsd).get(2) == "live", "the swap")
            self.assertNotEqual(next(row["pid"] for row in dsd.runners() if row["generation"] == 2), before)

    def test_a_file_that_is_wrong_changes_nothing_and_says_where(self):
        with Dsd(config()) as dsd:
            dsd.wait_ready()
            self.write(dsd, config(ceiling="king"))
            done = dsctl(dsd, "config", "reload")
            self.assertEqual(done.returncode, 1)
            self.assertIn("deepserve.toml:", done.stderr)
            told = dsd.control("POST", "/ctl/config/reload").json["error"]["message"]
            self.assertEqual(told, told.strip())
            dsd.process.send_signal(signal.SIGHUP)
            wait_for(lambda: "nothing was changed" in dsd.log(), "the complaint")
            self.assertEqual(self.class_of_vip_request(dsd), "normal")


if __name__ == "__main__":
    harness.main()
