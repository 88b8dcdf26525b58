"""Trains the model: seeded, so many steps of so many tokens; goes on from its checkpoint if there is one.

Most steps have rows of 512 tokens at a constant learning rate; the last DECAY_STEPS have rows of 1,024
while the rate goes down to zero. Matrices are trained with Muon, embeddings and norms with AdamW.
"""
import argparse
import json
import math
import time
from pathlib import Path

import torch

from model import Llama, Shape, token_losses
from rows import Batches, held_out_rows, load

TOKENS_PER_STEP = 4096
SHORT_ROW, LONG_ROW = 512, 1024
WARM_UP_STEPS = 100
DECAY_STEPS = 400
CHAT_SHARE = 0.5
MUON_RATE, ADAM_RATE, WEIGHT_DECAY = 0.02, 0.004, 0.05
CHECKPOINT_STEPS = 100


def rate_factor(step, steps):
    decay_from = steps - DECAY_STEPS
    if step >= decay_from:
        return (steps - step) / (steps - decay_from)
    return min(1.0, (step + 1) / WARM_UP_STEPS)


def row_length(step, steps):
    return LONG_ROW if step >= steps - DECAY_STEPS else SHORT_ROW


def optimizers(model):
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embedding" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embedding" in name]
    return [torch.optim.Muon(matrices, lr=MUON_RATE, weight_decay=WEIGHT_DECAY, momentum=0.95),
            torch.optim.AdamW(others, lr=ADAM_RATE, weight_decay=0.0, betas=(0.9, 0.95))]


@torch.no_grad()
def held_out_loss(model, documents, tokens_max):
    """(nats per token, bits per byte) over rows of the long length, in float32."""
    rows = torch.from_numpy(held_out_rows(documents, LONG_ROW, tokens_max))
    losses = torch.cat([token_losses(model, row[None]) for row in rows])
    nats = losses.double().mean().item()
    return nats, nats / math.log(2) * documents.tokens() / documents.bytes


def report(model, documents, tokens_max):
    parts = []
    for kind in ("prose", "chat"):
        nats, bits = held_out_loss(model, documents[kind, True], tokens_max)
        parts.append(f"{kind} {nats:.4f} nats/token {bits:.4f} bits/byte")
    return "held out: " + ", ".join(parts)


def save(path, model, optimizer_list, step):
    state = {"model": model.state_dict(), "shape": model.shape.as_dict(), "step": step,
             "optimizers": [optimizer.state_dict() for optimizer in optimizer_list]}
    torch.save(state, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def train(given, log):
    torch.manual_seed(given.seed)
    documents = load(given.work)
    for (kind, apart), part in documents.items():
        side = "held out" if apart else "training"
        log(f"{kind} {side}: {len(part.ids)} documents, {part.tokens()} tokens, {part.bytes} bytes")
    model = Llama(Shape())
    log(f"{model.parameter_count()} parameters")
    optimizer_list = optimizers(model)
    batches = Batches(documents, CHAT_SHARE, given.seed)
    checkpoint = given.work / "checkpoint.pt"
    done = 0
    if checkpoint.exists():
        state = torch.load(checkpoint)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizer_list, state["optimizers"]):
            optimizer.load_state_dict(saved)
        done = state["step"]
    losses_of = torch.compile(token_losses, dynamic=False)
    started = time.monotonic()
    for step in range(given.steps):
        length = row_length(step, given.steps)
        ids = torch.from_numpy(batches.batch(TOKENS_PER_STEP // length, length))
        if step < done:
            continue
        for optimizer, rate in zip(optimizer_list, (MUON_RATE, ADAM_RATE)):
            optimizer.param_groups[0]["lr"] = rate * rate_factor(step, given.steps)
        with torch.autocast("cpu", torch.bfloat16):
            loss = losses_of(model, ids).mean()
        loss.backward()
        for optimizer in optimizer_list:
            optimizer.step()
            optimizer.zero_grad()
        if (step + 1) % 20 == 0:
            log(f"step {step + 1} loss {loss.item():.4f} seconds {time.monotonic() - started:.0f}")
        if (step + 1) % CHECKPOINT_STEPS == 0 or step + 1 == given.steps:
            save(checkpoint, model, optimizer_list, step + 1)
        if (step + 1) % (10 * CHECKPOINT_STEPS) == 0:
            log(report(model, documents, 20 * LONG_ROW + 1))
    torch.save({"model": model.state_dict(), "shape": model.shape.as_dict()}, given.work / "model.pt")
    log(report(model, documents, 10**9))


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("work", type=Path, help="folder with corpus.jsonl, tokenizer.json; gets model.pt")
    arguments.add_argument("--steps", type=int, required=True)
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    torch.set_num_threads(2)
    with open(given.work / "train.log", "a", encoding="utf-8") as file:
        def log(text):
            print(text, flush=True)
            print(text, file=file, flush=True)
        log(json.dumps({"steps": given.steps, "seed": given.seed, "tokens_per_step": TOKENS_PER_STEP}))
        train(given, log)


if __name__ == "__main__":
    main()
