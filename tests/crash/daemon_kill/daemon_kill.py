#!/usr/bin/env python3
"""daemon_kill: kills a real dsd under load again and again, and follows every stream to its end.

Each round: streams of all kinds run, none of which asked for anything; dsd gets SIGKILL; another is started
in its place; each client comes back with Last-Event-ID. Checked: every text is, byte for byte, that of an
undisturbed run; every choice ends once; no runner was restarted; the new dsd has its runner within the bar.
Prints the seed, how many streams there were, and how long the adoptions took; exits 1 if anything was wrong.
"""

import argparse
import os
import random
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "system"))

import harness  # noqa: E402

ADOPTION_BAR_S = 1.0
KINDS = 8
ROUND_BOUND_S = 60.0
HIT_PART_MIN = 0.25  # of all streams: kills between the streams show nothing
PATIENT = {"X-Deepserve-Deadline-Ms": "60000"}  # none is to be refused


def body_of(kind):
    """Greedy or with a seed, with one choice or two."""
    more = {"temperature": 0.8, "seed": kind, "n": 2} if kind % 4 == 3 else {}
    return harness.greedy(prompt=f"Story number {kind}:", tokens=300 + 40 * kind, **more)


class Campaign:
    def __init__(self, arguments):
        self.arguments = arguments
        self.random = random.Random(arguments.seed)
        self.wrong = []
        self.adoptions_s = []
        self.hit = 0  # streams that a kill of dsd broke off
        config = harness.DEVICE + harness.model_toml(kv_memory="128MiB")
        self.dsd = harness.Dsd('[supervise]\ndeaths_max = 1000\n' + config)

    def run(self):
        with self.dsd:
            self.dsd.wait_ready()
            expected = [self.undisturbed(body_of(kind)) for kind in range(KINDS)]
            runner = self.dsd.runner_row()["pid"]
            for number in range(self.arguments.rounds):
                self.one_round(number, expected)
                row = self.dsd.runner_row()
                if (row["pid"], row["restarts"]) != (runner, 0):
                    self.wrong.append(f"round {number}: the runner was replaced: {row}")
                    runner = row["pid"]
                if self.wrong:
                    break
        return self.report()

    def undisturbed(self, body):
        answer = self.dsd.api("POST", "/v1/completions", body)
        assert answer.status == 200, answer.text
        return {choice["index"]: choice["text"] for choice in answer.json["choices"]}

    def one_round(self, number, expected):
        killed = threading.Event()
        streams = [harness.FollowedStream(self.dsd.api_path, body_of(i % KINDS), headers=PATIENT,
                                          bound_s=ROUND_BOUND_S, may_break=killed.is_set)
                   for i in range(self.arguments.streams)]
        failures = {}

        def follow(i):
            try:
                streams[i].follow()
            except Exception as error:  # told by the main thread
                failures[i] = error

        threads = [threading.Thread(target=follow, args=(i,)) for i in range(len(streams))]
        for thread in threads:
            thread.start()
        harness.wait_for(lambda: all(stream.request_id or stream.error for stream in streams),
                         "all streams to begin", ROUND_BOUND_S)
        time.sleep(self.random.uniform(0, 0.1))
        killed.set()
        self.kill_and_replace()
        for thread in threads:
            thread.join()
        self.hit += sum(stream.breaks for stream in streams)
        for i, stream in enumerate(streams):
            place = f"round {number}, stream {i} ({stream.request_id} after {stream.last_id})"
            if i in failures or stream.error is not None:
                self.wrong.append(f"{place}: {failures.get(i) or stream.error}")
            elif stream.breaks > 1:
                self.wrong.append(f"{place}: one kill broke it {stream.breaks} times")
            elif stream.texts != expected[i % KINDS]:
                self.wrong.append(f"{place}: another text than undisturbed")
            elif set(stream.finishes.values()) != {1}:
                self.wrong.append(f"{place}: choices ended {stream.finishes} times")

    def kill_and_replace(self):
        self.dsd.process.send_signal(signal.SIGKILL)
        self.dsd.process.wait()
        begun = time.monotonic()
        self.dsd.start()
        harness.wait_for(lambda: self.dsd.runner_row()["state"] == "ready", "the runner to be adopted", 20)
        self.adoptions_s.append(time.monotonic() - begun)

    def report(self):
        slowest = max(self.adoptions_s, default=0)
        if slowest > ADOPTION_BAR_S:
            self.wrong.append(f"an adoption took {slowest:.2f} s, of at most {ADOPTION_BAR_S}")
        rounds = len(self.adoptions_s)
        if self.hit < HIT_PART_MIN * rounds * self.arguments.streams:
            self.wrong.append(f"only {self.hit} streams were hit")
        print(f"seed {self.arguments.seed}: {rounds} kills of dsd, {self.arguments.streams} streams each, "
              f"{self.hit} of them hit; adoption <= {slowest:.3f} s (median "
              f"{sorted(self.adoptions_s)[rounds // 2]:.3f} s, bar {ADOPTION_BAR_S} s, dsd's start included)")
        for line in self.wrong[:20]:
            print(f"WRONG: {line}")
        print("FAIL" if self.wrong else "PASS: 0 lost, 0 told twice or missing, 0 runners restarted")
        return 1 if self.wrong else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    arguments = parser.parse_args()
    harness.programs, harness.source = arguments.programs, arguments.source
    sys.exit(Campaign(arguments).run())


if __name__ == "__main__":
    main()
