"""Writes corpus.jsonl, the same bytes every time: a document a line, {"source", "name", "text", "held_out"}.

A document is held out by a hash of its name, so that all the conversations about one word are on one side.
"""
import argparse
import json
import random
import zlib
from collections import Counter
from pathlib import Path

from chat import conversations
from sources import books
from wordnet import WordNet

HELD_OUT_PER_MILLE = 20


def held_out(name):
    return zlib.crc32(name.encode()) % 1000 < HELD_OUT_PER_MILLE


def records(package_root, seed):
    for source, name, text in books(package_root):
        yield {"source": source, "name": name, "text": text, "held_out": held_out(name)}
    dice = random.Random(seed)
    for name, text in conversations(dice, WordNet(package_root)):
        apart = name != "smalltalk" and held_out(name)
        yield {"source": "chat", "name": name, "text": text, "held_out": apart}


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("work", type=Path, help="folder for what the steps make")
    arguments.add_argument("--package-root", type=Path, default=Path("/"), help="where the packages lie")
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    sizes = Counter()
    with open(given.work / "corpus.jsonl", "w", encoding="utf-8") as file:
        for record in records(given.package_root, given.seed):
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            sizes[record["source"], record["held_out"]] += len(record["text"].encode())
    for (source, apart), size in sorted(sizes.items()):
        print(f"{source:10} {'held out' if apart else 'training':10} {size:10} bytes")


if __name__ == "__main__":
    main()
