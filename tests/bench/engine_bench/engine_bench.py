#!/usr/bin/env python3
"""The engine on this host, beside llama.cpp where its programs are at hand: the same GGUF files, the same
threads, in turns.

    engine_bench.py --programs build/release/bin --source . [--rival-directory DIR] [--only decode,chats]
                    [--rounds 5] [--threads N] MODEL.gguf...

DIR holds llama-bench and llama-server; what needs them is left out, and said so, without. Parts:

    decode    1 sequence, 64 tokens from an empty context        ours / rival
    prefill   512 tokens                                         ours / rival
    chats     tokens/s of 16 chats over HTTP: prompts of 64 tokens, answers of 128; dsd / llama-server
    batch     tokens/s of decode at batch 32 / batch 1, and each batch size against its bound
    prefix    time to the first token after 1,000 known tokens / after none
    overhead  share of a step at batch 16 outside the backend: scheduler, sampler, text, lane
    memory    peak resident set / (weights + KV cache)

Prints medians, bar, and PASS or FAIL; exits 1 if a line failed. Wants a quiet machine.
"""

import argparse
import os
import statistics
import sys

import chats
from ours import Ours
from rival import Rival

PARTS = ("decode", "prefill", "chats", "batch", "prefix", "overhead", "memory")
RIVAL_NEEDS = {"decode": "llama-bench", "prefill": "llama-bench", "chats": "llama-server"}

DECODE_BARS = {"F32": 1.5, "F16": 1.5, "BF16": 1.5, "Q8_0": 1.3}
DECODE_BAR_FEWER_BITS = 1.2
PREFILL_BAR = 1.3
CHATS_BAR = 1.5
BATCH_BAR = 4.7
BATCH_BAR_TYPE = "Q8_0"  # the only one that it is set for
PREFIX_BAR = 0.08
OVERHEAD_BAR = 0.03
MEMORY_BAR = 1.10

PROMPT_TOKENS = 512
DECODE_TOKENS = 64
CHATS, CHAT_PROMPT_TOKENS, CHAT_ANSWER_TOKENS = 16, 64, 128
CHAT_CONTEXT_TOKENS = 256
WARM_UP_SEED = 999
KV_BYTES = (256 << 20, 1 << 30)  # little, and what dsd takes unless told otherwise
BATCHES = (1, 2, 4, 8, 16, 32)
BATCH_CONTEXT_TOKENS, BATCH_STEPS = 64, 16


class Report:
    def __init__(self):
        self.failed = 0

    def line(self, model, what, value, bar, at_least=True, form="{:.2f}x", details=""):
        passed = value >= bar if at_least else value <= bar
        self.failed += not passed
        sign = ">=" if at_least else "<="
        print(f"{os.path.basename(model):<28} {what:<22} {form.format(value):>8}  "
              f"bar {sign} {form.format(bar):<7} {'PASS' if passed else 'FAIL'}  {details}", flush=True)


def spread(values):
    return f"{statistics.median(values):.1f} ({min(values):.1f} - {max(values):.1f})"


def in_turns(rounds, first, second):
    """Calls both `rounds` times, the other one first every time; their results."""
    results = {first: [], second: []}
    for number in range(rounds):
        for call in (first, second) if number % 2 == 0 else (second, first):
            results[call].append(call(number))
    return results[first], results[second]


def decode_and_prefill(model, parts, arguments, ours, rival, report):
    prompt_tokens = PROMPT_TOKENS if "prefill" in parts else 0
    decode_tokens = DECODE_TOKENS if "decode" in parts else 0

    def run_ours(_):
        return ours.bench(model, prompt_tokens, (1,) if decode_tokens else (0,), 0, DECODE_TOKENS, 1)

    def run_rival(_):
        return rival.bench(model, prompt_tokens, decode_tokens)

    mine, theirs = in_turns(arguments.rounds, run_ours, run_rival)
    kind = mine[0]["weights_type"]
    for what, bar in (("decode", DECODE_BARS.get(kind, DECODE_BAR_FEWER_BITS)), ("prefill", PREFILL_BAR)):
        if what not in parts:
            continue
        rows = [row for one in mine for row in one["runs"] if row["what"] == what]
        my_speeds = [row["tokens_per_second"] for row in rows]
        their_speeds = [one[what] for one in theirs]
        ratio = statistics.median(my_speeds) / statistics.median(their_speeds)
        share = "of_read_limit" if what == "decode" else "of_peak"
        reached = statistics.median(row[share] for row in rows)
        limit = "the read bandwidth" if what == "decode" else "the arithmetic's peak"
        report.line(model, f"{what} {kind}", ratio, bar,
                    details=f"ours {spread(my_speeds)}, rival {spread(their_speeds)} tokens/s; "
                            f"ours at {reached:.0%} of {limit}")


