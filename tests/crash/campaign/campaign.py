#!/usr/bin/env python3
"""campaign: kills, stops and restarts real runners of a real dsd under load, and checks every answer.

Each answer is compared, token for token, with what the same request got when nothing went wrong. Prints what
was done and found; exits 1 if anything was lost, told twice, missing or other than it should be.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "system"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import faults  # noqa: E402
import harness  # noqa: E402
import judges  # noqa: E402
import report  # noqa: E402
from host_faults import SmallDisk  # noqa: E402
from load import Load  # noqa: E402
from request_menu import menu  # noqa: E402
from vitals import Vitals, grown  # noqa: E402

WINDOW_NS = 500_000_000  # after a death, in which the others may feel it
SETTLED_NS = 2 * WINDOW_NS  # after a death: who was in it goes on as the others do
GAPS_MIN = 500  # for a p99
RSS_GROWTH_KIB = 16 * 1024
KEPT_S = 60  # twice as long as answers are kept


@dataclasses.dataclass
class Death:
    at_ns: int
    here: set    # requests that it hit
    others: set  # that were at other runners, and not hit a moment before


def config(runners, hang_after_s):
    devices = [f"cpu{i}" for i in range(runners)]
    text = f'[supervise]\ndeaths_max = 1000\nhang_after = "{int(hang_after_s * 1000)}ms"\n'
    text += "".join(f'[[device]]\nname = "{device}"\nkind = "cpu"\n' for device in devices)
    # What a swap leaves loaded for a rollback would count as memory that does not come back.
    return text + harness.model_toml(devices=devices, kv_memory="32MiB", extra='keep_warm = "0s"\n')


class LimitedDsd(harness.Dsd):
    """With as many descriptors as it may have, and, where wanted, a log on a disk that is full."""

    def __init__(self, arguments, directory):
        self.descriptors_max, self.disk_is_full = arguments.descriptors_max, arguments.disk_full
        super().__init__(config(arguments.runners, arguments.hang_after_s), directory=directory)

    def start(self):
        if self.disk_is_full and not os.path.lexists(self.log_path):
            os.symlink("/dev/full", self.log_path)
        super().start()

    def arguments(self):
        limited = ["prlimit", f"--nofile={self.descriptors_max}:{self.descriptors_max}"]
        return (limited if self.descriptors_max else []) + super().arguments()


class Campaign:
    def __init__(self, arguments):
        self.arguments = arguments
        self.random = random.Random(arguments.seed)
        self.hang_after_s = arguments.hang_after_s
        self.dsd = None
        self.load = None
        self.deaths = []
        self.killed = set()  # pids that got SIGKILL, which dsd may not have seen yet
        self.struck = {}
        self.tasks = set()
        self.upgrades = []  # (begin, end) of each reexec, ns
        self.times_s = {}  # of what the faults took, by name
        self.connections_break_before_ns = 0  # those that were begun before then may; monotonic

    def blame(self, kind, text):
        self.load.findings.counts[kind] += 1
        self.load.findings.wrong.append(f"{kind}: {text}")

    def note_death(self, row):
        """Before a runner is ended: who is not there."""
        now_ns = time.monotonic_ns()
        here, elsewhere = set(), set()
        for one in self.dsd.requests():
            (here if one["runner"] in ("", row["id"]) else elsewhere).add(one["id"])
        for death in self.deaths:
            if now_ns - death.at_ns < SETTLED_NS:
                elsewhere -= death.here
        self.deaths.append(Death(now_ns, here, elsewhere))

    def spawn(self, coroutine):
        """Something that goes on beside the faults; what breaks its connection is its own affair."""
        async def run():
            with contextlib.suppress(OSError):
                await coroutine
        task = asyncio.create_task(run())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def until(self, condition, what, bound_s=harness.BOUND_S):
        limit = time.monotonic() + bound_s
        while not condition():
            if time.monotonic() > limit:
                return self.blame("waited in vain", what)
            await asyncio.sleep(0.005)

    def kept_answers(self):
        """That dsd has for those who come back: a new one has all that its runners tell it again."""
        metrics = self.dsd.api("GET", "/metrics").text
        return int(re.search(r"^deepserve_kept_answers (\d+)$", metrics, re.MULTILINE).group(1))

    async def until_flat(self, before):
        """What was just closed at our end is seen by dsd a moment later; what leaks stays."""
        await self.until(lambda: self.kept_answers() == 0, "the answers that are kept to go", KEPT_S)
        limit = time.monotonic() + 5
        while (grown(before, Vitals.of(self.dsd.process.pid), RSS_GROWTH_KIB)
               and time.monotonic() < limit):
            await asyncio.sleep(0.05)

    async def strike_all(self):
        """The faults, one after another at random moments."""
        left = dict(self.arguments.menu)
        while left:
            await asyncio.sleep(self.random.expovariate(1 / self.arguments.every_s))
            name = self.random.choices(list(left), left.values())[0]
            if not await faults.ALL[name]().strike(self):
                continue
            self.struck[name] = self.struck.get(name, 0) + 1
            left[name] -= 1
            if left[name] == 0:
                del left[name]

    async def run(self):
        self.load = Load(self.dsd, menu(self.random, self.arguments.requests, self.arguments.tokens),
                         self.arguments.streams, "daemon_kill" in self.arguments.menu,
                         lambda begun_ns: begun_ns < self.connections_break_before_ns,
                         "crowd" in self.arguments.menu)
        before = Vitals.of(self.dsd.process.pid)
        self.load.begin()
        await asyncio.sleep(self.arguments.quiet_s)  # the others' pace when nothing dies
        await self.strike_all()
        await self.load.end()
        await asyncio.gather(*self.tasks)
        await self.until(lambda: not self.dsd.requests(), "the request list to empty")
        await self.until(lambda: all(row["state"] == "ready" for row in self.dsd.runners()), "all runners")
        await self.until_flat(before)
        after = Vitals.of(self.dsd.process.pid)
        for text in grown(before, after, RSS_GROWTH_KIB):
            self.blame("not flat", text)
        return before, after

    def others_pace(self):
        """ITL p99 before the first death, and of the streams that were elsewhere between a death and the next
        one, WINDOW_NS at most, in seconds; nothing where it cannot be told."""
        told = {}
        for request, gaps in self.load.gaps:
            told.setdefault(request, []).extend(gaps)
        if not self.deaths:
            return None
        calm = [gap for gaps in told.values() for gap in report.gaps_between(gaps, 0, self.deaths[0].at_ns)]
        disturbed = []
        for death, later in zip(self.deaths, [*self.deaths[1:], None]):
            end_ns = death.at_ns + WINDOW_NS
            if later:
                end_ns = min(end_ns, later.at_ns)
            for request in death.others:
                disturbed += report.gaps_between(told.get(request, []), death.at_ns, end_ns)
        if len(calm) < GAPS_MIN or len(disturbed) < GAPS_MIN:
            return None
        return report.percentile(calm, 0.99), report.percentile(disturbed, 0.99)

    def silences_s(self):
        """The longest time around each upgrade in which no stream hears anything: what clients feel of it.
        One stream alone waits longer now and then, without any fault."""
        times = sorted(at_ns for _, of_stream in self.load.gaps for at_ns, _ in of_stream)
        return [max(((after - before) * 1e-9 for before, after in zip(times, times[1:])
                     if begun_ns <= after and before <= ended_ns), default=0.0)
                for begun_ns, ended_ns in self.upgrades]

    def print_report(self, before, after, took_s):
        counts = self.load.findings.counts
        answers = counts["exact"]
        pace = self.others_pace()
        wrong = self.load.findings.wrong
        wrong += judges.of_answers(counts, self.struck, self.arguments.streams)
        if self.arguments.judge_times:
            wrong += judges.of_times(self.times_s, pace, "kill" in self.struck)
        if self.load.refusals:
            print("refused for: " + ", ".join(f"{n} {why}" for why, n in self.load.refusals.items()))
        struck = ", ".join(f"{count} {name}" for name, count in self.struck.items())
        print(f"faults: {struck} in {took_s:.0f} s")
        print("found: " + ", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
        print(f"{answers} answers exact; one that is not: {report.bound(answers)}; "
              f"a fault that loses something: {report.bound(sum(self.struck.values()))}")
        if self.upgrades:
            self.times_s["longest time around a reexec in which nobody hears anything"] = self.silences_s()
        for what, times_s in self.times_s.items():
            print(f"{what}: median {report.percentile(times_s, 0.5) * 1e3:.1f} ms, "
                  f"p99 {report.percentile(times_s, 0.99) * 1e3:.1f} ms of {len(times_s)}")
        if pace:
            calm_s, disturbed_s = pace
            print(f"others' ITL p99: {calm_s * 1e3:.1f} ms calm, {disturbed_s * 1e3:.1f} ms within "
                  f"{WINDOW_NS * 1e-9:.1f} s of a death elsewhere, ratio {disturbed_s / calm_s:.2f}")
        print(f"dsd before: {before}; after: {after}")
        for text in wrong[:40]:
            print(f"WRONG {text}")
        print("FAILED" if wrong else "passed")


def parse(text):
    """kill=80,crash=10 -> {"kill": 80, "crash": 10}"""
    pairs = dict(part.split("=") for part in text.split(","))
    unknown = set(pairs) - set(faults.ALL)
    if unknown:
        raise argparse.ArgumentTypeError(f"no such fault: {', '.join(unknown)}; there are: "
                                         f"{', '.join(faults.ALL)}")
    return {name: int(count) for name, count in pairs.items() if int(count) > 0}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--menu", type=parse, default={"kill": 100},
                        help=f"fault=count,... out of {', '.join(faults.ALL)}")
    parser.add_argument("--every-s", type=float, default=0.15, help="between two faults, on average")
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--runners", type=int, default=2)
    parser.add_argument("--requests", type=int, default=96, help="distinct ones")
    parser.add_argument("--tokens", type=int, default=160, help="of a choice, at most")
    parser.add_argument("--hang-after-s", type=float, default=1.0)
    parser.add_argument("--quiet-s", type=float, default=2.0)
    parser.add_argument("--descriptors-max", type=int, default=0, help="of dsd; 0: as it comes")
    parser.add_argument("--disk-full", action="store_true", help="dsd's log goes to /dev/full")
    parser.add_argument("--judge-times", action="store_true",
                        help="hold pauses, adoptions and the others' pace to their bars: on an own machine")
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    if arguments.seed is None:
        arguments.seed = random.SystemRandom().randrange(2**32)
    print(f"seed {arguments.seed}", flush=True)
    harness.programs, harness.source = arguments.programs, arguments.source
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # our ends are descriptors too
    campaign = Campaign(arguments)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="deepserve-test-"))
        if "disk_full" in arguments.menu:
            try:
                stack.enter_context(SmallDisk(directory))
            except subprocess.CalledProcessError as error:
                print(f"skipped: no file system of one's own can be mounted here: {error}")
                sys.exit(harness.SKIPPED)
        dsd = campaign.dsd = stack.enter_context(LimitedDsd(arguments, directory))
        harness.wait_for(lambda: all(row["state"] == "ready" for row in dsd.runners()), "the runners")
        began = time.monotonic()
        before, after = asyncio.run(campaign.run())
        campaign.print_report(before, after, time.monotonic() - began)
        if campaign.load.findings.wrong and os.environ.get("CAMPAIGN_LOG"):
            with open(os.environ["CAMPAIGN_LOG"], "w") as file:
                file.write(dsd.log())
    sys.exit(1 if campaign.load.findings.wrong else 0)


if __name__ == "__main__":
    main()
