"""A dsd of one's own, for the system tests: real processes, a private directory, nothing left behind.

Every wait here is for an event and has a bound; the bounds are generous because test machines are slow.
"""

import argparse
import collections
import contextlib
import fcntl
import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

BOUND_S = 30.0
SKIPPED = 77  # ctest's SKIP_RETURN_CODE

programs = ""  # the folder with dsd, ds-runner and dsctl
source = ""    # the repository


def main():
    """Runs the calling file's tests with ctest's arguments."""
    global programs, source
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", required=True)
    parser.add_argument("--source", required=True)
    arguments, rest = parser.parse_known_args()
    programs, source = arguments.programs, arguments.source
    # The test file imports this module by name; running it as __main__ would be another copy.
    sys.modules["harness"].programs, sys.modules["harness"].source = programs, source
    result = unittest.main(argv=[sys.argv[0], "-v", *rest], exit=False).result
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(SKIPPED if result.testsRun == len(result.skipped) else 0)


def program(name):
    return os.path.join(programs, name)


def dsctl(dsd, *words, options=("--json",), bound_s=120):
    """What a dsctl has said and how it ended, whatever that was; it may wait for a model to be loaded."""
    return subprocess.run([program("dsctl"), "--runtime-dir", dsd.runtime_dir, *options, *words],
                          capture_output=True, text=True, timeout=bound_s, check=False)


def tiny_model():
    """The embedded model; DEEPSERVE_TEST_MODEL names another while that is being made."""
    path = os.environ.get("DEEPSERVE_TEST_MODEL") or os.path.join(source, "etc", "models", "tiny.gguf")
    path = os.path.abspath(path)
    if not os.path.exists(path):
        raise AssertionError(f"there is no model at {path}")
    return path


def wait_for(condition, what, bound_s=BOUND_S):
    """The first true value of condition(), asked until the bound."""
    limit = time.monotonic() + bound_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > limit:
            raise AssertionError(f"waited {bound_s} s in vain for {what}")
        time.sleep(0.005)


def send(pid, number):
    """A signal to one process: a runner that has none at the moment shows -1, which would be everybody."""
    if pid <= 0:
        raise AssertionError(f"there is no process {pid} to be sent signal {number}")
    os.kill(pid, number)


def wait_until_read(sock):
    """Until the peer of a Unix socket has read all that was sent: its queue tells."""
    def unread():
        return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0]
    wait_for(lambda: unread() == 0, "the peer to read")


def is_gone(pid):
    """Orphans of a container without an init stay as zombies: they have ended all the same."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def rendezvous_name(pid):
    """Of the socket where a next dsd finds this runner: its pid and when it started."""
    with open(f"/proc/{pid}/stat") as file:
        return f"{pid}-{file.read().rsplit(')', 1)[1].split()[19]}.sock"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=BOUND_S):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.text = response.read().decode()

    @property
    def json(self):
        return json.loads(self.text)


def ask_at(path, method, endpoint, body=None, headers=None):
    connection = UnixConnection(path)
    try:
        data = json.dumps(body) if body is not None else None
        all_headers = {"Content-Type": "application/json", **(headers or {})}
        connection.request(method, endpoint, data, all_headers)
        return Answer(connection.getresponse())
    finally:
        connection.close()


class Stream:
    """A streaming completion: iterate over its events as they come."""

    def __init__(self, path, endpoint, body, headers=None):
        self.connection = UnixConnection(path)
        self.connection.request("POST", endpoint, json.dumps({**body, "stream": True}),
                                {"Content-Type": "application/json", **(headers or {})})
        self.response = self.connection.getresponse()
        self.status = self.response.status
        self.ids = []
        self.error = None
        self.done = False

    def events(self):
        event_name = ""
        for line in self.response:
            line = line.decode().rstrip("\r\n")
            if line.startswith("id: "):
                self.ids.append(line[4:])
            elif line.startswith("event: "):
                event_name = line[7:]
            elif line == "data: [DONE]":
                self.done = True
            elif line.startswith("data: "):
                data = json.loads(line[6:])
                if event_name == "error" or "error" in data:
                    self.error = data["error"]
                else:
                    yield data
                event_name = ""
        self.close()

    def texts(self):
        for event in self.events():
            for choice in event.get("choices", []):
                yield choice.get("text", "") if "text" in choice else choice["delta"].get("content") or ""

    def text(self):
        return "".join(self.texts())

    def begin(self):
        """Reads the first event; choices() reads the others."""
        self.rest = self.events()
        self.first = next(self.rest)
        return self

    def choices(self):
        """Reads to the end: the text of each choice."""
        texts = collections.defaultdict(str)
        for event in [self.first, *self.rest]:
            for choice in event.get("choices", []):
                texts[choice["index"]] += choice["text"]
        return [texts[index] for index in range(len(texts))]

    def close(self):
        # The response holds the socket too: only shutting it down is a hang-up at once.
        with contextlib.suppress(OSError, AttributeError):
            self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.response.close()
        self.connection.close()


def tokens_told(event_id):
    """The tokens of each choice that an SSE id says were told; -1: not even the role."""
    counts = []
    for choice in event_id.split(":")[1].split("."):
        digits = re.match(r"e?(\d+)", choice)
        counts.append(-1 if digits is None else 0 if choice.startswith("e") else int(digits.group(1)))
    return counts


def lines_of(response):
    """The lines of a chunked body; http.client takes a connection that is lost for the body's end."""
    rest = b""
    while True:
        head = response.fp.readline()
        size = int(head, 16) if head.endswith(b"\n") else 0
        chunk = response.fp.read(size + 2)
        if len(chunk) < size + 2:
            raise ConnectionResetError("the body was cut off")
        if size == 0:
            return
        *lines, rest = (rest + chunk[:-2]).split(b"\n")
        yield from lines


