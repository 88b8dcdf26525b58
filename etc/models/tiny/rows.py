"""Training rows: documents as token ids, shuffled and packed to one length, the same for the same seed."""
import json

import numpy as np
from tokenizers import Tokenizer

from model import NOT_LEARNED

END_OF_TEXT = "<|endoftext|>"
ANSWER_BEGINS, ANSWER_ENDS = "<|im_start|>assistant\n", "<|im_end|>"
# Which file holds the documents of a kind, and which of its sources.
FILES = {"prose": "corpus.jsonl", "chat": "corpus.jsonl", "instruct": "instruct.jsonl",
         "polish": "polish.jsonl"}
ANSWERS_ONLY = ("instruct", "polish")


class Documents:
    """The encoded documents of one kind, each ending with <|endoftext|>, and which tokens are to be learned:
    all, or with `answers_only` those of the assistant's turns and their <|im_end|>."""

    def __init__(self, texts, tokenizer, answers_only=False):
        end = tokenizer.token_to_id(END_OF_TEXT)
        self.bytes = sum(len(text.encode()) for text in texts)
        self.ids = [np.array(encoding.ids + [end], dtype=np.int64)
                    for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
        self.learned = [self.answers(ids, tokenizer) if answers_only else np.ones(len(ids), bool)
                        for ids in self.ids]

    @staticmethod
    def answers(ids, tokenizer):
        begins = tokenizer.encode(ANSWER_BEGINS, add_special_tokens=False).ids
        ends = np.flatnonzero(ids == tokenizer.token_to_id(ANSWER_ENDS))
        learned = np.zeros(len(ids), bool)
        for start in np.flatnonzero(ids == begins[0]):
            first = start + len(begins)
            if ids[start:first].tolist() == begins:
                learned[first:ends[np.searchsorted(ends, first)] + 1] = True
        return learned

    def tokens(self):
        return sum(len(ids) for ids in self.ids)


def load(work, kinds):
    """{(kind, held out): Documents} for each of `kinds`: "chat", "prose", "instruct", "polish"."""
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    texts = {(kind, apart): [] for kind in kinds for apart in (False, True)}
    for name in sorted({FILES[kind] for kind in kinds}):
        with open(work / name, encoding="utf-8") as file:
            for line in file:
                record = json.loads(line)
                kind = record["source"] if record["source"] in FILES else "prose"
                if kind in kinds:
                    texts[kind, record["held_out"]].append(record["text"])
    return {key: Documents(value, tokenizer, key[0] in ANSWERS_ONLY) for key, value in texts.items()}


class Packer:
    """Endless rows: every epoch in a new order. A row of chat begins at a conversation's first token; a long
    document of prose goes on in the next row."""

    def __init__(self, documents, goes_on, seed):
        self.documents, self.goes_on = documents, goes_on
        self.dice = np.random.default_rng(seed)
        self.order, self.rest = [], np.empty((2, 0), np.int64)

    def row(self, length):
        """[2, length]: ids, and the same ids with NOT_LEARNED where they are not to be learned."""
        parts, filled = [self.rest], self.rest.shape[1]
        while filled < length:
            if not self.order:
                self.order = list(self.dice.permutation(len(self.documents.ids)))
            number = self.order.pop()
            ids = self.documents.ids[number]
            parts.append(np.stack([ids, np.where(self.documents.learned[number], ids, NOT_LEARNED)]))
            filled += len(ids)
        joined = np.concatenate(parts, axis=1)
        self.rest = joined[:, length - 1:] if self.goes_on else np.empty((2, 0), np.int64)
        return joined[:, :length]


class Batches:
    """(ids, targets), each [rows, length]; a share of the rows is of the kind `chat`, the rest is prose."""

    def __init__(self, documents, chat, chat_share, seed):
        self.prose = Packer(documents["prose", False], True, [seed, 1])
        self.chat = Packer(documents[chat, False], False, [seed, 2])
        self.chat_share = chat_share

    def batch(self, rows, length):
        chat = round(rows * self.chat_share)
        both = np.stack([self.chat.row(length + 1) for _ in range(chat)]
                        + [self.prose.row(length + 1) for _ in range(rows - chat)])
        return both[:, 0, :-1].copy(), both[:, 1, 1:].copy()


def held_out_rows(documents, length, tokens_max):
    """(ids, targets), each [rows, length], over the documents in order, at most tokens_max tokens."""
    ids = np.concatenate(documents.ids)[:tokens_max]
    targets = np.where(np.concatenate(documents.learned)[:tokens_max], ids, NOT_LEARNED)
    count = (len(ids) - 1) // length
    return (ids[:count * length].reshape(count, length),
            targets[1:count * length + 1].reshape(count, length))
