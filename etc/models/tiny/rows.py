"""Training rows: documents as token ids, shuffled and packed to one length, the same for the same seed."""
import json

import numpy as np
from tokenizers import Tokenizer

END_OF_TEXT = "<|endoftext|>"


class Documents:
    """The encoded documents of one kind. Each ends with <|endoftext|>."""

    def __init__(self, texts, tokenizer):
        end = tokenizer.token_to_id(END_OF_TEXT)
        self.bytes = sum(len(text.encode()) for text in texts)
        self.ids = [np.array(encoding.ids + [end], dtype=np.int64)
                    for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]

    def tokens(self):
        return sum(len(ids) for ids in self.ids)


def load(work):
    """{(kind, held out): Documents}; kind is "chat" or "prose"."""
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    texts = {(kind, apart): [] for kind in ("prose", "chat") for apart in (False, True)}
    with open(work / "corpus.jsonl", encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            kind = "chat" if record["source"] == "chat" else "prose"
            texts[kind, record["held_out"]].append(record["text"])
    return {key: Documents(value, tokenizer) for key, value in texts.items()}


class Packer:
    """Endless rows: every epoch in a new order. A row of chat begins at a conversation's first token; a long
    document of prose goes on in the next row."""

    def __init__(self, documents, goes_on, seed):
        self.documents, self.goes_on = documents.ids, goes_on
        self.dice = np.random.default_rng(seed)
        self.order, self.rest = [], np.empty(0, np.int64)

    def row(self, length):
        parts, filled = [self.rest], len(self.rest)
        while filled < length:
            if not self.order:
                self.order = list(self.dice.permutation(len(self.documents)))
            ids = self.documents[self.order.pop()]
            parts.append(ids)
            filled += len(ids)
        joined = np.concatenate(parts)
        self.rest = joined[length - 1:] if self.goes_on else np.empty(0, np.int64)
        return joined[:length]


class Batches:
    """[rows, length + 1] token ids; a share of the rows is chat, the rest prose."""

    def __init__(self, documents, chat_share, seed):
        self.prose = Packer(documents["prose", False], True, [seed, 1])
        self.chat = Packer(documents["chat", False], False, [seed, 2])
        self.chat_share = chat_share

    def batch(self, rows, length):
        chat = round(rows * self.chat_share)
        return np.stack([self.chat.row(length + 1) for _ in range(chat)]
                        + [self.prose.row(length + 1) for _ in range(rows - chat)])


def held_out_rows(documents, length, tokens_max):
    """Rows over the held-out documents in their order, at most tokens_max tokens."""
    joined = np.concatenate(documents.ids)[:tokens_max]
    count = (len(joined) - 1) // length
    return np.stack([joined[i * length:i * length + length + 1] for i in range(count)])
