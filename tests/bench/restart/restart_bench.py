#!/usr/bin/env python3
"""From SIGKILL of a runner to a ready one, as /ctl/runners shows it: the median, on the embedded model.

    restart_bench.py --programs build/release/bin --source . [--kills 15]

Prints the value, the bar, and PASS or FAIL.
"""

import argparse
import os
import signal
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "system"))
import harness  # noqa: E402

BAR_MS = 300


def restart_ms(dsd):
    old = dsd.wait_state("ready")["pid"]
    start = time.monotonic()
    os.kill(old, signal.SIGKILL)
    while True:
        row = dsd.runner_row()
        if row["state"] == "ready" and row["pid"] != old:
            return (time.monotonic() - start) * 1000
        if time.monotonic() - start > harness.BOUND_S:
            raise SystemExit("restart_bench: the runner did not come back")
        time.sleep(0.001)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--kills", type=int, default=15)
    arguments = parser.parse_args()
    harness.programs, harness.source = arguments.programs, arguments.source
    with harness.Dsd(harness.DEVICE + harness.model_toml()) as dsd:
        dsd.wait_ready()
        times = [restart_ms(dsd) for _ in range(arguments.kills)]
    median = statistics.median(times)
    passed = median <= BAR_MS
    print(f"restart_bench: {len(times)} kills, fastest {min(times):.0f} ms, slowest {max(times):.0f} ms")
    print(f"from SIGKILL of a runner to a ready one: median {median:.0f} ms  bar <= {BAR_MS} ms  "
          f"{'PASS' if passed else 'FAIL'}")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
