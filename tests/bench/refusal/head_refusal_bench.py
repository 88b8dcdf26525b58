#!/usr/bin/env python3
"""What dsd spends on refusing requests on their head alone (stage 0), over connections that are kept.

    head_refusal_bench.py --programs build/release/bin --source . [--rounds 5]

The queue of the built-in model is full, and each client gets a slot and a ticket. Prints dsd's CPU time for
each refusal, scaled to 20,000 of them a second, its bar, and PASS or FAIL; medians of the rounds, and their
range. One by one dsd sleeps before each: waking up is then most of what is counted. How much of it is the
kernel's says a server that does nothing but read and answer as many bytes (echo_server.cpp), asked in the
same way after each round.
"""

import argparse
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "system"))
import harness  # noqa: E402

RATE = 20_000
CORE_BAR = 0.30
ROUND_S = 1.0
WAITING = 400
CONFIG = (harness.DEVICE + harness.model_toml(extra="sequences_max = 1\n") +
          '[class.normal]\ndeadline = "20s"\nqueue_max = 4096\n')


def cpu_s(pid):
    total_ns = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
            total_ns += int(file.read().split()[0])
    return total_ns / 1e9


BODY = b'{"prompt": "' + b"word " * 160 + b'", "max_tokens": 64}'
HEAD = (b"POST /v1/completions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        b"Content-Length: " + str(len(BODY)).encode() + b"\r\n")
# What waits has a later deadline, so that it is never too late for what is sent to be refused.
REFUSED = HEAD + b"X-Deepserve-Class: normal\r\nX-Deepserve-Deadline-Ms: 500\r\n"


def send(dsd, data):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(dsd.api_path)
    connection.sendall(data)
    return connection


def would_be_refused(dsd):
    connection = send(dsd, REFUSED + b"Expect: 100-continue\r\n\r\n")
    with connection:
        return connection.recv(65536).startswith(b"HTTP/1.1 503")


def fill_queue(dsd):
    """Returns the connections of those that wait."""
    waiting = [send(dsd, HEAD + b"\r\n" + BODY) for _ in range(WAITING)]
    harness.wait_for(lambda: would_be_refused(dsd), "a full queue")
    return waiting


def flood(dsd, connections_count, batch):
    """Refusals for ROUND_S: how many, how many of them with a ticket, the seconds of dsd, or of what stands
    in its place."""
    request = (REFUSED + b"\r\n" + BODY) * batch
    connections = [send(dsd, b"") for _ in range(connections_count)]
    refused = booked = 0
    before_s, until = cpu_s(dsd.process.pid), time.monotonic() + ROUND_S
    while time.monotonic() < until:
        for connection in connections:
            connection.sendall(request)
        for connection in connections:
            answer = b""
            while answer.count(b"HTTP/1.1 ") < batch or not answer.endswith(b"}}\n"):
                answer += connection.recv(1 << 20)
            if answer.count(b"HTTP/1.1 503") != batch:
                statuses = set(re.findall(rb"HTTP/1.1 (\d+)", answer))
                raise SystemExit(f"head_refusal_bench: not all refused: {statuses}")
            refused += batch
            booked += answer.count(b"X-Deepserve-Ticket")
    spent_s = cpu_s(dsd.process.pid) - before_s
    for connection in connections:
        connection.close()
    return refused, booked, spent_s


class Echo:
    """A server that gives one of dsd's refusals to whatever it reads."""

    def __init__(self, dsd):
        with send(dsd, REFUSED + b"\r\n" + BODY) as connection:
            answer = connection.recv(65536)
        self.folder = tempfile.TemporaryDirectory(prefix="deepserve-echo-")
        self.api_path = os.path.join(self.folder.name, "echo.sock")
        self.process = subprocess.Popen([os.path.join(harness.programs, "echo_server"), self.api_path],
                                        stdin=subprocess.PIPE)
        self.process.stdin.write(answer)
        self.process.stdin.close()
        harness.wait_for(self.listens, "the echo server")

    def listens(self):
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(self.api_path) == 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


def one_round(connections, batch):
    """What flood() counts of dsd, and of an echo server."""
    with harness.Dsd(CONFIG) as dsd:
        dsd.wait_ready()
        for _ in range(10):  # its speed and the length of its answers are known
            dsd.api("POST", "/v1/completions", harness.greedy("A long story. " * 20, tokens=64))
        waiting = fill_queue(dsd)
        counted = flood(dsd, connections, batch)
        with Echo(dsd) as echo:
            for connection in waiting:
                connection.close()
            return counted, flood(echo, connections, 1)


def part_of_core(counted):
    """The median, and a text with it."""
    parts = [spent_s / refused * RATE for refused, _, spent_s in counted]
    median = statistics.median(parts)
    return median, f"{median:.1%} of a core ({min(parts):.1%} - {max(parts):.1%})"


def measure(rounds, what, connections, batch):
    both = [one_round(connections, batch) for _ in range(rounds)]
    counted = [row for row, _ in both]
    part, text = part_of_core(counted)
    passed = part <= CORE_BAR
    print(f"dsd at {RATE:,} refusals/s, {what}: {text}, "
          f"{part / RATE * 1e6:.1f} us each  bar <= {CORE_BAR:.0%}  {'PASS' if passed else 'FAIL'}  "
          f"(n = {sum(row[0] for row in counted)}, {sum(row[1] for row in counted)} with a ticket)")
    if batch == 1:
        _, text = part_of_core([row for _, row in both])
        print(f"  of that the kernel's, by a server that only reads and answers as much: {text}")
    return passed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    harness.programs, harness.source = arguments.programs, arguments.source
    passed = measure(arguments.rounds, "one by one", 1, 1)
    passed &= measure(arguments.rounds, "16 connections", 16, 1)
    passed &= measure(arguments.rounds, "50 pipelined", 1, 50)
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
