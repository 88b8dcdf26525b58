"""Facts with the ways to ask for them: from definitions.txt, questions.txt, WordNet and facts.py."""
from collections import namedtuple
from pathlib import Path

import facts as tables
from chat import listing, sentence, short
from stories import article

HERE = Path(__file__).parent
WORDNET_COUNT_MIN, WORDNET_CHARACTERS_MAX = 20, 60

# asks: ways to ask, the first never held out. word: the Word of a definition, else None.
Fact = namedtuple("Fact", "asks answers word", defaults=(None,))


def plural(word):
    if word.endswith(("s", "x", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


class Word(namedtuple("Word", "word plural kind named meaning")):
    """named: the word as a phrase, "a dog", "water", "to walk"."""

    @property
    def is_noun(self):
        return self.kind not in ("verb", "adjective")

    @property
    def answer(self):
        if self.kind == "verb":
            return f"To {self.word} means to {self.meaning}."
        return sentence(f"{self.named} {'is' if self.is_noun else 'means'} {self.meaning}")

    def spelled(self):
        return f"The word {self.word} is spelled {'-'.join(self.word.upper())}."

    def fact(self, taken=()):
        """taken: ways to ask that another fact answers."""
        word, named = self.word, self.named
        asks = [f"What does {word} mean?", f"Define {word}.", f"What is the meaning of {word}?",
                f"Define the word {word}.", f"What does the word {word} mean?", f"Explain the word {word}.",
                f"Give me a definition of {word}.", f"What is the definition of {word}?"]
        if self.kind == "verb":
            asks = [f"What does it mean to {word}?", f"What does to {word} mean?"] + asks
        elif self.is_noun:
            asks = [f"What is {named}?"] * 3 + [
                f"What is {word}?", f"Tell me about {self.plural}.", f"What are {self.plural}?",
                f"Tell me what {named} is.", f"Can you tell me what {named} is?", f"Explain what {named} is.",
                f"Describe {named}.", f"Do you know what {named} is?", f"I want to know what {named} is.",
                f"Could you explain what {named} is?", f"Please explain {self.plural} to me.",
                f"Explain to a child what {named} is.", f"How would you describe {named}?",
                f"In one sentence, what is {named}?", f"Tell me something about {self.plural}.",
                f"What do you know about {self.plural}?"] + asks
        return Fact([ask for ask in asks if ask not in taken], [self.answer], self)


def definitions():
    words, kind = [], None
    for line in (HERE / "definitions.txt").read_text().splitlines():
        if line.startswith("["):
            kind = line.strip("[]")
        elif not line.startswith("#"):
            head, meaning = line.split(": ", 1)
            word, _, many = head.lstrip("~").partition("/")
            mass = head.startswith("~") or kind in ("verb", "adjective") or many == word == "scissors"
            named = word if mass else article(word)
            named = {"hour": "an hour", "universe": "the universe", "scissors": "a pair of scissors",
                     "sun": "the sun", "moon": "the moon", "sky": "the sky", "world": "the world"}.get(word,
                                                                                                       named)
            words.append(Word(word, word if mass else many or plural(word), kind, named, meaning))
    return words


def definition_facts(words, questions):
    """The questions of questions.txt come first, then the nouns: "What does love mean?" has one answer."""
    taken = {ask for fact in questions for ask in fact.asks}
    found = []
    for word in sorted(words, key=lambda word: not word.is_noun):
        found.append(word.fact(taken))
        taken.update(found[-1].asks)
    return [fact for fact in found if fact.asks]


def question_file():
    found = []
    for line in (HERE / "questions.txt").read_text().splitlines():
        if line.startswith("? "):
            found.append(Fact(line[2:].split(" | "), []))
        elif line.startswith("= "):
            found[-1].answers.append(line[2:].replace("\\n", "\n"))
    assert all(fact.answers for fact in found)
    return found


def wordnet_words(wordnet, known):
    """The words that are used often, are not in `known` and have a short definition."""
    found = []
    for (part, lemma), sense in sorted(wordnet.senses.items()):
        meaning = short(sense.synset.definition).split(";")[0]
        if (sense.count < WORDNET_COUNT_MIN or lemma in known or len(meaning) > WORDNET_CHARACTERS_MAX
                or part == "adv" or not lemma.isalpha() or not meaning or lemma in meaning.split()):
            continue
        counted = meaning.startswith(("a ", "an ", "the ", "any ", "one ")) and not sense.word[0].isupper()
        kind = {"noun": "thing", "verb": "verb", "adj": "adjective"}[part]
        named = article(sense.word) if part == "noun" and counted else sense.word
        many = plural(sense.word) if part == "noun" and counted else sense.word
        fact = Word(sense.word, many, kind, named, meaning).fact()
        found.append(Fact(fact.asks[-8:] + fact.asks[:3], fact.answers))
    return found


def capital(words):
    for country, city in tables.CAPITALS.items():
        yield Fact([f"What is the capital of {country}?", f"Capital of {country}?",
                    f"Which city is the capital of {country}?", f"Tell me the capital of {country}.",
                    f"What is the capital city of {country}?", f"Name the capital of {country}.",
                    f"Do you know the capital of {country}?", f"What's the capital of {country}?",
                    f"Can you tell me the capital of {country}?"], [f"The capital of {country} is {city}."])
        if city != country:
            yield Fact([f"{city} is the capital of which country?",
                        f"Of which country is {city} the capital?",
                        f"What country is {city} the capital of?"],
                       [f"{city} is the capital of {country}."])
        yield Fact([f"What is the capital of {country}? Answer with one word.",
                    f"Answer in one word: what is the capital of {country}?"], [f"{city}."])


def geography(words):
    for continent, countries in tables.CONTINENTS.items():
        for country in countries.split(","):
            yield Fact([f"Where is {country}?", f"On which continent is {country}?",
                        f"Which continent is {country} in?", f"In which part of the world is {country}?"],
                       [f"{sentence(country)[:-1]} is in {continent}."])
    for country, language in tables.LANGUAGES.items():
        yield Fact([f"What language do people speak in {country}?", f"Which language is spoken in {country}?",
                    f"What do people speak in {country}?"], [f"People in {country} speak {language}."])


def pairs(words):
    for word, other in tables.OPPOSITES.items():
        yield Fact([f"What is the opposite of {word}?", f"Opposite of {word}?",
                    f"Tell me the opposite of {word}.", f"What's the opposite of {word}?",
                    f"Which word is the opposite of {word}?", f"Give me the opposite of {word}.",
                    f"What is the antonym of {word}?"], [f"The opposite of {word} is {other}."])
    for word, other in tables.SYNONYMS.items():
        yield Fact([f"What is another word for {word}?", f"Give me a synonym of {word}.",
                    f"What is a synonym for {word}?", f"Another word for {word}?",
                    f"Which word means the same as {word}?"], [f"Another word for {word} is {other}."])
    for word, other in tables.PAST.items():
        yield Fact([f"What is the past tense of {word}?", f"Past tense of {word}?",
                    f"What is the past of {word}?", f"Tell me the past tense of {word}."],
                   [f"The past tense of {word} is {other}."])
    for word, other in tables.RHYMES.items():
        yield Fact([f"What rhymes with {word}?", f"Which word rhymes with {word}?",
                    f"Give me a word that rhymes with {word}.", f"Find a rhyme for {word}."],
                   [f"A word that rhymes with {word} is {other}."])


def forms(words):
    for word in words:
        if word.is_noun and word.plural != word.word:
            yield Fact([f"What is the plural of {word.word}?", f"Plural of {word.word}?",
                        f"Tell me the plural of {word.word}."],
                       [f"The plural of {word.word} is {word.plural}."])
        if len(word.word) < 8 and word.word.isalpha():
            yield Fact([f"How do you spell {word.word}?", f"Spell {word.word}.",
                        f"Spell the word {word.word}."], [word.spelled()])


def animals(words):
    for thing, colour in tables.COLOURS.items():
        yield Fact([f"What colour is {thing}?", f"Which colour is {thing}?",
                    f"What is the colour of {thing}?",
                    f"Tell me the colour of {thing}."], [sentence(f"{thing} is {colour}")])
    for animal, count in tables.LEGS.items():
        yield Fact([f"How many legs does {article(animal)} have?", f"How many legs has {article(animal)}?",
                    f"How many legs are on {article(animal)}?"],
                   [sentence(f"{article(animal)} has {count} legs")])
    for animal, sound in tables.SOUNDS.items():
        yield Fact([f"What sound does {article(animal)} make?", f"What does {article(animal)} say?",
                    f"Which noise does {article(animal)} make?"], [sentence(f"{article(animal)} {sound}")])
    for animal, young in tables.YOUNG.items():
        yield Fact([f"What is a young {animal} called?", f"What is a baby {animal} called?",
                    f"What do you call a young {animal}?"], [f"A young {animal} is called {article(young)}."])
    for animal, home in tables.HOMES.items():
        yield Fact([f"Where does {article(animal)} live?", f"Where do {plural(animal)} live?",
                    f"What is the home of {article(animal)}?"],
                   [sentence(f"{article(animal)} lives in {home}")])
    for animal, food in tables.FOODS.items():
        yield Fact([f"What does {article(animal)} eat?", f"What do {plural(animal)} eat?",
                    f"What should {article(animal)} eat?"], [sentence(f"{article(animal)} eats {food}")])


def lists(words):
    for name, members in tables.LISTS.items():
        yield Fact([f"What are the {name}?", f"Name the {name}.", f"List the {name}.",
                    f"Tell me the {name}.", f"Which are the {name}?", f"Can you name the {name}?"],
                   [f"The {name} are {members}."])
    for name, members in tables.ORDERED.items():
        members = members.split()
        for first, second in zip(members, members[1:] + members[:1]):
            yield Fact([f"What {name} comes after {first}?", f"What comes after {first}?",
                        f"Which {name} follows {first}?"], [f"{sentence(second)[:-1]} comes after {first}."])
            yield Fact([f"What {name} comes before {second}?", f"What comes before {second}?"],
                       [f"{sentence(first)[:-1]} comes before {second}."])
    for first, second in zip(tables.ALPHABET, tables.ALPHABET[1:]):
        yield Fact([f"What letter comes after {first}?", f"Which letter follows {first}?"],
                   [f"The letter {second} comes after {first}."])
    for line in tables.SENTENCES:
        text, word = line.split("|")
        yield Fact([f"Use the word {word} in a sentence.", f"Use {word} in a sentence.",
                    f"Write a sentence with {word}.", f"Make a sentence with the word {word}.",
                    f"Write a sentence about {word}.", f"Give me a sentence with the word {word}."], [text])


def kinds(words):
    for word in words:
        if word.is_noun and not word.kind.startswith(("thing", "idea", "time")):
            kind = article(word.kind) if word.kind not in ("furniture",
                                                           "clothing") else "a piece of " + word.kind
            yield Fact([f"What kind of thing is {word.named}?", f"Is {word.named} a thing or an idea?"][:1],
                       [sentence(f"{word.named} is {kind}")])
            yield Fact([f"Is {word.named} {kind}?"], [f"Yes, {word.named} is {kind}."])


TABLES = [capital, geography, pairs, animals, lists]
FORMS = [forms, kinds]
