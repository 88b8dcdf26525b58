"""WordNet 3.0 as its database files give it (wndb(5WN)): synsets, and each word's most used sense."""
import re
from collections import namedtuple
from pathlib import Path

DATABASE = Path("usr/share/wordnet")
FILES = ("noun", "verb", "adj", "adv")
LETTERS = {"n": "noun", "v": "verb", "a": "adj", "s": "adj", "r": "adv"}

# words: lemmas with spaces. examples: quoted uses. relations: [(symbol, part of speech, offset)].
Synset = namedtuple("Synset", "part field words definition examples relations")
# count: how often the word was met with this sense in the tagged texts.
Sense = namedtuple("Sense", "word part synset count")


def plain(word):
    return re.sub(r"\((a|p|ip)\)$", "", word).replace("_", " ")


def parse_synset(part, line):
    head, gloss = line.split(" | ", 1)
    fields = head.split()
    word_count = int(fields[3], 16)
    words = [plain(fields[4 + 2 * i]) for i in range(word_count)]
    at = 4 + 2 * word_count
    relations = []
    for i in range(int(fields[at])):
        symbol, offset, letter = fields[at + 1 + 4 * i:at + 4 + 4 * i]
        relations.append((symbol, LETTERS[letter], offset))
    examples = [text.strip(" ;,") for text in re.findall(r'"([^"]+)"', gloss)]
    definition = re.sub(r'[;,:]?\s*"[^"]*"?.*', "", gloss.strip()).strip(" ;:,")
    return fields[0], Synset(part, int(fields[1]), words, definition, examples, relations)


class WordNet:
    def __init__(self, package_root=Path("/")):
        root = package_root / DATABASE
        self.synsets = {}
        self.senses = {}
        for part in FILES:
            for line in (root / f"data.{part}").read_text().splitlines():
                if not line.startswith("  "):
                    offset, synset = parse_synset(part, line)
                    self.synsets[part, offset] = synset
        counts = self.sense_counts(root)
        for part in FILES:
            for line in (root / f"index.{part}").read_text().splitlines():
                if not line.startswith("  "):
                    self.add_sense(part, line.split(), counts)

    @staticmethod
    def sense_counts(root):
        counts = {}
        for line in (root / "cntlist.rev").read_text().splitlines():
            key, number, count = line.split()
            lemma, rest = key.split("%", 1)
            part = {"1": "noun", "2": "verb", "3": "adj", "5": "adj", "4": "adv"}[rest[0]]
            if number == "1":
                counts[lemma, part] = max(counts.get((lemma, part), 0), int(count))
        return counts

    def add_sense(self, part, fields, counts):
        offset = fields[-int(fields[2])]
        synset = self.synsets[part, offset]
        lemma = plain(fields[0])
        word = next((word for word in synset.words if word.lower() == lemma), lemma)
        self.senses[part, lemma] = Sense(word, part, synset, counts.get((fields[0], part), 0))

    def related(self, synset, symbol):
        """The first words of the synsets that `symbol` (@ kind of, ~ kinds, ! opposite) points to."""
        return [self.synsets[part, offset].words[0]
                for mark, part, offset in synset.relations if mark == symbol]
