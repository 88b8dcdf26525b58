"""The stages of the GPU checks: a name, a time limit, a command, the bars of its figures; how one is run."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

import report

HERE = os.path.dirname(os.path.abspath(__file__))
# Where the programs were built the sources lie elsewhere.
FIXTURES = {"DEEPSERVE_ORACLE_MODELS": os.path.join(os.path.dirname(HERE), "oracle", "models")}
LOG_TAIL_CHARACTERS = 600
NO_SANITIZER = "Device not supported"  # what compute-sanitizer says where it cannot work
CANNOT_BE_TRIED = 77  # the exit status of a program that this host lacks something for


@dataclass
class Stage:
    """`command`: its first word is a program, looked up in the folders with programs and then in PATH;
    {logs} is the folder with the logs of the stages before. One that has bars, or `figures`, prints them as
    README.md says; of the others the exit status alone counts."""
    name: str
    limit_s: float
    command: list
    bars: dict = field(default_factory=dict)
    figures: bool = False


def of_python(script, *words):
    return [sys.executable, os.path.join(HERE, script), *words]


def at_least(number):
    return (">=", number)


def at_most(number):
    return ("<=", number)


def under_sanitizer(tool):
    """The kernel tests, but those of thousands of draws and a whole vocabulary, which take minutes there."""
    tests = "--gtest_filter=-*WhateverIsAskedFor*:*AVocabularyOfAModel*"
    return Stage(tool, 60, ["compute-sanitizer", "--tool", tool, "--error-exitcode", "9", "gpu_kernel_test",
                            "--gtest_brief=1", tests])


# In this order: what the others' figures stand on comes first, and the long ones last. Bars: issue 7's table.
STAGES = [
    Stage("gpu_info", 20, ["nvidia-smi", "--query-gpu=name,uuid,driver_version,memory.total,clocks.sm,"
                           "clocks.mem,temperature.gpu,power.draw", "--format=csv"]),
    Stage("kernels", 60, ["gpu_kernel_test", "--gtest_brief=1"]),
    Stage("model_test", 60, ["gpu_backend_test", "--gtest_brief=1", "--gtest_filter=-Nccl*"]),
    Stage("nccl", 60, ["gpu_backend_test", "--gtest_brief=1", "--gtest_filter=Nccl*"]),
    Stage("floors", 30, ["gpu_bench", "floors", "--json"], figures=True),
    Stage("load", 60, ["gpu_bench", "load", "--json"], {
        "load 7B, of the bus": at_least(0.80),
    }),
    Stage("attention", 30, ["gpu_bench", "attention", "--json"], {
        "paged decode attention 32 x 8k, of copy bandwidth": at_least(0.80),
    }),
    Stage("bench", 120, ["gpu_bench", "steps", "--json"], {
        "decode 7B batch 1, of copy bandwidth": at_least(0.80),
        "decode 1.5B batch 1, of copy bandwidth": at_least(0.65),
        "decode 7B batch 32 / 1, tokens/s": at_least(20),
        "decode 7B batch 32 / 1, step time": at_most(1.18),
        "prefill 7B 4096 tokens, of matmul rate": at_least(0.70),
    }),
    Stage("engine", 90, ["gpu_bench", "engine", "--json"], {
        "engine 7B 256 x (512 + 256), of kernel times": at_least(0.70),
    }),
    Stage("rival", 90, of_python("rival.py", "{logs}/gpu-bench.log"), {
        "decode 7B batch 1, of transformers": at_least(5),
        "decode 7B batch 32, of transformers": at_least(5),
    }),
    Stage("serving", 60, of_python("serving/serving_test.py", "dsd", "gpu_fault_runner", "Serving")),
    Stage("telemetry", 30, of_python("serving/serving_test.py", "dsd", "gpu_fault_runner", "Telemetry")),
    Stage("shares", 60, of_python("serving/serving_test.py", "dsd", "gpu_fault_runner", "Shares")),
    # Of a step of 256 rows that the bytes of its logits alone would take 37 us.
    Stage("draws", 30, ["gpu_bench", "draws", "--json"], {
        "draws, greedy, 256 rows": at_most(300),
        "draws, top-k 40, top-p 0.95, 256 rows": at_most(300),
    }),
    under_sanitizer("memcheck"),
    under_sanitizer("racecheck"),
]


def find_program(name, folders):
    """Its path; None where it is neither in the folders nor in PATH."""
    for folder in folders:
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    return shutil.which(name)


def resolved(command, folders):
    """The command with the paths of our programs, and the names of those that are missing. Also a word behind
    the first may be a program: what the sanitizer runs."""
    words, missing = [], []
    for index, word in enumerate(command):
        ours = word.startswith("gpu_") or (word in ("dsd", "ds-runner", "dsctl"))
        path = find_program(word, folders) if index == 0 or ours else word
        if path is None:
            missing.append(word)
        words.append(path or word)
    return words, missing


def run(stage, folders, log_path, left_s):
    """What became of one stage: name, outcome (PASS, FAIL, missing, not run), why, seconds, figures. Raises
    nothing: a stage that is broken must not hide the others."""
    result = {"name": stage.name, "outcome": "FAIL", "why": "", "seconds": 0.0, "figures": []}
    if left_s <= 0:
        return result | {"outcome": "not run", "why": "the deadline of the whole run has passed"}
    started = time.monotonic()
    try:
        result |= judge(stage, folders, log_path, min(stage.limit_s, left_s))
    except Exception as error:  # whatever it is, it is this stage's alone
        result["why"] = f"{type(error).__name__}: {error}"
    return result | {"seconds": round(time.monotonic() - started, 2)}


def judge(stage, folders, log_path, limit_s):
    command = [word.replace("{logs}", os.path.dirname(log_path)) for word in stage.command]
    words, missing = resolved(command, folders)
    if missing:
        return {"outcome": "missing", "why": f"missing: {', '.join(missing)}"}
    status, output = output_of(words, log_path, limit_s)
    tail = " ".join(output[-LOG_TAIL_CHARACTERS:].split())
    figures = []
    if status == 0 and (stage.figures or stage.bars):
        figures = report.read_figures(output, stage.bars)
    if status is None:
        return {"why": f"ran longer than {limit_s:.0f} s: {tail}"}
    if status == CANNOT_BE_TRIED or (status != 0 and NO_SANITIZER in tail):
        return {"outcome": "missing", "why": tail}
    if status != 0:
        return {"why": f"exit status {status}: {tail}"}
    failed = [one["name"] for one in figures if one["outcome"] == "FAIL"]
    return {"outcome": "FAIL" if failed else "PASS", "figures": figures,
            "why": "below its bar: " + "; ".join(failed) if failed else ""}


def output_of(words, log_path, limit_s):
    """Exit status (None: it ran too long, and ended with all that it started) and output, kept in the log."""
    with open(log_path, "w+", errors="replace") as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                   start_new_session=True, env=os.environ | FIXTURES)
        try:
            status = process.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        log.seek(0)
        return status, log.read()
