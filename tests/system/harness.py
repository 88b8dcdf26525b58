"""A dsd of one's own, for the system tests: real processes, a private directory, nothing left behind.

Every wait here is for an event and has a bound; the bounds are generous because test machines are slow.
"""

import argparse
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
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

    def close(self):
        # The response holds the socket too: only shutting it down is a hang-up at once.
        with contextlib.suppress(OSError, AttributeError):
            self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.response.close()
        self.connection.close()


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
        self.log_path = os.path.join(self.directory, "log")
        with open(self.config_path, "w") as file:
            file.write(config)
        self.runner = runner
        self.process = None
        if start:
            self.start()

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
                    os.kill(row["pid"], signal.SIGCONT)
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if kind is not None and kind is not unittest.SkipTest:
            print(f"--- log of dsd ---\n{self.log()}--- end ---", file=sys.stderr)
        if self.owns_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def ask(self, path, method, endpoint, body=None, headers=None):
        connection = UnixConnection(path)
        try:
            data = json.dumps(body) if body is not None else None
            all_headers = {"Content-Type": "application/json", **(headers or {})}
            connection.request(method, endpoint, data, all_headers)
            return Answer(connection.getresponse())
        finally:
            connection.close()

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

    def wait_idle(self, bound_s=BOUND_S):
        """No request left, here or in a runner."""
        wait_for(lambda: not self.requests(), "the request list to empty", bound_s)


def greedy(prompt="Once upon a time", tokens=200, **more):
    return {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, **more}
