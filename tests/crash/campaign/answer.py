"""One answer as its client has it: for each choice its text, its scores and how it ended.

The same from a stream's events, in whatever pieces they came, and from an answer that came whole.
"""

import dataclasses


@dataclasses.dataclass
class Choice:
    text: str = ""
    scores: list = dataclasses.field(default_factory=list)  # a pair for each token: its text, its logprob
    finish_reason: str = ""


def scores_of(logprobs):
    if not logprobs:
        return []
    if "content" in logprobs:
        return [(one["token"], one["logprob"]) for one in logprobs["content"] or []]
    return list(zip(logprobs["tokens"], logprobs["token_logprobs"]))


class Answer:
    def __init__(self, choices):
        self.choices = [Choice() for _ in range(choices)]

    def add(self, told):
        """A choice of a stream's event, or of a whole answer."""
        choice = self.choices[told["index"]]
        if choice.finish_reason:
            raise ValueError(f"choice {told['index']} goes on after its end")
        part = told.get("delta") or told.get("message") or {"content": told.get("text")}
        choice.text += part.get("content") or ""
        choice.scores += scores_of(told.get("logprobs"))
        choice.finish_reason = told.get("finish_reason") or ""

    @property
    def whole(self):
        return all(choice.finish_reason for choice in self.choices)


def differences(expected, answer):
    """What differs, a sentence for each choice; of a choice that has not ended, what it has so far counts."""
    found = []
    for index, (want, have) in enumerate(zip(expected.choices, answer.choices)):
        over = bool(have.finish_reason)
        for name in ("text", "scores"):
            wanted, had = getattr(want, name), getattr(have, name)
            if had == wanted or (not over and had == wanted[:len(had)]):
                continue
            at = next((i for i, (a, b) in enumerate(zip(wanted, had)) if a != b), min(len(wanted), len(had)))
            found.append(f"choice {index}: {name} differ from {at} of {len(wanted)} on: "
                         f"{wanted[at:at + 30]!r} became {had[at:at + 30]!r} ({len(had)} in all)")
        if over and have.finish_reason != want.finish_reason:
            found.append(f"choice {index}: {want.finish_reason} became {have.finish_reason}")
    return found
