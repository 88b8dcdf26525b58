"""One generation of a model takes another's place while requests come in."""

import json
import os
import shutil
import signal
import threading
import time
import unittest

import harness
from harness import DEVICE, MANY, Dsd, FollowedStream, dsctl, greedy, model_toml, tiny_model, wait_for

TWO_DEVICES = ('[[device]]\nname = "cpu0"\nkind = "cpu"\ncores = [0]\n'
               '[[device]]\nname = "cpu1"\nkind = "cpu"\ncores = [0]\n')
# A KV cache of the budget's larger half: two do not fit.
QUIET = 60  # answers between two swaps, to compare with
ROOM_FOR_ONE = DEVICE + 'memory_limit = "500MiB"\n'


class Load(threading.Thread):
    """Clients that stream one answer after the other until they are told to stop."""

    def __init__(self, dsd, clients=3, tokens=24):
        super().__init__()
        self.dsd, self.clients, self.tokens = dsd, clients, tokens
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self.ttfts = []  # (when it was sent, seconds)
        self.texts = set()
        self.failures = []

    def client(self):
        while not self.ended.is_set():
            sent = time.monotonic()
            try:
                stream = self.dsd.stream(greedy(tokens=self.tokens))
                first, text = None, ""
                if stream.status != 200:
                    raise AssertionError(f"status {stream.status}: {stream.response.read()[:300]}")
                for piece in stream.texts():
                    first = first or time.monotonic()
                    text += piece
                if stream.error or not stream.done:
                    raise AssertionError(f"error {stream.error}, done {stream.done}")
                with self.lock:
                    self.ttfts.append((sent, first - sent))
                    self.texts.add(text)
            except Exception as problem:  # every kind of failure counts the same
                with self.lock:
                    self.failures.append(f"{type(problem).__name__}: {problem}")

    def run(self):
        threads = [threading.Thread(target=self.client) for _ in range(self.clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def count(self):
        with self.lock:
            return len(self.ttfts)

    def __enter__(self):
        self.start()
        wait_for(lambda: self.count() > 10 or self.failures, "the load to run")
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()


def p99(values):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]


class Swap(unittest.TestCase):
    swaps = int(os.environ.get("DEEPSERVE_SWAPS", "10"))

    def swap_under_load(self, config, way):
        with Dsd(config) as dsd:
            dsd.wait_ready()
            directory = dsd.directory
            files = [os.path.join(directory, name) for name in ("a.gguf", "b.gguf")]
            for file in files:
                shutil.copy(tiny_model(), file)
            with Load(dsd) as load:
                quiet_from = time.monotonic()
                wait_for(lambda: load.count() >= QUIET or load.failures, "a quiet time to compare with")
                spans = []
                for i in range(self.swaps):
                    begun = time.monotonic()
                    # Not by dsctl: what its start costs would count as the swap's.
                    done = dsd.control("POST", "/ctl/orders/swap/tiny", {"path": files[i % 2]})
                    spans.append((begun, time.monotonic()))
                    self.assertEqual(done.status, 200, done.text)
                    answer = done.json
                    self.assertEqual(answer["model"]["generation"], i + 2)
                    self.assertEqual(answer["model"]["path"], files[i % 2])
                    served = load.count()
                    wait_for(lambda: load.count() >= served + QUIET or load.failures,
                             "answers of the new one")
            self.assertEqual(load.failures, [])
            self.assertEqual(len(load.texts), 1, "the same file says the same")
            during, quiet = [], []
            for sent, ttft in load.ttfts:
                is_hit = any(begun <= sent + ttft and sent <= ended for begun, ended in spans)
                (during if is_hit else quiet if sent >= quiet_from else []).append(ttft)
            print(f"{way}: {self.swaps} swaps, {len(load.ttfts)} answers, 0 failed; TTFT p99 "
                  f"{1e3 * p99(quiet):.1f} ms between (N={len(quiet)}), {1e3 * p99(during):.1f} ms during "
                  f"(N={len(during)}), {p99(during) / p99(quiet):.2f}x; "
                  f"a swap takes {max(ended - begun for begun, ended in spans):.2f} s at most")
            rows = dsd.runners()
            self.assertTrue(all(row["generation"] in (self.swaps, self.swaps + 1) for row in rows), rows)
            history = json.loads(dsctl(dsd, "model", "history", "tiny").stdout)["generations"]
            live = [row["generation"] for row in history if row["state"] == "live"]
            self.assertEqual(live, [self.swaps + 1])

    def test_beside_with_two_runners(self):
        self.swap_under_load(TWO_DEVICES + model_toml(devices=("cpu0", "cpu1")), "beside, two runners")

    def test_without_room_for_two_the_queue_is_held(self):
        self.swap_under_load(ROOM_FOR_ONE + model_toml(kv_memory="300MiB"), "drain-then-swap, one runner")


class FailedSwap(unittest.TestCase):
    def test_the_old_one_serves_on_and_the_reason_is_told(self):
        with Dsd(DEVICE + model_toml()) as dsd:
            dsd.wait_ready()
            text = dsd.api("POST", "/v1/completions", greedy(tokens=8)).json["choices"][0]["text"]
            broken = os.path.join(dsd.directory, "broken.gguf")
            with open(tiny_model(), "rb") as whole, open(broken, "wb") as file:
                file.write(whole.read()[:20_000])
            pid = dsd.runner_row()["pid"]
            refused = dsctl(dsd, "model", "swap", "tiny", "--path", broken)
            self.assertEqual(refused.returncode, 1, refused.stderr)
            self.assertIn("broken.gguf", refused.stderr)
            self.assertEqual(dsctl(dsd, "model", "swap", "tiny", "--path", "/no/such.gguf").returncode, 5)
            self.assertEqual(dsctl(dsd, "model", "swap", "huge").returncode, 5)
            self.assertEqual(dsd.runner_row()["pid"], pid)
            again = dsd.api("POST", "/v1/completions", greedy(tokens=8)).json["choices"][0]["text"]
            self.assertEqual(again, text)
            wait_for(lambda: len(dsd.runners()) == 1, "the failed one to be gone")
            states = [(row["state"], row["reason"] != "") for row in
                      json.loads(dsctl(dsd, "model", "history", "tiny").stdout)["generations"]]
            self.assertEqual(states, [("live", False), ("failed", True)])

    def test_without_room_the_old_one_is_loaded_again(self):
        with Dsd(ROOM_FOR_ONE + model_toml(kv_memory="300MiB")) as dsd:
            dsd.wait_ready()
            broken = os.path.join(dsd.directory, "broken.gguf")
            with open(tiny_model(), "rb") as whole, open(broken, "wb") as file:
                file.write(whole.read()[:20_000])
            refused = dsctl(dsd, "model", "swap", "tiny", "--path", broken)
            self.assertEqual(refused.returncode, 1, refused.stderr)
            self.assertIn("broken.gguf", refused.stderr)
            self.assertEqual(dsd.api("POST", "/v1/completions", greedy(tokens=8)).status, 200)
            row = dsd.control("GET", "/ctl/models").json[0]
            self.assertEqual((row["state"], row["generation"], row["path"]), ("ready", 3, tiny_model()))


class NextDaemon(unittest.TestCase):
    def swapped(self, dsd):
        dsd.wait_ready()
        other = os.path.join(dsd.directory, "other.gguf")
        shutil.copy(tiny_model(), other)
        done = dsctl(dsd, "model", "swap", "tiny", "--path", other)
        self.assertEqual(done.returncode, 0, done.stderr)
        return other, [row["pid"] for row in dsd.runners() if row["generation"] == 2]

    def test_after_a_kill_it_goes_on_with_what_was_swapped_in(self):
        with Dsd(DEVICE + model_toml()) as dsd:
            other, pids = self.swapped(dsd)
            before = [row["pid"] for row in dsd.runners() if row["generation"] == 1]
            dsd.replace()
            dsd.wait_ready()
            row = dsd.control("GET", "/ctl/models").json[0]
            self.assertEqual((row["generation"], row["path"]), (2, other))
            self.assertEqual([row["pid"] for row in dsd.runners() if row["generation"] == 2], pids)
            self.assertEqual([row["restarts"] for row in dsd.runners() if row["generation"] == 2], [0])
            self.assertEqual(dsd.api("POST", "/v1/completions", greedy(tokens=8)).status, 200)
            wait_for(lambda: [row["pid"] for row in dsd.runners() if row["generation"] == 1] == before,
                     "the warm one to be adopted as well")
            back = dsctl(dsd, "model", "rollback", "tiny")
            self.assertEqual(back.returncode, 0, back.stderr)
            self.assertEqual(dsd.control("GET", "/ctl/models").json[0]["generation"], 1)
            self.assertEqual(dsctl(dsd, "model", "swap", "tiny", "--path", tiny_model()).returncode, 0)
            self.assertEqual(dsd.control("GET", "/ctl/models").json[0]["generation"], 3)

    def killed(self, dsd):
        dsd.replace()

    def test_what_was_warm_and_died_with_dsd_is_not_gone_back_to_but_loaded(self):
        with Dsd(DEVICE + model_toml()) as dsd:
            self.swapped(dsd)
            warm = next(row["pid"] for row in dsd.runners() if row["generation"] == 1)
            dsd.process.kill()
            dsd.process.wait()
            harness.send(warm, signal.SIGKILL)
            dsd.start()
            dsd.wait_ready()
            wait_for(lambda: len(dsd.runners()) == 1, "the warm one to be forgotten")
            self.assertEqual(dsctl(dsd, "model", "rollback", "tiny").returncode, 0)
            row = dsd.control("GET", "/ctl/models").json[0]
            self.assertEqual((row["path"], row["generation"]), (tiny_model(), 3))

    def test_what_was_to_drain_first_is_not_lost_with_its_requests(self):
        with Dsd(ROOM_FOR_ONE + model_toml(kv_memory="300MiB")) as dsd:
            other, _ = self.swapped(dsd)
            body = greedy(tokens=900, n=MANY)
            stream = FollowedStream(dsd.api_path, body, headers={"X-Deepserve-Resume": "1"},
                                    may_break=lambda: True)  # dsd is killed under it
            expected = dsd.api("POST", "/v1/completions", body).json["choices"]
            follower = threading.Thread(target=stream.follow)
            follower.start()
            wait_for(lambda: stream.texts, "the stream to begin")
            pid = dsd.runner_row()["pid"]
            harness.send(pid, signal.SIGSTOP)
            swap = threading.Thread(target=dsctl, args=(dsd, "model", "swap", "tiny", "--path", tiny_model()))
            swap.start()
            wait_for(lambda: "draining" in dsctl(dsd, "model", "history", "tiny").stdout, "it to begin")
            dsd.process.kill()
            dsd.process.wait()
            harness.send(pid, signal.SIGCONT)
            dsd.start()
            dsd.wait_ready()
            follower.join()
            swap.join()
            self.assertEqual(stream.error, None)
            self.assertEqual(stream.texts, {choice["index"]: choice["text"] for choice in expected})
            self.assertEqual([row["pid"] for row in dsd.runners()], [pid])
            self.assertEqual(dsd.control("GET", "/ctl/models").json[0]["path"], other)

    def test_what_was_unloaded_stays_so(self):
        with Dsd(DEVICE + model_toml()) as dsd:
            dsd.wait_ready()
            self.assertEqual(dsctl(dsd, "model", "unload", "tiny").returncode, 0)
            self.killed(dsd)
            self.assertIn("unloaded", dsd.api("POST", "/v1/completions", greedy(tokens=8)).text)
            self.assertEqual(dsd.runners(), [])
            self.assertEqual(dsctl(dsd, "model", "load", "tiny").returncode, 0)
            self.assertEqual(dsd.api("POST", "/v1/completions", greedy(tokens=8)).status, 200)

    def test_a_canary_is_tried_out_further(self):
        with Dsd(DEVICE + model_toml()) as dsd:
            dsd.wait_ready()
            other = os.path.join(dsd.directory, "other.gguf")
            shutil.copy(tiny_model(), other)
            begun = dsctl(dsd, "model", "canary", "tiny", "--path", other, "--percent", "50")
            self.assertEqual(begun.returncode, 0, begun.stderr)
            pids = sorted(row["pid"] for row in dsd.runners())
            self.killed(dsd)
            dsd.wait_ready()
            wait_for(lambda: sorted(row["pid"] for row in dsd.runners()) == pids, "both to be adopted")
            for i in range(20):
                body = {**greedy(tokens=2), "prompt": f"This is number {i}"}
                self.assertEqual(dsd.api("POST", "/v1/completions", body).status, 200)
            self.assertEqual(dsctl(dsd, "model", "promote", "tiny").returncode, 0)
            row = dsd.control("GET", "/ctl/models").json[0]
            self.assertEqual((row["generation"], row["path"]), (2, other))

    def test_what_it_could_not_be_told_of_is_not_done(self):
        with Dsd(DEVICE + model_toml()) as dsd:
            other, _ = self.swapped(dsd)
            in_the_way = os.path.join(dsd.runtime_dir, "generations.json.new")
            os.mkdir(in_the_way)
            refused = dsctl(dsd, "model", "swap", "tiny", "--path", other)
            self.assertEqual(refused.returncode, 1)
            self.assertIn("would not know of it", refused.stderr)
            self.assertEqual(dsctl(dsd, "model", "rollback", "tiny").returncode, 0, "never refused for that")
            for freed, status in ((False, 409), (True, 200)):
                if freed:
                    os.rmdir(in_the_way)
                upgraded = dsd.control("POST", "/ctl/daemon/reexec", {})
                self.assertEqual(upgraded.status, status, upgraded.text)
                self.assertIn("cannot be written" if status == 409 else "pid", upgraded.text)
                row = dsd.control("GET", "/ctl/models").json[0]
                self.assertEqual((row["generation"], row["path"]), (1, tiny_model()))

    def test_after_a_stop_the_configuration_counts(self):
        with Dsd(DEVICE + model_toml()) as dsd:
            self.swapped(dsd)
            dsd.process.terminate()
            dsd.process.wait(30)
            dsd.start()
            dsd.wait_ready()
            row = dsd.control("GET", "/ctl/models").json[0]
            self.assertEqual((row["generation"], row["path"]), (1, tiny_model()))


class Lifecycle(unittest.TestCase):
    def test_unload_load_and_rollback(self):
        with Dsd(DEVICE + model_toml()) as dsd:
            dsd.wait_ready()
            self.assertEqual(dsctl(dsd, "model", "rollback", "tiny").returncode, 1)
            self.assertEqual(dsctl(dsd, "model", "load", "tiny").returncode, 1, "it is loaded")
            unloaded = dsctl(dsd, "model", "unload", "tiny")
            self.assertEqual(unloaded.returncode, 0, unloaded.stderr)
            self.assertEqual(dsd.runners(), [])
            refused = dsd.api("POST", "/v1/completions", greedy(tokens=8))
            self.assertEqual((refused.status, refused.json["error"]["code"]), (503, "model_not_ready"))
            self.assertIn("unloaded", refused.text)
            loaded = dsctl(dsd, "model", "load", "tiny")
            self.assertEqual(loaded.returncode, 0, loaded.stderr)
            self.assertEqual(dsd.api("POST", "/v1/completions", greedy(tokens=8)).status, 200)
            other = os.path.join(dsd.directory, "other.gguf")
            shutil.copy(tiny_model(), other)
            self.assertEqual(dsctl(dsd, "model", "swap", "tiny", "--path", other).returncode, 0)
            back = dsctl(dsd, "model", "rollback", "tiny")
            self.assertEqual(back.returncode, 0, back.stderr)
            row = dsd.control("GET", "/ctl/models").json[0]
            self.assertEqual((row["path"], row["generation"]), (tiny_model(), 2), "it was kept warm")
            self.assertEqual(dsd.api("POST", "/v1/completions", greedy(tokens=8)).status, 200)

    def test_a_stream_whose_runner_dies_while_its_model_is_unloaded_gets_its_end(self):
        with Dsd(DEVICE + model_toml()) as dsd:
            dsd.wait_ready()
            stream = dsd.stream(greedy(tokens=900, n=MANY)).begin()
            pid = dsd.runner_row()["pid"]
            harness.send(pid, signal.SIGSTOP)
            unload = threading.Thread(target=dsctl, args=(dsd, "model", "unload", "tiny"))
            unload.start()
            wait_for(lambda: "draining" in dsctl(dsd, "model", "history", "tiny").stdout, "it to begin")
            harness.send(pid, signal.SIGKILL)
            stream.choices()
            unload.join()
            self.assertEqual(stream.error["code"], "runner_lost")
            self.assertEqual(dsd.runners(), [])


if __name__ == "__main__":
    harness.main()
