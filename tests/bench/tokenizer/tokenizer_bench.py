"""Tokenising speed on one core, ours beside Hugging Face's `tokenizers`, in pairs of passes over one text.

    python3 tests/bench/tokenizer/tokenizer_bench.py BUILD/bin/tokenizer_tool DIRECTORY [DIRECTORY...]

A DIRECTORY holds a tokenizer.json (tests/oracle/tokenizers_compare.py fetches published ones). The text is
English of the installed packages' documentation, code of this repository, and Chinese, Japanese and Korean of
debconf's translations in shuffled phrases, a third each, in documents of some 16 KB. The library runs
encode_batch_fast, which is its fastest, on one thread. Times are the processor's. Prints value, bar, PASS or
FAIL; caches want a quiet machine.
"""

import glob
import os
import random
import re
import statistics
import subprocess
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

from tokenizers import Tokenizer

SEED = 3
PART_BYTES = 1_000_000
DOCUMENT_BYTES = 16_384
PAIRS = 7
BAR_MB_A_SECOND = 10.0
BAR_START_MS = 500.0
CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def documents_of(texts):
    """Of PART_BYTES at the most, in documents."""
    data = "\n".join(texts).encode()[:PART_BYTES]
    return [
        data[at : at + DOCUMENT_BYTES].decode("utf-8", "ignore")
        for at in range(0, len(data), DOCUMENT_BYTES)
    ]


def english():
    paths = sorted(glob.glob("/usr/share/common-licenses/*")) + sorted(
        glob.glob("/usr/share/doc/*/copyright")
    )
    return documents_of(dict.fromkeys(map(read, paths)))


def code():
    root = os.path.join(os.path.dirname(__file__), "../../..")
    names = subprocess.run(
        ["git", "ls-files", "*.cpp", "*.h", "*.py", "*.cmake", "*.sh"],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    return documents_of(read(os.path.join(root, name)) for name in names)


def cjk(draw):
    lines = read("/var/cache/debconf/templates.dat").replace("\\n", "\n").splitlines()
    phrases = [
        phrase
        for line in lines
        if CJK.search(line)
        for phrase in re.findall("[^。、，！？：；]+[。、，！？：；]?", line.partition(": ")[2])
        if CJK.search(phrase)
    ]
    made, count = [], 0
    while count < PART_BYTES:
        made.append("".join(draw.choice(phrases) for _ in range(8)))
        count += len(made[-1].encode()) + 1
    return documents_of(made)


def verdict(name, value, bar, unit, passed):
    print(f"  {name}: {value:.1f} {unit} (bar {bar:.1f}): {'PASS' if passed else 'FAIL'}")
    return passed


def measure(tool, path, documents):
    size = sum(len(document.encode()) for document in documents)
    library = Tokenizer.from_file(os.path.join(path, "tokenizer.json"))
    process = subprocess.Popen([tool, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    read_ns, make_ns = map(int, process.stdout.readline().split()[1:])

    def ask(line):
        process.stdin.write(line + "\n")
        process.stdin.flush()
        return process.stdout.readline()

    for document in documents:
        ask("text " + document.encode().hex())
    ours, theirs = [], []
    for pair in range(PAIRS + 1):
        ids, nanoseconds = map(int, ask("pass").split())
        begin = time.process_time_ns()
        encodings = library.encode_batch_fast(documents, add_special_tokens=False)
        elapsed = time.process_time_ns() - begin
        if ids != sum(map(len, encodings)):
            raise SystemExit(f"{path}: {ids} ids, the library's {sum(map(len, encodings))}")
        if pair > 0:  # the first warms caches
            ours.append(size / nanoseconds * 1e3)
            theirs.append(size / elapsed * 1e3)
    process.stdin.close()
    process.wait()
    ratio = statistics.median(mine / other for mine, other in zip(ours, theirs))
    print(
        f"{os.path.basename(path)}: {library.get_vocab_size()} tokens; {size / 1e6:.1f} MB, {ids} ids; "
        f"ours {min(ours):.1f} to {max(ours):.1f}, the library's {min(theirs):.1f} to {max(theirs):.1f} MB/s"
    )
    start_ms = (read_ns + make_ns) / 1e6
    return all(
        [
            verdict(
                "speed, median",
                statistics.median(ours),
                BAR_MB_A_SECOND,
                "MB/s",
                statistics.median(ours) >= BAR_MB_A_SECOND,
            ),
            verdict("times the library's, median of pairs", ratio, 1.0, "x", ratio >= 1),
            verdict("file read and tables made", start_ms, BAR_START_MS, "ms", start_ms <= BAR_START_MS),
        ]
    )


def main(tool, paths):
    draw = random.Random(SEED)
    documents = english() + code() + cjk(draw)
    print(f"seed {SEED}")
    return all([measure(tool, path, documents) for path in paths])


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1], sys.argv[2:]) else 1)
