"""The rival of engine_bench: llama.cpp's llama-bench and llama-server, from a directory given by the caller.

Options are its own defaults but for the threads, as many slots as there are chats, no reuse of prompts
between requests (each prompt is new on both sides), and the context that the chats need."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import tempfile
import time

BOUND_S = 900
READY_BOUND_S = 120


class Rival:
    name = "rival"

    def __init__(self, directory, threads):
        self.directory, self.threads = directory, threads

    def program(self, name):
        return os.path.join(self.directory, name)

    def has(self, name):
        return os.access(self.program(name), os.X_OK)

    def version(self):
        done = subprocess.run([self.program("llama-server" if self.has("llama-server") else "llama-bench"),
                               "--version"], capture_output=True, text=True, timeout=60, check=False)
        lines = (done.stdout + done.stderr).splitlines()
        return next((line for line in lines if line.startswith("version")), "version unknown")

    def bench(self, model, prompt_tokens, decode_tokens):
        """Tokens/s of prefill and of decode from an empty context, one repeat after its own warm-up."""
        command = [self.program("llama-bench"), "-m", model, "-t", str(self.threads), "-r", "1", "-o", "json",
                   "-p", str(prompt_tokens), "-n", str(decode_tokens)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND_S, check=False)
        if done.returncode != 0:
            raise SystemExit(f"engine_bench: {' '.join(command)}: {done.stderr.strip()[-500:]}")
        speeds = {}
        for row in json.loads(done.stdout):
            speeds["prefill" if row["n_prompt"] else "decode"] = row["avg_ts"]
        return speeds

    def server(self, model, slots, context_tokens):
        return RivalServer(self, model, slots, context_tokens)


class RivalServer:
    headers = {"Content-Type": "application/json"}

    def __init__(self, rival, model, slots, context_tokens):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = tempfile.TemporaryFile("w+")
        threads = str(rival.threads)
        self.process = subprocess.Popen(
            [rival.program("llama-server"), "-m", model, "--host", "127.0.0.1", "--port", str(self.port),
             "-t", threads, "-tb", threads, "-np", str(slots), "-c", str(slots * context_tokens)],
            stdout=self.log, stderr=subprocess.STDOUT)

    def __enter__(self):
        limit = time.monotonic() + READY_BOUND_S
        while time.monotonic() < limit:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                connection = self.connection()
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return self
            time.sleep(0.05)
        self.__exit__()
        self.log.seek(0)
        raise SystemExit(f"engine_bench: llama-server did not become ready:\n{self.log.read()[-2000:]}")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def connection(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=BOUND_S)

    @staticmethod
    def body(tokens, count):
        return {"prompt": tokens, "max_tokens": count, "temperature": 0, "ignore_eos": True, "stream": True,
                "stream_options": {"include_usage": True}, "cache_prompt": False}
