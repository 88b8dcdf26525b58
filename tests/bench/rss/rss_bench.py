#!/usr/bin/env python3
"""Resident memory of dsd: idle with a ready runner, and with 1,000 idle connections on top (embedded model).

    rss_bench.py --programs build/release/bin --source . [--connections 1000]

Prints each value, its bar, and PASS or FAIL.
"""

import argparse
import os
import resource
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "system"))
import harness  # noqa: E402

IDLE_BAR_MB = 20
CONNECTED_BAR_MB = 60


def resident_mb(pid):
    with open(f"/proc/{pid}/status") as file:
        kb = next(line.split()[1] for line in file if line.startswith("VmRSS:"))
    return int(kb) / 1024


def report(what, value_mb, bar_mb):
    passed = value_mb <= bar_mb
    print(f"RSS of dsd, {what}: {value_mb:.1f} MB  bar <= {bar_mb} MB  {'PASS' if passed else 'FAIL'}")
    return passed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--connections", type=int, default=1000)
    arguments = parser.parse_args()
    harness.programs, harness.source = arguments.programs, arguments.source
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with harness.Dsd(harness.DEVICE + harness.model_toml()) as dsd:
        dsd.wait_ready()
        # Each code path was taken once: what an idle daemon that has worked looks like.
        dsd.api("POST", "/v1/completions", harness.greedy(tokens=20))
        dsd.wait_idle()
        passed = report("idle", resident_mb(dsd.process.pid), IDLE_BAR_MB)
        connections = []
        for _ in range(arguments.connections):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(dsd.api_path)
            # One request each, so that what a connection keeps afterwards is counted.
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: bench\r\n\r\n")
            if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
                raise SystemExit("rss_bench: a connection was not served")
            connections.append(connection)
        connected_mb = resident_mb(dsd.process.pid)
        passed &= report(f"{len(connections)} idle connections", connected_mb, CONNECTED_BAR_MB)
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