def concurrent_chats(model, arguments, ours, rival, report):
    vocabulary = arguments.vocabulary
    shape = (CHATS, CHAT_PROMPT_TOKENS, CHAT_ANSWER_TOKENS, vocabulary)
    with ours.server(model, CHATS, CHAT_CONTEXT_TOKENS) as mine, \
            rival.server(model, CHATS, CHAT_CONTEXT_TOKENS) as theirs:
        for server in (mine, theirs):
            chats.tokens_per_second(server, WARM_UP_SEED, 2, CHAT_PROMPT_TOKENS, 8, vocabulary)
        my_speeds, their_speeds = in_turns(
            arguments.rounds, lambda number: chats.tokens_per_second(mine, number, *shape),
            lambda number: chats.tokens_per_second(theirs, number, *shape))
    ratio = statistics.median(my_speeds) / statistics.median(their_speeds)
    report.line(model, f"{CHATS} chats", ratio, CHATS_BAR,
                details=f"ours {spread(my_speeds)}, rival {spread(their_speeds)} tokens/s")


def batches(model, arguments, ours, report):
    found = ours.bench(model, 0, BATCHES, BATCH_CONTEXT_TOKENS, BATCH_STEPS, arguments.rounds)
    rows = {row["sequences"]: row for row in found["runs"]}
    for count, row in rows.items():
        print(f"{os.path.basename(model):<28} decode, batch {count:<7} {row['tokens_per_second']:>8.1f} "
              f"tokens/s, "
              f"bound {row['bound_tokens_per_second']:.1f} by {row['bound_by']}: {row['reached']:.0%} of it")
    ratio = rows[max(rows)]["tokens_per_second"] / rows[min(rows)]["tokens_per_second"]
    bound = rows[max(rows)]["bound_tokens_per_second"] / rows[min(rows)]["bound_tokens_per_second"]
    details = f"{found['weights_type']}; the bounds' ratio is {bound:.2f}x"
    what = f"batch {max(rows)} / {min(rows)}"
    if found["weights_type"] == BATCH_BAR_TYPE:
        report.line(model, what, ratio, BATCH_BAR, details=details)
    else:
        print(f"{os.path.basename(model):<28} {what:<22} {ratio:>7.2f}x  {details}", flush=True)


def prefix(model, arguments, ours, report):
    found = ours.probe("prefix", model, arguments.rounds)
    report.line(model, "TTFT cached / cold", found["ratio"], PREFIX_BAR, at_least=False, form="{:.3f}x",
                details=f"{found['cached_seconds'] * 1e3:.1f} ms / {found['cold_seconds'] * 1e3:.1f} ms; "
                        f"{found['cached_tokens']} tokens came from the cache")


def overhead(model, arguments, ours, report):
    for temperature, what in (("0.8", "sampled"), ("0", "greedy")):
        found = ours.probe("overhead", model, arguments.rounds, "--temperature", temperature)
        report.line(model, f"outside, {what}", found["outside_share"], OVERHEAD_BAR, at_least=False,
                    form="{:.2%}", details=f"of a step of {found['step_seconds'] * 1e3:.2f} ms at batch 16")


def memory(model, arguments, ours, report):
    for kv_bytes in KV_BYTES:
        found = ours.probe("memory", model, 1, "--kv-bytes", str(kv_bytes))
        peak, weights, kv = (found[f"{what}_bytes"] / 1e6 for what in ("peak", "weight", "kv"))
        report.line(model, "peak RSS / configured", found["ratio"], MEMORY_BAR, at_least=False,
                    form="{:.3f}x", details=f"{peak:.0f} MB / ({weights:.0f} MB weights + {kv:.0f} MB KV)")


def available_parts(wanted, rival):
    parts = []
    for part in wanted:
        program = RIVAL_NEEDS.get(part)
        if program and (rival is None or not rival.has(program)):
            print(f"left out: {part}: there is no {program} (--rival-directory)")
        else:
            parts.append(part)
    return parts


def run_model(model, parts, arguments, ours, rival, report):
    if "decode" in parts or "prefill" in parts:
        decode_and_prefill(model, parts, arguments, ours, rival, report)
    if "chats" in parts:
        concurrent_chats(model, arguments, ours, rival, report)
    for part, measure in (("batch", batches), ("prefix", prefix), ("overhead", overhead), ("memory", memory)):
        if part in parts:
            measure(model, arguments, ours, report)


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--rival-directory")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--isa", default="")
    parser.add_argument("--vocabulary", type=int, default=32_000, help="tokens of prompts are below it")
    parser.add_argument("models", nargs="+")
    arguments = parser.parse_args()
    unknown = set(arguments.only.split(",")) - set(PARTS)
    if unknown:
        parser.error(f"--only: no such part: {', '.join(sorted(unknown))}")
    if arguments.rounds < 1:
        parser.error("--rounds: at least 1")
    return arguments


def main():
    arguments = parse()
    ours = Ours(arguments)
    rival = Rival(arguments.rival_directory, arguments.threads) if arguments.rival_directory else None
    parts = available_parts(arguments.only.split(","), rival)
    if rival:
        print(f"rival: {rival.version()}")
    print(f"{arguments.threads} threads, medians of {arguments.rounds}")
    report = Report()
    for model in arguments.models:
        run_model(model, parts, arguments, ours, rival, report)
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
