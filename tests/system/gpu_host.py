"""A host that dsd takes for one with GPUs: its runners compute on the CPU (gpu_runner/), its MPS daemons are
scripts (fake_mps/), found through PATH as the real one would be, and its driver reads a file (fakes/nvml)."""

import contextlib
import json
import os
import shutil
import signal
import stat
import struct
import sys
import tempfile

import harness
from harness import Dsd, wait_for

CONTROL = "nvidia-cuda-mps-control"


def device(name, gpu=0, **keys):
    text = f'[[device]]\nname = "{name}"\nkind = "cuda"\ngpu = {json.dumps(gpu)}\n'
    return text + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())


def model(name, *devices, extra=""):
    return harness.model_toml(name, devices=devices, extra=extra)


def two_on_one():
    """A model on two shares of one GPU."""
    return (device("half0", 0, thread_percent=50, memory_limit="8GiB") +
            device("half1", 0, thread_percent=30) + model("tiny", "half0", "half1"))


def gpu_variables(environment):
    """Those that choose a GPU and a share of it."""
    return {name: value for name, value in environment.items()
            if name.startswith(("CUDA_MPS_", "CUDA_VISIBLE_", "CUDA_DEVICE_"))}


class GpuHost:
    """As a context: nothing of it is left behind, and no process."""

    def __init__(self, has_mps=True, has_driver=False):
        self.directory = tempfile.mkdtemp(prefix="deepserve-gpus-")
        for name in ("environment", "faults", "bin"):
            os.mkdir(os.path.join(self.directory, name))
        self.control = os.path.join(self.directory, "bin", CONTROL)
        if has_mps:
            self.install_mps()
        self.driver_file = os.path.join(self.directory, "driver")
        fake = os.path.join(harness.programs, "..", "fakes", "nvml_whole" if has_driver else "nvml_none")
        own = {"PATH": os.path.join(self.directory, "bin") + ":" + os.environ["PATH"],
               "DEEPSERVE_TEST_DIR": self.directory,
               "CUDA_VISIBLE_DEVICES": "of dsd, and nobody else's",
               "LD_LIBRARY_PATH": os.path.abspath(fake),
               "FAKE_NVML_FILE": self.driver_file}
        self.before = {name: os.environ.get(name) for name in own}
        os.environ.update(own)

    def install_mps(self):
        script = os.path.join(harness.source, "tests", "system", "fake_mps", "control.py")
        with open(script) as source, open(self.control, "w") as program:
            program.write(f"#!{sys.executable} -IS\n{source.read()}")
        os.chmod(self.control, stat.S_IRWXU)

    def tell_of_gpus(self, *lines):
        """What the driver says from now on."""
        with open(self.driver_file + ".new", "w") as file:
            file.write("".join(line + "\n" for line in lines))
        os.rename(self.driver_file + ".new", self.driver_file)

    def behave(self, manner, on=True):
        path = os.path.join(self.directory, manner)
        if on:
            with open(path, "w"):
                pass
        else:
            os.unlink(path)

    def dsd(self, config):
        return Dsd(config, runner=harness.program("gpu_runner"))

    def mps_log(self):
        with contextlib.suppress(FileNotFoundError):
            with open(os.path.join(self.directory, "mps.log")) as file:
                return [json.loads(line) for line in file if line.endswith("\n")]
        return []

    def mps_starts(self):
        starts = [line for line in self.mps_log() if line["event"] == "start"]
        return [{**line, "environment": gpu_variables(line["environment"])} for line in starts]

    def mps_commands(self, word):
        return [line for line in self.mps_log() if line["event"] == "command" and line["words"][0] == word]

    def living_mps(self):
        """The pids of all MPS daemons that there are."""
        return [line["pid"] for line in self.mps_starts() if not harness.is_gone(line["pid"])]

    def environment_of(self, pid):
        path = os.path.join(self.directory, "environment", str(pid))
        wait_for(lambda: os.path.exists(path), f"runner {pid} to note its environment")
        with open(path) as file:
            lines = file.read().splitlines()[1:]
        variables = dict(line.split("=", 1) for line in lines if "=" in line)
        return gpu_variables(variables)

    def fail_next_step(self, runner, number):
        """Of the runner with this id: its next step ends with this CUDA error; -1: it does not end."""
        with open(os.path.join(self.directory, "faults", runner), "r+b") as file:
            file.write(struct.pack("i", number))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for name, value in self.before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        for pid in self.living_mps():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)
