"""Trains the byte-level BPE on the training documents and writes tokenizer.json (the `tokenizers` format).

The split into words is Qwen2's (GGUF: tokenizer.ggml.pre = "qwen2"), whose readers bring text to NFC as Qwen2
does. Training does without: the corpus is in that form.
"""
import argparse
import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
           r"|\s*[\r\n]+|\s+(?!\S)|\s+")


def untrained():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def texts(corpus):
    """The training documents without the marks of the turns, which are no text."""
    with open(corpus, encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            if not record["held_out"]:
                text = record["text"]
                for mark in SPECIAL:
                    text = text.replace(mark, "\n")
                yield text


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("work", type=Path, help="folder with corpus.jsonl; tokenizer.json goes there")
    arguments.add_argument("--vocab", type=int, default=4096, help="tokens, the special ones included")
    given = arguments.parse_args()
    tokenizer = untrained()
    # Special tokens get the last ids, as in Qwen2: the trainer leaves room for them, they are added after.
    trainer = trainers.BpeTrainer(vocab_size=given.vocab - len(SPECIAL), show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts(given.work / "corpus.jsonl"), trainer)
    tokenizer.add_special_tokens(SPECIAL)
    assert tokenizer.get_vocab_size() == given.vocab
    tokenizer.save(str(given.work / "tokenizer.json"))
    print(f"{given.vocab} tokens, {len(json.loads(tokenizer.to_str())['model']['merges'])} merges")


if __name__ == "__main__":
    main()
