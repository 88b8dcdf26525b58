"""What dsd takes for nvidia-cuda-mps-control on a host without one: with -f the daemon of one GPU, else what
speaks with it. gpu_host.py installs it under that name.

It notes in DEEPSERVE_TEST_DIR/mps.log, a JSON object a line, how it was started and what it was told. While
DEEPSERVE_TEST_DIR/NAME is there, it
    mute       answers nothing
    stubborn   heeds neither quit nor SIGTERM
    crashing   exits at once
"""

import json
import os
import signal
import socket
import subprocess
import sys

DIRECTORY = os.environ["DEEPSERVE_TEST_DIR"]
SOCKET = os.path.join(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/nowhere"), "control")


def note(event, **more):
    line = json.dumps({"event": event, "pid": os.getpid(), **more}) + "\n"
    descriptor = os.open(os.path.join(DIRECTORY, "mps.log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def behaves(name):
    return os.path.exists(os.path.join(DIRECTORY, name))


def answer(words, server):
    if words == ["get_server_list"]:
        return f"{server.pid}\n"
    if words and words[0] in ("terminate_client", "quit"):
        return ""
    return "Unrecognized command\n"


def on_terminate(*_):
    if not behaves("stubborn"):
        note("terminated")
        sys.exit(1)


def serve():
    note("start", environment=dict(os.environ))
    if behaves("crashing"):
        sys.exit(3)
    signal.signal(signal.SIGTERM, on_terminate)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(SOCKET)
    listener.listen()
    server = subprocess.Popen(["sleep", "1000"])  # as nvidia-cuda-mps-server: it would outlive us
    while True:
        connection = listener.accept()[0]
        with connection, connection.makefile("rw") as file:
            if behaves("mute"):
                continue
            for line in file:
                words = line.split()
                note("command", words=words)
                file.write(answer(words, server))
                if words[:1] == ["quit"] and not behaves("stubborn"):
                    server.kill()
                    sys.exit(0)


def speak():
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(SOCKET)
            connection.sendall(sys.stdin.buffer.read())
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile() as file:
                text = file.read()
    except OSError:
        sys.exit(1)
    if behaves("mute"):
        sys.exit(1)
    sys.stdout.write(text)


if sys.argv[1:] == ["-f"]:
    serve()
else:
    speak()
