"""Writes instruct.jsonl or polish.jsonl, the same bytes every time: chats of one to three turns with short
answers in plain English.

A fact has several ways to ask for it and few answers. One way in fifty, but never a fact's first, is held
out: all chats with it go to the held-out side, so that their loss tells how well other words are understood.
"""
import argparse
import json
import random
import zlib
from collections import Counter, namedtuple
from pathlib import Path

from chat import render
from exercises import EXERCISES, names
from knowledge import FORMS, TABLES, definition_facts, definitions, question_file, wordnet_words
from stories import ANIMALS, KINDS, article, story
from verses import poem
from wordnet import WordNet

HELD_OUT_PER_MILLE = 20
SECOND_TURN, THIRD_TURN, SYSTEM_TURN = 0.35, 0.4, 0.12
# The first of questions.txt are greetings and questions about the model itself: the kind "self".
SELF_QUESTIONS, WHO_ARE_YOU, WHO_ARE_YOU_TIMES = 23, 5, 5
# weights: how often each kind of fact begins a chat or goes on with it. named: the share of the system
# messages that give the model another name.
Mixture = namedtuple("Mixture", "conversations seed named weights")
MIXTURES = {
    "instruct": Mixture(250_000, 1, 0.15, {
        "question": 24, "definition": 26, "wordnet": 6, "table": 19, "form": 6, "exercise": 16, "story": 4,
        "poem": 2, "unknown": 3}),
    "polish": Mixture(20_000, 2, 0.02, {
        "question": 20, "definition": 24, "wordnet": 3, "table": 17, "form": 3, "exercise": 24, "story": 4,
        "poem": 2, "unknown": 3, "self": 12})}
SYSTEMS = ["You are a helpful assistant.", "You are tiny, a small model.", "You are a friendly assistant.",
           "You are a helpful assistant. Be brief.", "Answer in English.", "You are a helpful AI assistant.",
           "You are tiny, the model that comes with deepserve.", "Be polite.", "Answer in plain English."]
BEFORE = ["Hi! ", "Hello! ", "Hello, ", "Please tell me: ", "I have a question. ", "Question: ", "Hey, ",
          "Quick question: ", "Can you help me? ", "Now tell me: "]
AFTER = [" Please.", " Thank you.", " Thanks!", " Answer in one sentence.", " Please be brief.",
         " I would like to know.", " Explain it simply.", " Answer in plain English."]

MORE_HEROES = ["robot", "dragon", "princess", "prince", "pirate", "knight", "witch", "giant", "wizard",
               "child",
               "monkey", "elephant", "tiger", "penguin", "hero", "detective", "hunter", "cook", "pilot",
               "fairy",
               "computer", "snowman", "clown", "ghost", "turtle", "squirrel", "man", "woman", "baby", "tree"]

Turn = namedtuple("Turn", "ask answer key")


def held_out(key):
    return zlib.crc32(key.encode()) % 1000 < HELD_OUT_PER_MILLE


def dressed(dice, ask):
    """The question as different people type it."""
    if len(ask) > 14:
        if dice.random() < 0.08:
            before = dice.choice(BEFORE)
            ask = before + (ask[0].lower() + ask[1:] if before[-2] in ",:" and ask[:2] != "I " else ask)
        elif dice.random() < 0.08:
            ask += dice.choice(AFTER)
    for long, brief in (("What is ", "What's "), ("colour", "color"), ("I am ", "I'm "), ("cannot", "can't")):
        if long in ask and dice.random() < 0.15:
            ask = ask.replace(long, brief)
    if dice.random() < 0.15:
        ask = ask.rstrip(".?!") or ask
    if dice.random() < 0.15:
        ask = ask.lower()
    if dice.random() < 0.03 and len(ask) > 8:
        at = dice.randrange(2, len(ask) - 2)
        ask = ask[:at] + ask[at + 1] + ask[at] + ask[at + 2:]
    return ask


def of_fact(dice, fact):
    number = dice.randrange(len(fact.asks))
    key = "" if number == 0 else f"{fact.asks[0]} {fact.asks[number]}"
    return Turn(dressed(dice, fact.asks[number]), dice.choice(fact.answers), key)


def of_story(dice):
    about = dice.choice(ANIMALS + KINDS + MORE_HEROES) if dice.random() < 0.75 else None
    subject = f" about {article(about)}" if about else ""
    ask = dice.choice(["Tell me a story{}.", "Write a short story{}.", "Write a story{}.", "Tell a story{}.",
                       "Can you tell me a story{}?", "I want to hear a story{}.", "Story{}, please.",
                       "Please tell me a short story{}.", "Make up a story{}.", "I want a story{}."])
    return Turn(dressed(dice, ask.format(subject)), story(dice, about), "")


