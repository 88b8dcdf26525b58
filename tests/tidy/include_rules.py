"""Who may include whom (DESIGN 3): our folders, CUDA's headers, and what the pure rules may not know of."""

import os
import re

from source_files import HEADER_ENDINGS

# Prefixes of our own includes that a folder may use, the longest name first. tests/ may use all.
MAY_INCLUDE = {
    "daemon/http": ("ipc/base/", "daemon/loop/", "daemon/http/"),
    "ipc": ("ipc/",),
    "kernels": ("kernels/",),
    "runner": ("ipc/", "kernels/", "runner/"),
    "daemon": ("ipc/", "daemon/"),
    "ctl": ("ipc/base/", "ctl/"),
}
OURS = ("ipc/", "kernels/", "runner/", "daemon/", "ctl/", "tests/")

CUDA_FOLDERS = ("kernels/cuda/", "runner/backend/cuda/", "runner/collective/nccl/", "tests/gpu/")
CUDA_HEADER = re.compile(
    r"^(cuda|cublas|cudnn|curand|cusparse|cusolver|nccl|nvml|nvrtc|device_launch_parameters|cub/|thrust/"
    r"|cute/|cutlass)")

NVML_HEADER = "daemon/gpu/nvml_api.h"
NVML_FOLDERS = ("daemon/gpu/", "tests/")

PURE_FOLDERS = ("daemon/admission/", "daemon/dispatch/", "daemon/rollout/", "daemon/cache/")
# In these folders a file is pure where its header's opening comment says "Pure"; these always are.
PARTLY_PURE_FOLDERS = ("daemon/supervise/",)
ALWAYS_PURE = ("daemon/supervise/death", "daemon/supervise/progress_watch", "daemon/supervise/supervision")
IMPURE_HEADER = re.compile(
    r"^(uv\.h|unistd\.h|sys/.*|linux/.*|fcntl\.h|poll\.h|chrono|thread|mutex|random|time\.h|ctime|fstream"
    r"|filesystem|daemon/(gpu/gpu_monitor|gpu/nvml|loop/|http/|process/).*|ipc/base/fd\.h|ipc/lane/lane\.h)$")
IMPURE_CALL = re.compile(
    r"\b(monotonic_ns|unix_seconds|clock_gettime|gettimeofday|getrandom|getenv|s?rand|random_device"
    r"|(?<!\.)time)\s*\(")

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')


def includes_of(source):
    """(line, quoted, path) of each include."""
    for number, line in enumerate(source.lines, 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1) == '"', match.group(2)


def stem(path):
    return os.path.splitext(path)[0]


def opening_comment(source):
    """The comment that starts a file."""
    lines = []
    for line in source.lines:
        if not line.startswith("//"):
            break
        lines.append(line)
    return "\n".join(lines)


def pure_stems(sources):
    """Paths without their endings of the partly pure folders' pure files."""
    return set(ALWAYS_PURE) | {
        stem(source.path) for source in sources
        if source.path.startswith(PARTLY_PURE_FOLDERS) and source.path.endswith(HEADER_ENDINGS)
        and re.search(r"\bPure\b", opening_comment(source))}


def breaches(source, stems_that_are_pure):
    found = []
    folder = next((name for name in MAY_INCLUDE if source.path.startswith(name + "/")), None)
    is_pure = source.path.startswith(PURE_FOLDERS) or stem(source.path) in stems_that_are_pure
    for line, quoted, path in includes_of(source):
        if path.startswith(OURS):
            if folder is not None and not path.startswith(MAY_INCLUDE[folder]):
                found.append(source.breach(line, "include", f"{folder}/ may not include {path}"))
            elif not quoted:
                found.append(source.breach(line, "include", f"our own {path} belongs in quotes"))
        elif quoted:
            found.append(source.breach(line, "include", f'"{path}" is not a path from the root of the tree'))
        if CUDA_HEADER.match(path) and not source.path.startswith(CUDA_FOLDERS):
            found.append(source.breach(line, "cuda", f"only the CUDA folders may include {path}"))
        if path == NVML_HEADER and not source.path.startswith(NVML_FOLDERS):
            found.append(source.breach(line, "nvml", f"only daemon/gpu/ may include {path}"))
        if is_pure and IMPURE_HEADER.match(path):
            found.append(source.breach(line, "pure", f"a pure rule may not include {path}"))
    if is_pure:
        for match in IMPURE_CALL.finditer(source.code):
            line = source.code.count("\n", 0, match.start()) + 1
            what = f"a pure rule may not call {match.group(1)}: time and chance come in"
            found.append(source.breach(line, "pure", what))
    return found