class FollowedStream:
    """A stream that its client follows to the end over as many connections as that takes.

    `cut` is asked before each line is taken whether the connection is to be dropped there. The server may end
    or refuse one only where `may_break` says so: `breaks` counts the answers that it broke off, and any other
    one fails the test. After a lost connection the rest is fetched with Last-Event-ID; an event that did not
    come whole does not count.
    """

    def __init__(self, path, body, endpoint="/v1/completions", headers=None, cut=lambda: False,
                 bound_s=BOUND_S, may_break=lambda: False):
        self.path, self.endpoint, self.body, self.headers = path, endpoint, body, headers or {}
        self.cut, self.bound_s, self.may_break = cut, bound_s, may_break
        self.breaks = 0
        self.texts, self.roles, self.finishes, self.ids = {}, {}, {}, []
        self.usages, self.connections, self.done = 0, 0, False
        self.request_id, self.last_id, self.error, self.status = None, "", None, None

    def strike_once(self, strike):
        """`strike` is called when three events have come, and the connection dropped there."""
        def cut():
            if len(self.ids) < 3:
                return False
            self.cut = lambda: False
            strike()
            return True
        self.cut = cut

    def follow(self):
        limit = time.monotonic() + self.bound_s
        while not self.done and self.error is None:
            if time.monotonic() > limit:
                raise AssertionError(f"request {self.request_id} did not end within {self.bound_s} s")
            connections = self.connections
            try:
                self.read_one_connection()
            except (OSError, http.client.HTTPException) as error:
                if self.request_id is None or not self.may_break():
                    raise AssertionError(f"{self.request_id} lost its connection: {error!r}") from error
                self.breaks += self.connections - connections  # one that was refused broke nothing off
            if not self.done and self.error is None:
                time.sleep(0.002)
        return self

    def ask(self, connection):
        if self.request_id is None:
            connection.request("POST", self.endpoint, json.dumps({**self.body, "stream": True}),
                               {"Content-Type": "application/json", **self.headers})
        else:
            last = {"Last-Event-ID": self.last_id} if self.last_id else {}
            connection.request("GET", f"/v1/requests/{self.request_id}/events", headers=last)

    def read_one_connection(self):
        with contextlib.closing(UnixConnection(self.path)) as connection:
            self.ask(connection)
            with contextlib.closing(connection.getresponse()) as response:
                self.connections += 1
                self.status = response.status
                if response.status != 200:
                    self.error = json.loads(response.read())["error"]
                    return
                self.request_id = response.getheader("X-Request-Id")
                self.read_events(response)
                with contextlib.suppress(OSError, AttributeError):
                    connection.sock.shutdown(socket.SHUT_RDWR)

    def read_events(self, response):
        event = {}
        for line in lines_of(response):
            if self.cut():
                return
            line = line.decode().rstrip("\r")
            if line:
                name, _, value = line.partition(": ")
                event[name] = value
            elif event:
                self.take(event)
                event = {}
            if self.done or self.error is not None:
                return
        raise AssertionError(f"request {self.request_id}: its body ended as if the answer were whole")

    def take(self, event):
        self.last_id = event.get("id", self.last_id)
        if "id" in event:
            self.ids.append(event["id"])
        if event.get("event") == "error":
            self.error = json.loads(event["data"])["error"]
        elif event.get("data") == "[DONE]":
            self.done = True
        elif "data" in event:
            self.take_chunk(json.loads(event["data"]))

    def take_chunk(self, chunk):
        self.usages += chunk.get("usage") is not None
        for choice in chunk["choices"]:
            index, delta = choice["index"], choice.get("delta", {})
            text = choice["text"] if "text" in choice else delta.get("content") or ""
            self.texts[index] = self.texts.get(index, "") + text
            self.roles[index] = self.roles.get(index, 0) + ("role" in delta)
            self.finishes[index] = self.finishes.get(index, 0) + (choice["finish_reason"] is not None)