class Source:
    """Turns by kind; the facts of a kind come in turn, each epoch in a new order."""

    def __init__(self, dice, package_root, name, weights):
        self.dice, self.name, self.weights = dice, name, weights
        words = definitions()
        known = {word.word for word in words}
        questions = question_file()
        self.facts = {"question": questions, "definition": definition_facts(words, questions),
                      "wordnet": wordnet_words(WordNet(package_root), known),
                      "table": [fact for make in TABLES for fact in make(words)],
                      "form": [fact for make in FORMS for fact in make(words)],
                      "self": questions[:SELF_QUESTIONS] + [questions[WHO_ARE_YOU]] * WHO_ARE_YOU_TIMES}
        self.orders = {kind: [] for kind in self.facts}
        self.words = words

    def fact(self, kind):
        if not self.orders[kind]:
            self.orders[kind] = self.dice.sample(self.facts[kind], len(self.facts[kind]))
        return self.orders[kind].pop()

    def turns(self, kind):
        """One turn, or several that belong together."""
        dice = self.dice
        if kind in ("exercise", "unknown"):
            pairs = dice.choice(EXERCISES[kind])(dice)
            return [Turn(dressed(dice, ask) if kind == "unknown" else ask, answer, "")
                    for ask, answer in pairs]
        if kind == "story":
            return [of_story(dice)]
        if kind == "poem":
            ask, answer = poem(dice)
            return [Turn(dressed(dice, ask), answer, "")]
        fact = self.fact(kind)
        turn = of_fact(dice, fact)
        if kind == "definition" and dice.random() < 0.3:
            return [turn, self.follow_up(fact)]
        return [turn]

    def follow_up(self, fact):
        """A second turn that only the first one explains."""
        dice, word = self.dice, fact.word
        other = dice.choice([one for one in self.words if one.kind == word.kind and one != word])
        wrong = dice.choice([one for one in self.words if one.kind != word.kind]).kind
        choices = [(dice.choice(["And {}?", "What about {}?", "What is {}, then?"]).format(other.named),
                    other.answer),
                   (dice.choice(["Spell it.", "How do you spell it?", "Can you spell it?"]), word.spelled()),
                   (dice.choice(["Tell me more.", "What else?", "Tell me more about it.", "Go on."]),
                    "That is all I know about it. I am a very small model.")]
        if word.is_noun and not word.kind.startswith(("thing", "idea", "time")):
            choices += [(f"Is it {article(word.kind)}?", f"Yes, {word.named} is {article(word.kind)}."),
                        (f"Is it {article(wrong)}?",
                         f"No, {word.named} is not {article(wrong)}. It is {article(word.kind)}.")]
        ask, answer = dice.choice(choices)
        return Turn(ask, answer, "")

    def conversation(self):
        dice, kinds, weights = self.dice, list(self.weights), list(self.weights.values())
        turns = self.turns(dice.choices(kinds, weights)[0])
        if len(turns) == 1 and dice.random() < SECOND_TURN:
            turns = turns + (self.about_the_chat(turns[0]) if dice.random() < 0.25 else
                             self.turns(dice.choices(kinds, weights)[0]))
            if len(turns) == 2 and dice.random() < THIRD_TURN:
                turns += self.turns("question" if dice.random() < 0.5 else "definition")
        return turns

    def about_the_chat(self, turn):
        dice = self.dice
        return [dice.choice([
            Turn(dice.choice(["What did I ask?", "What was my question?", "What did I just say?"]),
                 f"You said: {turn.ask}", ""),
            Turn(dice.choice(["Say that again.", "Repeat that.", "Repeat your answer.",
                              "Once more, please."]),
                 turn.answer, ""),
            Turn(dressed(dice, dice.choice(["Thank you!", "Thanks.", "Thank you very much."])),
                 "You are welcome!", "")])]


def records(dice, source, mixture):
    for number in range(mixture.conversations):
        turns = source.conversation()
        messages = [message for turn in turns
                    for message in (("user", turn.ask), ("assistant", turn.answer))]
        if dice.random() < SYSTEM_TURN:
            if dice.random() < mixture.named:
                name = dice.choice(names())
                system, ask = f"Your name is {name}.", dice.choice(["What is your name?", "Who are you?"])
                messages = [("user", ask), ("assistant", f"My name is {name}.")] + messages
            else:
                system = dice.choice(SYSTEMS)
            messages = [("system", system)] + messages
        apart = any(turn.key and held_out(turn.key) for turn in turns)
        yield {"source": source.name, "name": f"chat {number}", "text": render(messages), "held_out": apart}


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("work", type=Path, help="folder for MIXTURE.jsonl")
    arguments.add_argument("mixture", choices=MIXTURES)
    arguments.add_argument("--package-root", type=Path, default=Path("/"), help="where the packages lie")
    given = arguments.parse_args()
    mixture = MIXTURES[given.mixture]
    dice = random.Random(mixture.seed)
    source = Source(dice, given.package_root, given.mixture, mixture.weights)
    sizes, counts = Counter(), Counter()
    with open(given.work / f"{given.mixture}.jsonl", "w", encoding="utf-8") as file:
        for record in records(dice, source, mixture):
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            sizes[record["held_out"]] += len(record["text"].encode())
            counts[record["held_out"]] += 1
    print({kind: len(facts) for kind, facts in source.facts.items()})
    for apart in sizes:
        print(f"{'held out' if apart else 'training':10} {counts[apart]} chats {sizes[apart]} bytes")


if __name__ == "__main__":
    main()
