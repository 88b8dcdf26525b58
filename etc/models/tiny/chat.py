"""Conversations in ChatML: a user asks about a word, wants a story or says hello; the assistant answers."""
import math

from smalltalk import SMALLTALK, SYSTEMS
from stories import ANIMALS, KINDS, article, story

START, END = "<|im_start|>", "<|im_end|>"
SMALLTALK_ROUNDS = 45
STORIES = 5000
RARE_KEPT = 0.12


def render(turns):
    return "".join(f"{START}{role}\n{text}{END}\n" for role, text in turns)


def sentence(text):
    text = text.strip()
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def short(definition):
    """The definition without brackets and, when it is long, without what follows its first semicolon."""
    while "(" in definition and ")" in definition[definition.index("("):]:
        start = definition.index("(")
        definition = definition[:start] + definition[definition.index(")", start) + 1:]
    definition = " ".join(definition.split())
    return definition.split(";")[0].strip(" ,") if len(definition) > 100 else definition


def listing(words):
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def named(sense):
    """The word as a noun phrase: "a dog", "water", "Paris"."""
    word = sense.word
    counted = short(sense.synset.definition).startswith(("a ", "an ", "the ", "any ", "one "))
    return article(word) if counted and not word[0].isupper() else word


def meaning(dice, sense):
    definition = short(sense.synset.definition)
    if sense.part == "noun":
        ask = [f"What is {named(sense)}?", f"What is {sense.word}?", f"Tell me about {sense.word}.",
               f"what is {named(sense)}", f"What does {sense.word} mean?", f"Define {sense.word}.",
               f"Explain {sense.word}."]
        answer = f"{named(sense)} is {definition}"
    elif sense.part == "verb":
        ask = [f"What does it mean to {sense.word}?", f"What does {sense.word} mean?",
               f"Define {sense.word}."]
        answer = f"to {sense.word} means to {definition}"
    else:
        ask = [f"What does {sense.word} mean?", f"What is the meaning of {sense.word}?",
               f"Define {sense.word}."]
        answer = f"{sense.word} means {definition}"
    answer = sentence(answer)
    if sense.synset.examples and dice.random() < 0.5:
        answer += f" For example: {sentence(dice.choice(sense.synset.examples))}"
    return dice.choice(ask), answer


def use(dice, sense, wordnet):
    uses = [text for text in sense.synset.examples if sense.word in text]
    ask = [f"Use {sense.word} in a sentence.", f"Use the word {sense.word} in a sentence.",
           f"Write a sentence with {sense.word}.", f"Give me an example of {sense.word}."]
    return (dice.choice(ask), sentence(dice.choice(uses))) if uses else None


def same(dice, sense, wordnet):
    others = [word for word in sense.synset.words if word != sense.word][:3]
    ask = [f"What is another word for {sense.word}?", f"Give me a synonym of {sense.word}."]
    return (dice.choice(ask), f"Another word for {sense.word} is {dice.choice(others)}.") if others else None


def opposite(dice, sense, wordnet):
    others = wordnet.related(sense.synset, "!")
    ask = [f"What is the opposite of {sense.word}?", f"Opposite of {sense.word}?"]
    return (dice.choice(ask), f"The opposite of {sense.word} is {others[0]}.") if others else None


def kinds(dice, sense, wordnet):
    below = sorted({word for word in wordnet.related(sense.synset, "~") if len(word) < 16})
    if sense.part != "noun" or len(below) < 3:
        return None
    some = dice.sample(below, min(len(below), 4))
    return (f"What kinds of {sense.word} are there?", f"Some kinds of {sense.word} are {listing(some)}.")


def above(dice, sense, wordnet):
    parents = wordnet.related(sense.synset, "@")
    if sense.part != "noun" or not parents or sense.word[0].isupper():
        return None
    ask = [f"What kind of thing is {named(sense)}?", f"Is {named(sense)} a kind of {parents[0]}?"]
    return (dice.choice(ask), sentence(f"{named(sense)} is a kind of {parents[0]}"))


def word_conversations(dice, wordnet):
    """(id of the document, turns): more for the words used more often; few for the rare ones."""
    for (part, lemma), sense in wordnet.senses.items():
        if not sense.count:
            rare = sense.synset.definition.startswith(("genus", "type genus", "a genus", "any of "))
            if not rare and dice.random() < RARE_KEPT:
                yield f"word {part} {lemma}", exchange(*meaning(dice, sense))
            continue
        for _ in range(1 + int(math.log2(1 + sense.count) / 1.5)):
            turns = exchange(*meaning(dice, sense))
            for maker in (use, same, opposite, kinds, above):
                pair = maker(dice, sense, wordnet) if dice.random() < 0.4 else None
                if pair:
                    turns = turns + exchange(*pair) if dice.random() < 0.5 else exchange(*pair) + turns
            yield f"word {part} {lemma}", turns[:6]


def exchange(question, answer):
    return [("user", question), ("assistant", answer)]


def small_conversations(dice):
    pairs = [(ask, answers) for asks, answers in SMALLTALK for ask in asks]
    for _ in range(SMALLTALK_ROUNDS):
        for ask, answers in pairs:
            turns = exchange(ask, dice.choice(answers[:1] + answers))
            if dice.random() < 0.25:
                other, replies = dice.choice(pairs)
                turns += exchange(other, dice.choice(replies))
            yield "smalltalk", turns


def story_conversations(dice):
    for number in range(STORIES):
        about = dice.choice(ANIMALS + KINDS) if dice.random() < 0.6 else None
        subject = f" about {article(about)}" if about else ""
        ask = dice.choice(["Tell me a story{}.", "Tell me a story{}", "Write a short story{}.",
                           "Write a story{}.", "Can you tell me a story{}?", "I want a story{}.",
                           "Please tell me a short story{}."])
        yield f"story {number}", exchange(ask.format(subject), story(dice, about))


def conversations(dice, wordnet):
    for makers in (small_conversations(dice), story_conversations(dice), word_conversations(dice, wordnet)):
        for name, turns in makers:
            if dice.random() < 0.15:
                turns = [("system", dice.choice(SYSTEMS))] + turns
            yield name, render(turns)
