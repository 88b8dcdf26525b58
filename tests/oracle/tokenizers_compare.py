"""Compares our tokeniser with Hugging Face's `tokenizers` on nasty strings and published vocabularies.

    python3 tests/oracle/tokenizers_compare.py BUILD/bin/tokenizer_tool FOLDER [FILE.gguf...]

FOLDER keeps what is fetched (published_tokenizers.py). For each vocabulary three lines: texts whose control
tokens are found, texts as a user types them (encode_special_tokens of the library), and texts that are no
UTF-8. Of the first two ids and decoded text must be the library's. It takes no text of the third kind: there
its decoder should make of our ids what ours does (of byte fallback it makes a U+FFFD for every byte of a run
that is not all UTF-8, ours one for each part that is not, as streams need it; so they differ).
"""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))

from nasty_strings import bad_bytes, nasty_strings
from published_tokenizers import published
from tokenizers import Tokenizer

SEED = 20261122
STRINGS = 4000


class Ours:
    def __init__(self, tool, path):
        self.process = subprocess.Popen([tool, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        ready = self.process.stdout.readline().split()
        if ready[0] != b"ready":
            raise SystemExit(f"{path}: {b' '.join(ready).decode()}")
        self.read_ms, self.make_ms = (int(ns) / 1e6 for ns in ready[1:])

    def encode(self, word, text):
        self.process.stdin.write(f"{word} {text.hex()}\n".encode())
        self.process.stdin.flush()
        ids, decoded = self.process.stdout.readline().decode().rstrip("\n").split("\t")
        return [int(id) for id in ids.split()], bytes.fromhex(decoded).decode()


def looks_like_control(text):
    return text.startswith("<|") and text.endswith("|>") or text.startswith("<｜") and text.endswith("｜>")


def compare(name, path, tool):
    ours, library = Ours(tool, path), Tokenizer.from_file(os.path.join(path, "tokenizer.json"))
    added = list(library.get_added_tokens_decoder().values())
    contents = [token.content for token in added]
    specials = contents[:60] + [token.content for token in added if not token.special]
    # What a user types never becomes a marker, whether the file calls it special or not.
    typed_specials = [
        text
        for text in specials
        if text not in contents
        or not looks_like_control(text)
        or next(token for token in added if token.content == text).special
    ]
    print(f"{name}: read in {ours.read_ms:.0f} ms, tables made in {ours.make_ms:.0f} ms")
    failures = 0
    for word, which in (("parse", specials), ("plain", typed_specials)):
        library.encode_special_tokens = word == "plain"
        same_ids = same_text = total = 0
        for text in nasty_strings(SEED, STRINGS, which):
            total += 1
            expected = library.encode(text, add_special_tokens=False).ids
            ids, decoded = ours.encode(word, text.encode())
            same_ids += ids == expected
            same_text += decoded == library.decode(expected)
            if (ids != expected or decoded != library.decode(expected)) and (failures := failures + 1) <= 5:
                print(f"  {word} {text!r}")
                print(f"    library {expected} {library.decode(expected)!r}")
                print(f"    ours    {ids} {decoded!r}")
        print(
            f"  {word}: {total} texts, ids identical {same_ids}, different {total - same_ids}; "
            f"decoded identical {same_text}, different {total - same_text}"
        )
    same = 0
    texts = bad_bytes(SEED, 500)
    for text in texts:
        ids, decoded = ours.encode("plain", text)
        same += decoded == library.decode(ids)
    print(
        f"  no UTF-8: {len(texts)} texts, the library decodes our ids alike {same}, "
        f"otherwise {len(texts) - same}"
    )
    return failures


def main(tool, folder, gguf_files):
    failures = sum(compare(name, path, tool) for name, path in published(folder, gguf_files))
    print(f"{failures} differences")
    return failures != 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
