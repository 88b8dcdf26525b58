#!/usr/bin/env python3
"""dsd under ten times its capacity, with a real model: what DESIGN 7 promises, held to its bars.

    overload_bench.py --programs build/release/bin --source . --model FILE.gguf [--capacity 5.2] \\
        [--loads 0.3,1,10] [--seconds 200] [--rival-directory DIR]

The runner has core 0 for itself, dsd and the load share core 1. Points: vips alone at 0.3 of the capacity,
all classes at 1x, then 10x with the vips as before. Each lasts 120 s, or as long as 320 vips take (--seconds:
so long). Without --capacity it is found first. The bars and their verdicts are those of `dsctl bench`.

With --rival-directory, llama.cpp's llama-server has the same core, model and number of slots after that,
and 64 and 256 clients ask each of the two at once, again and again: p99 of the first tokens that came, and
answers within 5 s and 0.2 s a token.

Exits with 1 where a bar was missed.
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "system"))
sys.path.insert(0, os.path.join(HERE, "..", "engine_bench"))
import harness  # noqa: E402
from rival import Rival  # noqa: E402

RUNNER_CORE, LOAD_CORE = 0, 1
VIPS_MIN, SECONDS_MIN, VIP_SHARE = 320, 120, 0.3
WORK = ["--prompt-tokens", "lognormal:64:0.5", "--output-tokens", "uniform:16:48"]
CLIENTS = 8  # of each class
SLOTS, CONTEXT_TOKENS, RIVAL_CLIENTS = 4, 2048, (64, 256)
TTFT_RATIO_BAR, GOODPUT_RATIO_BAR = 0.1, 3
# A sequence more takes 1.8 ms of a step there and the step itself 9 ms: batches beyond 40 ms would make all
# vips wait longer, and be worth another tenth of the tokens.
STEP_MAX = "40ms"


def config(model, extra):
    device = f'[[device]]\nname = "cpu0"\nkind = "cpu"\ncores = [{RUNNER_CORE}]\n'
    return (device + harness.model_toml("model", model, kv_memory="256MiB",
                                        extra=f"context_tokens = {CONTEXT_TOKENS}\n{extra}") +
            '[class.vip]\ndeadline = "1s"\n'
            # Clients that dsd does not tell apart it cannot serve alike.
            f'[[client]]\nname = "bench"\nuid = {os.getuid()}\nclass = "vip"\ntrusted_proxy = true\n')


def bench(arguments, *options):
    """What dsctl bench printed."""
    done = subprocess.run([harness.program("dsctl"), *options[:1], "bench", *options[1:],
                           "--seed", str(arguments.seed)], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"overload_bench: dsctl bench ended with {done.returncode}")
    return done.stdout


def dsctl_bench(arguments, dsd, *options):
    return bench(arguments, f"--runtime-dir={dsd.runtime_dir}", *options)


def capacity_of(arguments, dsd):
    if arguments.capacity:
        return arguments.capacity
    options = ["--find-capacity", *WORK, "--ttft", "vip=1s", "--json"]
    return json.loads(dsctl_bench(arguments, dsd, *options))["capacity_per_s"]


def under_load(arguments):
    """Whether all bars of all points were met, and how many there were."""
    with harness.Dsd(config(arguments.model, f'step_max = "{STEP_MAX}"\n')) as dsd:
        dsd.wait_ready()
        capacity = capacity_of(arguments, dsd)
        seconds = arguments.seconds or max(SECONDS_MIN, VIPS_MIN / (VIP_SHARE * capacity))
        text = dsctl_bench(arguments, dsd, "--capacity", f"{capacity:.3f}", "--loads", arguments.loads,
                           "--fixed", "vip", *WORK, "--ttft", "vip=1s", "--clients", str(CLIENTS),
                           "--as-proxy", "--duration", f"{seconds:.0f}s", "--drain", "15s")
    print(text, flush=True)
    verdicts = re.findall(r" (PASS|FAIL)\s*$", text, re.MULTILINE)
    return bool(verdicts) and "FAIL" not in verdicts


@contextlib.contextmanager
def on_core(core):
    """What is started meanwhile stays there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def clients_at_once(arguments, clients, *server):
    """(p99 of the first tokens in ms, answers within the SLO a second) of so many clients."""
    text = bench(arguments, *server, "--concurrent", str(clients), "--mix", "normal=1", *WORK, "--json",
                 "--warmup", "0", "--duration", f"{arguments.rival_seconds:.0f}s", "--drain", "60s")
    row = json.loads(text)["points"][0]
    return row["all"]["ttft_ms"]["p99"], row["goodput_per_s"]


def verdict(what, value, bar, passed):
    print(f"{what}: {value:.3f}  bar {bar}  {'PASS' if passed else 'FAIL'}", flush=True)
    return passed


def beside_rival(arguments, clients):
    with harness.Dsd(config(arguments.model, f"sequences_max = {SLOTS}\n")) as dsd:
        dsd.wait_ready()
        ours_ms, ours_per_s = clients_at_once(arguments, clients, f"--runtime-dir={dsd.runtime_dir}")
    rival = Rival(arguments.rival_directory, threads=1)
    with on_core(RUNNER_CORE):
        server = rival.server(arguments.model, SLOTS, CONTEXT_TOKENS)
    with server:
        rivals_ms, rivals_per_s = clients_at_once(arguments, clients, "--no-color", "--url",
                                                  f"http://127.0.0.1:{server.port}")
    print(f"{clients} clients: first token p99 {ours_ms:.0f} ms, llama-server {rivals_ms:.0f} ms; answers in "
          f"time {ours_per_s:.2f}/s, llama-server {rivals_per_s:.2f}/s")
    passed = verdict(f"{clients} clients: first token p99 / llama-server's", ours_ms / rivals_ms,
                     f"<= {TTFT_RATIO_BAR}", ours_ms <= TTFT_RATIO_BAR * rivals_ms)
    ratio = ours_per_s / rivals_per_s if rivals_per_s else float("inf")
    return passed & verdict(f"{clients} clients: answers in time / llama-server's", ratio,
                            f">= {GOODPUT_RATIO_BAR}", ratio >= GOODPUT_RATIO_BAR)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--capacity", type=float)
    parser.add_argument("--loads", default="0.3,1,10")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--rival-directory")
    parser.add_argument("--rival-seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    harness.programs, harness.source = arguments.programs, arguments.source
    arguments.model = os.path.abspath(arguments.model)
    with on_core(LOAD_CORE):
        passed = not arguments.loads or under_load(arguments)
        if arguments.rival_directory:
            for clients in RIVAL_CLIENTS:
                passed &= beside_rival(arguments, clients)
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