DEVICE = '[[device]]\nname = "cpu0"\nkind = "cpu"\n'


def model_toml(name="tiny", path=None, devices=("cpu0",), extra="", kv_memory="16MiB"):
    listed = ", ".join(f'"{device}"' for device in devices)
    return (f'[[model]]\nname = "{name}"\npath = "{path or tiny_model()}"\ndevices = [{listed}]\n'
            f'kv_memory = "{kv_memory}"\n{extra}')


class Dsd:
    """One dsd. As a context it is stopped (or killed) at the end, and its log shown when a test failed."""

    def __init__(self, config, runner=None, directory=None, start=True):
        self.directory = directory or tempfile.mkdtemp(prefix="deepserve-test-")
        self.owns_directory = directory is None
        self.config_path = os.path.join(self.directory, "deepserve.toml")
        self.runtime_dir = os.path.join(self.directory, "run")
        self.api_path = os.path.join(self.runtime_dir, "api.sock")
        self.control_path = os.path.join(self.runtime_dir, "ctl.sock")
        self.rendezvous_dir = os.path.join(self.runtime_dir, "runners")
        self.log_path = os.path.join(self.directory, "log")
        with open(self.config_path, "w") as file:
            file.write(config)
        self.runner = runner
        self.process = None
        if start:
            try:
                self.start()
            except AssertionError:
                self.remove_directory()
                raise

    def arguments(self):
        arguments = [program("dsd"), "--config", self.config_path, "--runtime-dir", self.runtime_dir,
                     "--state-dir", os.path.join(self.directory, "state")]
        return arguments + (["--runner", self.runner] if self.runner else [])

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.arguments(), stdout=log, stderr=log, start_new_session=True)
        wait_for(lambda: self.process.poll() is not None or self.answers(), "dsd's sockets")
        if self.process.poll() is not None:
            raise AssertionError(f"dsd ended with {self.process.returncode}:\n{self.log()}")

    def replace(self):
        """It dies, and another one comes."""
        self.process.kill()
        self.process.wait()
        self.start()

    def answers(self):
        try:
            return self.control("GET", "/healthz").status == 200
        except OSError:
            return False

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if self.process and self.process.poll() is None:
            # A runner that a test has stopped would not hear of the end.
            with contextlib.suppress(OSError, ValueError):
                for row in self.runners():
                    if row["pid"] > 0:
                        send(row["pid"], signal.SIGCONT)
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.end_orphans()
        if kind is not None and kind is not unittest.SkipTest:
            print(f"--- log of dsd ---\n{self.log()}--- end ---", file=sys.stderr)
        self.remove_directory()

    def remove_directory(self):
        if self.owns_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def end_orphans(self):
        """Runners that a dsd which was killed has left, and nobody came for."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self.rendezvous_dir):
                pid = int(name.split("-")[0]) if name.split("-")[0].isdigit() else 0
                with contextlib.suppress(OSError):
                    if pid and rendezvous_name(pid) == name:
                        os.kill(pid, signal.SIGKILL)

    def ask(self, path, method, endpoint, body=None, headers=None):
        return ask_at(path, method, endpoint, body, headers)

    def api(self, method, endpoint, body=None, headers=None):
        return self.ask(self.api_path, method, endpoint, body, headers)

    def control(self, method, endpoint, body=None):
        return self.ask(self.control_path, method, endpoint, body)

    def stream(self, body, endpoint="/v1/completions", headers=None):
        return Stream(self.api_path, endpoint, body, headers)

    def runners(self):
        return self.control("GET", "/ctl/runners").json

    def runner_row(self, index=0):
        return self.runners()[index]

    def requests(self):
        return self.control("GET", "/ctl/requests").json

    def wait_ready(self, bound_s=BOUND_S):
        wait_for(lambda: self.api("GET", "/readyz").status == 200, "a ready runner", bound_s)

    def wait_state(self, state, index=0, bound_s=BOUND_S):
        return wait_for(lambda: (lambda row: row if row["state"] == state else None)(self.runner_row(index)),
                        f"runner {index} to be {state}", bound_s)

    def finished_s(self, request):
        """When it ended, on the clock that all requests share: threads hear of ends in any order."""
        trace = self.control("GET", f"/ctl/requests/{request}/trace").json
        last = trace["events"][-1]
        if last["event"] != "finished":
            raise AssertionError(f"request {request} has not finished: {last}")
        return trace["arrived_s"] + last["at_s"]

    def wait_idle(self, bound_s=BOUND_S):
        """No request left, here or in a runner."""
        wait_for(lambda: not self.requests(), "the request list to empty", bound_s)


MANY = 8  # choices: the built-in model ends one answer before a busy machine lets a test act in its middle


def greedy(prompt="Once upon a time", tokens=200, **more):
    return {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, **more}
