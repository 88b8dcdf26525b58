"""Writes what a correct runner must compute from the GGUF file: token ids, logits, greedy tokens.

Everything comes from the file's own (dequantised) weights in float32 and from the `tokenizers` library.
"""
import argparse
import hashlib
import json
import unicodedata
from pathlib import Path

import torch
from tokenizers import Tokenizer, normalizers

import dequantized
from chat import render

TOP = 5
GREEDY_TOKENS = 24
PROMPTS = [
    ("chat hello", render([("user", "Hello")]) + "<|im_start|>assistant\n"),
    ("book opening",
     "It is a truth universally acknowledged, that a single man in possession of a good fortune"),
    ("two turns", render([("system", "You are a helpful assistant."), ("user", "What is a dog?"),
                          ("assistant",
                           "A dog is a member of the genus Canis that has been domesticated by man since "
                           "prehistoric times. For example: The dog barked all night."),
                          ("user", "Tell me a story about a dog in 3 lines: \"naïve café\", 12345, x += 1;")])
     + "<|im_start|>assistant\n")]
STRINGS = [
    "", " ", "Hello, world!", "hello world", "HELLO WORLD", "The quick brown fox jumps over the lazy dog.",
    "I'm sure they'll say it's Ben's; we've DON'T 'twas", "  two leading spaces", "trailing spaces   ",
    "a  b   c    d", "tabs\tand\t\ttabs", "line\nbreaks\n\nand\r\nmore \n \n end\n", "   \n\n   \n",
    "1234567890", "3.14159 + 2,718 = 5.86 (about 100%)", "naïve café, Größe, œuvre, Ångström",
    "cafe\u0301 (a combining accent)", "Привет, мир! Γειά σου κόσμε", "日本語のテキスト、你好世界",
    "שלום עולם مرحبا بالعالم", "हिन्दी देवनागरी", "🙂👍🏽👨‍👩‍👧‍👦 emoji 🎉!",
    "for (int i = 0; i < n; ++i) { sum += a[i]; }\n", "def f(x):\n    return x ** 2\n",
    "https://example.org/a?b=c&d=%20#e", "--dry-run\\path\\to\\file \"quoted\" 'single' `code`",
    "…—“quotes”–‘single’", "\u00a0no-break\u00a0spaces\u2003em\u200bzero", "x\u0000y\u0001z",
    "ﬁ ligature Ⅷ ² ½ ٣", "<|im_start|>user\nHi<|im_end|>\n", "a<|endoftext|>b", "<|not_special|>",
    "antidisestablishmentarianism"]


@torch.no_grad()
def prompt_record(model, tokenizer, name, text):
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    best = model(torch.tensor([ids]))[0].topk(TOP)
    top = [[[int(id), float(logit)] for id, logit in zip(row_ids, row)]
           for row_ids, row in zip(best.indices, best.values)]
    made, margins = [], []
    for _ in range(GREEDY_TOKENS):
        first, second = model(torch.tensor([ids + made]))[0, -1].topk(2).values.tolist()
        made.append(int(model(torch.tensor([ids + made]))[0, -1].argmax()))
        margins.append(first - second)
    return {"name": name, "text": text, "ids": ids, "top": top, "greedy": made, "greedy_margin": margins,
            "greedy_text": tokenizer.decode(made, skip_special_tokens=False)}


def encoding_record(tokenizer, text):
    encoding = tokenizer.encode(text, add_special_tokens=False)
    return {"text": text, "ids": encoding.ids, "nfc_changes_it": unicodedata.normalize("NFC", text) != text}


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("work", type=Path, help="folder with tokenizer.json")
    arguments.add_argument("gguf", type=Path)
    arguments.add_argument("expected", type=Path, help="the JSON file to write")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(str(given.work / "tokenizer.json"))
    tokenizer.normalizer = normalizers.NFC()  # what readers of a GGUF file take "qwen2" to mean
    model = dequantized.load(given.gguf)
    record = {
        "note": "Made by etc/models/tiny/expected.py. top: per position, the five largest logits as "
                "[id, logit]. greedy: goes on past <|im_end|>. Special tokens in the texts are parsed.",
        "model_sha256": hashlib.sha256(given.gguf.read_bytes()).hexdigest(),
        "prompts": [prompt_record(model, tokenizer, name, text) for name, text in PROMPTS],
        "encodings": [encoding_record(tokenizer, text) for text in STRINGS]}
    lines = json.dumps(record, ensure_ascii=True, indent=None, separators=(",", ":"))
    given.expected.parent.mkdir(parents=True, exist_ok=True)
    given.expected.write_text(lines.replace('{"name"', '\n{"name"').replace('{"text"', '\n{"text"') + "\n")
    print(f"{given.expected}: {len(record['prompts'])} prompts, {len(record['encodings'])} encodings")


if __name__ == "__main__":
    main()
