"""Reads the GGUF back: its held-out loss must be within 1% of the float model's, and most of the held-out
questions must get exactly the wanted answer. Prints all of that, and samples."""
import argparse
import json
import math
import re
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer

import dequantized
from chat import render
from model import Llama, Shape, greedy, token_losses
from rows import ANSWER_BEGINS, held_out_rows, load
from tokenizer import SPECIAL
from train import held_out_loss

LOSS_RATIO_MAX = 1.01
BYTES_MAX = 12_000_000
EXACT_SHARE_MIN = 0.7
EXACT_QUESTIONS = 300
ANSWER_TOKENS_MAX = 120
# Chats, each a list of the user's turns. The second group is not among the training questions.
ASKED = ["Hello", "Who are you?", "What can you do?", "How are you?", "What is a dog?", "What is a river?",
         "Tell me about whales.", "What does happy mean?", "What is the capital of France?",
         "What is the opposite of hot?", "Why is the sky blue?", "What is 7 plus 5?", "Name three fruits.",
         "How do I make tea?", "How can I sleep better?", "Use the word walk in a sentence.",
         "Write a poem about the sea.", "Write a thank-you note to my aunt for the book.", "Tell me a joke.",
         "Tell me a story about a fox.", "What is a blorp?"]
NEW = ["Hello! Who are you?", "Could you tell me what dogs are?",
       "I would love to know the capital of Japan.",
       "Which city is France's capital?", "how can i make a good cup of tea at home",
       "Is a cat a plant or an animal?", "Give me four animals.", "What is 17 plus 16?", "What is 23 + 45?",
       "Who wrote the play Hamlet?", "Why do cats sleep so much?", "What is a saxophone?",
       "What is the capital of Texas?", "How do I repair a bicycle?", "Translate dog into German.",
       "Explain how rain works to a child.", "What is your opinion on politics?",
       "Summarise the story of Noah.", "Write a poem about my computer."]
CHATS = [["What is a cat?", "Is it an animal?", "Spell it."],
         ["My name is Ada.", "What is the capital of Spain?", "What is my name?"],
         ["Name two colours.", "Thank you!", "What did I just say?"]]
OPENINGS = ["It is a truth universally acknowledged, that", "The ship sailed", "In the beginning",
            "The old man looked at the sea and"]


class Speaker:
    def __init__(self, model, tokenizer):
        self.model, self.tokenizer = model, tokenizer
        self.stop = [tokenizer.token_to_id(token) for token in SPECIAL]

    def answer(self, messages):
        """The greedy answer to the chat so far: [(role, text)]."""
        prompt = render(messages) + ANSWER_BEGINS
        ids = self.tokenizer.encode(prompt, add_special_tokens=False).ids
        made = greedy(self.model, ids, ANSWER_TOKENS_MAX, self.stop)
        ended = made[-1] == self.tokenizer.token_to_id("<|im_end|>")
        return self.tokenizer.decode(made) + ("" if ended else " [not ended]")

    def go_on(self, opening):
        ids = self.tokenizer.encode(opening, add_special_tokens=False).ids
        print(f"> {opening}\n  greedy: {self.tokenizer.decode(greedy(self.model, ids, 40, self.stop))}")
        for _ in range(60):
            logits = self.model(torch.tensor([ids]))[0, -1] / 0.8
            ids.append(int(torch.multinomial(logits.softmax(0), 1)))
            if ids[-1] in self.stop:
                break
        print(f"  at temperature 0.8: {self.tokenizer.decode(ids)}")


def samples(speaker):
    for turns in [[ask] for ask in ASKED] + [[ask] for ask in NEW] + CHATS:
        messages = []
        for ask in turns:
            messages.append(("user", ask))
            messages.append(("assistant", speaker.answer(messages)))
            print(f"{'Q' if len(messages) == 2 else ' q'}: {ask}\n   A: {messages[-1][1]}")
    torch.manual_seed(1)
    for opening in OPENINGS:
        speaker.go_on(opening)


def exact_answers(speaker, work):
    """(right, asked): held-out chats of one turn, whose question no training chat has, that are answered
    letter by letter as they should be."""
    turn = re.compile(r"<\|im_start\|>user\n(.*?)<\|im_end\|>", re.S)
    one_turn = re.compile(turn.pattern + re.escape("\n" + ANSWER_BEGINS) + r"([^|]*)<\|im_end\|>\n", re.S)
    with open(work / "instruct.jsonl", encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    trained = {ask.lower() for record in records if not record["held_out"]
               for ask in turn.findall(record["text"])}
    chats = [one_turn.fullmatch(record["text"]) for record in records if record["held_out"]]
    chats = {chat[1]: chat[2] for chat in chats if chat and chat[1].lower() not in trained}
    asked = list(chats.items())[:EXACT_QUESTIONS]
    return sum(speaker.answer([("user", ask)]) == answer for ask, answer in asked), len(asked)


def halves(model, documents):
    """Mean loss of the first and of the second half of the context, in nats."""
    rows = [torch.from_numpy(part) for part in held_out_rows(documents, model.shape.context, 10**9)]
    losses = torch.cat([token_losses(model, ids[None], targets[None]) for ids, targets in zip(*rows)])
    half = model.shape.context // 2
    return losses[:, :half].mean().item(), losses[:, half:].mean().item()


@torch.no_grad()
def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("work", type=Path,
                           help="folder with the documents, tokenizer.json and the weights")
    arguments.add_argument("gguf", type=Path)
    arguments.add_argument("--stage", default="polish", help="whose weights the file was made from")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    documents = load(given.work, ("prose", "instruct"))
    saved = torch.load(given.work / f"{given.stage}.pt")
    exact = Llama(Shape(**saved["shape"]))
    exact.load_state_dict(saved["model"])
    read_back = dequantized.load(given.gguf)
    good = given.gguf.stat().st_size <= BYTES_MAX
    print(f"{given.gguf.stat().st_size} bytes, {read_back.parameter_count()} parameters")
    for kind in ("prose", "instruct"):
        exact_nats, exact_bits = held_out_loss(exact, documents[kind, True], 10**9)
        nats, bits = held_out_loss(read_back, documents[kind, True], 10**9)
        good = good and math.isfinite(nats) and nats <= LOSS_RATIO_MAX * exact_nats
        print(f"held out {kind}: float {exact_nats:.4f} nats/token; GGUF {nats:.4f} nats/token"
              + (f" ({exact_bits:.4f} and {bits:.4f} bits/byte)" if kind == "prose" else ""))
    first, second = halves(read_back, documents["prose", True])
    print(f"held out prose by half of the context: {first:.4f}, {second:.4f} nats/token")
    speaker = Speaker(read_back, Tokenizer.from_file(str(given.work / "tokenizer.json")))
    right, asked = exact_answers(speaker, given.work)
    print(f"held-out questions answered exactly: {right} of {asked}")
    samples(speaker)
    good = good and right >= EXACT_SHARE_MIN * asked
    sys.exit(0 if good else "the GGUF file is too large, too far from the float model, or answers too badly")


if __name__ == "__main__":
    main()
