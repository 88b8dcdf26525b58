"""Our side of engine_bench: ds-runner bench, engine_probe, and a dsd of one's own."""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "system"))
import harness  # noqa: E402

BOUND_S = 900  # of one program: far beyond what it takes on a slow host


def printed_json(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND_S, check=False)
    if done.returncode != 0:
        raise SystemExit(f"engine_bench: {' '.join(command)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


class Ours:
    name = "ours"

    def __init__(self, arguments):
        self.threads = arguments.threads
        self.isa = ["--isa", arguments.isa] if arguments.isa else []
        harness.programs, harness.source = arguments.programs, arguments.source

    def bench(self, model, prompt_tokens, batches, context_tokens, steps, repeats):
        return printed_json([
            harness.program("ds-runner"), "bench", model, "--json", "--threads", str(self.threads),
            "--prompt-tokens", str(prompt_tokens), "--batch", ",".join(map(str, batches)),
            "--context-tokens", str(context_tokens), "--steps", str(steps),
            "--repeats", str(repeats), *self.isa])

    def probe(self, mode, model, repeats, *more):
        return printed_json([harness.program("engine_probe"), mode, model, "--threads", str(self.threads),
                             "--repeats", str(repeats), *more, *self.isa])

    def server(self, model, _slots, context_tokens, kv_memory="512MiB"):
        """A dsd that serves `model` on as many of the usable cores; a context."""
        cores = sorted(os.sched_getaffinity(0))[:self.threads]
        config = (f'[observe]\nlisten = ""\n[[device]]\nname = "cpu0"\nkind = "cpu"\n'
                  f"cores = {cores}\n"
                  f'[[model]]\nname = "bench"\npath = "{os.path.abspath(model)}"\ndevices = ["cpu0"]\n'
                  f'context_tokens = {context_tokens}\nkv_memory = "{kv_memory}"\n')
        return OurServer(config)


class OurServer(harness.Dsd):
    def __enter__(self):
        self.wait_ready(BOUND_S)
        return self

    def connection(self):
        return harness.UnixConnection(self.api_path, timeout=BOUND_S)

    # A deadline of ten minutes: the bench measures the engine, not what admission thinks of a slow host.
    headers = {"Content-Type": "application/json", "X-Deepserve-Deadline-Ms": "600000"}

    @staticmethod
    def body(tokens, count):
        return {"prompt": tokens, "max_tokens": count, "temperature": 0, "ignore_eos": True, "stream": True,
                "stream_options": {"include_usage": True}}
