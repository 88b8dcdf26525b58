"""Reads the GGUF back: its held-out loss must be within 1% of the float model's. Prints both, and samples."""
import argparse
import math
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer

import dequantized
from chat import render
from model import Llama, Shape, greedy, token_losses
from rows import held_out_rows, load
from tokenizer import SPECIAL
from train import held_out_loss

LOSS_RATIO_MAX = 1.01
BYTES_MAX = 8_000_000
QUESTIONS = ["Hello", "Who are you?", "What can you do?", "What is a dog?", "What is a river?",
             "Define happiness.", "What is the opposite of hot?", "Use the word walk in a sentence.",
             "Tell me a story about a fox.", "What is the capital of France?", "Why is the sky blue?",
             "Tell me about whales."]
OPENINGS = ["It is a truth universally acknowledged, that", "The ship sailed", "In the beginning",
            "The old man looked at the sea and", "A hacker is"]


def samples(model, tokenizer):
    stop = [tokenizer.token_to_id(token) for token in SPECIAL]
    for question in QUESTIONS:
        prompt = render([("user", question)]) + "<|im_start|>assistant\n"
        made = greedy(model, tokenizer.encode(prompt, add_special_tokens=False).ids, 120, stop)
        ended = made[-1] == tokenizer.token_to_id("<|im_end|>")
        print(f"Q: {question}\nA: {tokenizer.decode(made)}{'' if ended else ' [not ended]'}")
    torch.manual_seed(1)
    for opening in OPENINGS:
        ids = tokenizer.encode(opening, add_special_tokens=False).ids
        greedy_text = tokenizer.decode(greedy(model, ids, 40, stop))
        for _ in range(60):
            logits = model(torch.tensor([ids]))[0, -1] / 0.8
            ids.append(int(torch.multinomial(logits.softmax(0), 1)))
            if ids[-1] in stop:
                break
        print(f"> {opening}\n  greedy: {greedy_text}\n  at temperature 0.8: {tokenizer.decode(ids)}")


def halves(model, documents):
    """Mean loss of the first and of the second half of the context, in nats."""
    rows = torch.from_numpy(held_out_rows(documents, model.shape.context, 10**9))
    losses = torch.cat([token_losses(model, row[None]) for row in rows])
    half = model.shape.context // 2
    return losses[:, :half].mean().item(), losses[:, half:].mean().item()


@torch.no_grad()
def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("work", type=Path, help="folder with model.pt, corpus.jsonl and tokenizer.json")
    arguments.add_argument("gguf", type=Path)
    given = arguments.parse_args()
    documents = load(given.work)
    saved = torch.load(given.work / "model.pt")
    exact = Llama(Shape(**saved["shape"]))
    exact.load_state_dict(saved["model"])
    read_back = dequantized.load(given.gguf)
    good = given.gguf.stat().st_size <= BYTES_MAX
    print(f"{given.gguf.stat().st_size} bytes, {read_back.parameter_count()} parameters")
    for kind in ("prose", "chat"):
        exact_nats, exact_bits = held_out_loss(exact, documents[kind, True], 10**9)
        nats, bits = held_out_loss(read_back, documents[kind, True], 10**9)
        good = good and math.isfinite(nats) and nats <= LOSS_RATIO_MAX * exact_nats
        print(f"held out {kind}: float {exact_nats:.4f} nats/token {exact_bits:.4f} bits/byte; "
              f"GGUF {nats:.4f} nats/token {bits:.4f} bits/byte")
    first, second = halves(read_back, documents["prose", True])
    print(f"held out prose by half of the context: {first:.4f}, {second:.4f} nats/token")
    samples(read_back, Tokenizer.from_file(str(given.work / "tokenizer.json")))
    sys.exit(0 if good else "the GGUF file is too large, or its loss is more than 1% above the float model's")


if __name__ == "__main__":
    main()
