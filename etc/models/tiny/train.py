"""Trains one stage of the model: seeded, so many steps of so many tokens; goes on from its checkpoint.

The learning rate is constant and then goes down; the last steps have longer rows. Matrices are trained with
Muon, embeddings and norms with AdamW. The stage "base" learns English from books and conversations;
"instruct" goes on from it and learns to answer, "polish" goes on with another mixture of chats.
"""
import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from model import Llama, NOT_LEARNED, Shape, token_losses
from rows import ANSWERS_ONLY, Batches, held_out_rows, load


@dataclass(frozen=True)
class Stage:
    after: str | None  # the stage whose result it begins with
    chat: str  # the kind of documents that a share of the rows is made of
    chat_share: float
    short_row: int
    long_row: int
    decay_steps: int  # the last ones, in which the rate goes down
    long_steps: int  # the last ones, which have long rows
    rate: float  # relative to MUON_RATE and ADAM_RATE
    last_rate: float
    threads: int


STAGES = {"base": Stage(None, "chat", 0.5, 512, 1024, 400, 400, 1.0, 0, 2),
          "instruct": Stage("base", "instruct", 0.875, 256, 512, 650, 50, 0.5, 1 / 15, 1),
          "polish": Stage("instruct", "polish", 0.875, 512, 512, 100, 0, 0.1, 0, 1)}
TOKENS_PER_STEP = 4096
EVALUATION_ROW = 1024
WARM_UP_STEPS = 100
MUON_RATE, ADAM_RATE, WEIGHT_DECAY = 0.02, 0.004, 0.05
CHECKPOINT_STEPS = 50


def rate_factor(step, steps, stage):
    decay_from = steps - stage.decay_steps
    if step >= decay_from:
        return stage.last_rate + (stage.rate - stage.last_rate) * (steps - step) / stage.decay_steps
    return stage.rate * min(1.0, (step + 1) / WARM_UP_STEPS)


def row_length(step, steps, stage):
    return stage.long_row if step >= steps - stage.long_steps else stage.short_row


def optimizers(model):
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embedding" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embedding" in name]
    return [torch.optim.Muon(matrices, lr=MUON_RATE, weight_decay=WEIGHT_DECAY, momentum=0.95),
            torch.optim.AdamW(others, lr=ADAM_RATE, weight_decay=0.0, betas=(0.9, 0.95))]


@torch.no_grad()
def held_out_loss(model, documents, tokens_max):
    """(nats per learned token, bits per byte) over rows of EVALUATION_ROW, in float32. The bits count only
    where every token is learned."""
    rows = [torch.from_numpy(part) for part in held_out_rows(documents, EVALUATION_ROW, tokens_max)]
    losses = torch.cat([token_losses(model, ids[None], targets[None]) for ids, targets in zip(*rows)])
    nats = losses.double().sum().item() / (rows[1] != NOT_LEARNED).sum().item()
    return nats, nats / math.log(2) * documents.tokens() / documents.bytes


def report(model, documents, tokens_max):
    parts = []
    for kind in sorted({kind for kind, _ in documents}):
        nats, bits = held_out_loss(model, documents[kind, True], tokens_max)
        parts.append(f"{kind} {nats:.4f} nats/token"
                     + ("" if kind in ANSWERS_ONLY else f" {bits:.4f} bits/byte"))
    return "held out: " + ", ".join(parts)


def save(path, content):
    torch.save(content, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def begin(given, stage, model, optimizer_list):
    """Loads the checkpoint, or the weights of the stage before; returns how many steps are done."""
    checkpoint = given.work / f"checkpoint-{given.stage}.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizer_list, state["optimizers"]):
            optimizer.load_state_dict(saved)
        return state["step"]
    if stage.after:
        model.load_state_dict(torch.load(given.work / f"{stage.after}.pt")["model"])
    return 0


def train(given, log):
    stage = STAGES[given.stage]
    torch.set_num_threads(stage.threads)
    torch.manual_seed(given.seed)
    documents = load(given.work, ("prose", stage.chat))
    for (kind, apart), part in documents.items():
        side = "held out" if apart else "training"
        log(f"{kind} {side}: {len(part.ids)} documents, {part.tokens()} tokens, {part.bytes} bytes, "
            f"{sum(int(learned.sum()) for learned in part.learned)} tokens learned")
    model = Llama(Shape())
    log(f"{model.parameter_count()} parameters")
    optimizer_list = optimizers(model)
    batches = Batches(documents, stage.chat, stage.chat_share, given.seed)
    done = begin(given, stage, model, optimizer_list)
    losses_of = torch.compile(token_losses, dynamic=False)
    started = time.monotonic()
    for step in range(given.steps):
        length = row_length(step, given.steps, stage)
        ids, targets = map(torch.from_numpy, batches.batch(TOKENS_PER_STEP // length, length))
        if step < done:
            continue
        for optimizer, rate in zip(optimizer_list, (MUON_RATE, ADAM_RATE)):
            optimizer.param_groups[0]["lr"] = rate * rate_factor(step, given.steps, stage)
        with torch.autocast("cpu", torch.bfloat16):
            loss = losses_of(model, ids, targets).sum() / (targets != NOT_LEARNED).sum()
        loss.backward()
        for optimizer in optimizer_list:
            optimizer.step()
            optimizer.zero_grad()
        if (step + 1) % 20 == 0:
            log(f"step {step + 1} loss {loss.item():.4f} seconds {time.monotonic() - started:.0f}")
        if (step + 1) % CHECKPOINT_STEPS == 0 or step + 1 == given.steps:
            save(given.work / f"checkpoint-{given.stage}.pt",
                 {"model": model.state_dict(), "shape": model.shape.as_dict(), "step": step + 1,
                  "optimizers": [optimizer.state_dict() for optimizer in optimizer_list]})
        if (step + 1) % (20 * CHECKPOINT_STEPS) == 0:
            log(report(model, documents, 20 * EVALUATION_ROW + 1))
    save(given.work / f"{given.stage}.pt", {"model": model.state_dict(), "shape": model.shape.as_dict()})
    log(report(model, documents, 10**9))


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("work", type=Path,
                           help="folder with the documents and tokenizer.json; gets STAGE.pt")
    arguments.add_argument("stage", choices=STAGES)
    arguments.add_argument("--steps", type=int, required=True)
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    with open(given.work / f"train-{given.stage}.log", "a", encoding="utf-8") as file:
        def log(text):
            print(text, flush=True)
            print(text, file=file, flush=True)
        log(json.dumps({"stage": given.stage, "steps": given.steps, "seed": given.seed,
                        "tokens_per_step": TOKENS_PER_STEP}))
        train(given, log)


if __name__ == "__main__":
    main()
