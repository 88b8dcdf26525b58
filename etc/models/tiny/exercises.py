"""Turns whose answer follows from the question: sums, lists, copying, rewriting; and what nobody knows.

Each maker takes a random.Random and returns [(question, answer)], the turns of one chat in order.
"""
import facts as tables
from chat import listing
from knowledge import definitions, plural
from stories import NAMES, article

WORDS = definitions()
KINDS = {"animal": "animals", "fruit": "fruits", "vegetable": "vegetables", "drink": "drinks",
         "tool": "tools",
         "vehicle": "vehicles", "building": "buildings", "part of the body": "parts of the body",
         "feeling": "feelings", "plant": "plants", "machine": "machines", "place": "places",
         "material": "materials"}
# (base, past, third person, object)
ACTIONS = [part.split(",") for part in (
    "read,read,reads,a book;write,wrote,writes,a letter;eat,ate,eats,an apple;drink,drank,drinks,some milk;"
    "see,saw,sees,the moon;buy,bought,buys,some bread;sing,sang,sings,a song;play,played,plays,the piano;"
    "open,opened,opens,the door;close,closed,closes,the window;find,found,finds,the key;"
    "lose,lost,loses,a shoe;like,liked,likes,the cat;love,loved,loves,the sea;build,built,builds,a house;"
    "make,made,makes,a cake;draw,drew,draws,a picture;wash,washed,washes,the car;help,helped,helps,a friend;"
    "tell,told,tells,a story;ride,rode,rides,a horse;clean,cleaned,cleans,the room;"
    "cook,cooked,cooks,the soup;"
    "catch,caught,catches,a fish;sell,sold,sells,the boat;break,broke,breaks,a cup").split(";")]
SYLLABLES = ("bla bor cra dru fen gli hob jum kra lur mip nor pliv quo rus sno tref vun wib yar zog "
             "zel").split()


def names():
    return [name for name, _ in NAMES] + ["Bob", "Eva", "Jim", "Nina", "Oscar", "Lena", "Hugo", "Maria",
                                          "John"]


def members():
    """{(one, many): words} for every kind that has members."""
    found = {(one, many): [word.word for word in WORDS if word.kind == one] for one, many in KINDS.items()}
    for kind, words in tables.MEMBERS.items():
        found[tuple(kind.split("/"))] = words.split()
    return found


MEMBERS = members()


def sums(dice):
    first, second = dice.randrange(21), dice.randrange(21)
    sign = dice.choice("++++--x")
    if sign == "-" and second > first:
        first, second = second, first
    if sign == "x":
        first, second = first % 11, second % 11
    word, result = {"+": ("plus", first + second), "-": ("minus", first - second),
                    "x": ("times", first * second)}[sign]
    brief = dice.choice([f"{first} {sign} {second}", f"{first}{sign}{second}"]).replace("x",
                                                                                        dice.choice("x*"))
    ask = dice.choice(["What is {}?", "How much is {}?", "What's {}?", "what is {}", "Calculate {}.",
                       "Compute {}.", "Can you tell me what {} is?", "{}", "{}?", "{} ="]).format(
                           dice.choice([brief, f"{first} {word} {second}"]))
    if dice.random() < 0.15 and max(first, second) < 21 and sign != "x":
        ask = f"What is {tables.NUMBERS[first]} {word} {tables.NUMBERS[second]}?"
    return [(ask, f"{first} {word} {second} is {result}.")]


def apples(dice):
    first, second = dice.randrange(1, 10), dice.randrange(1, 10)
    thing = plural(dice.choice(["apple", "pear", "book", "ball", "coin", "egg", "flower", "cat", "key",
                                "cup"]))
    if dice.random() < 0.5:
        ask = dice.choice([f"I have {first} {thing} and I get {second} more.",
                           f"I have {first} {thing} and buy {second} more."])
        return [(f"{ask} How many {thing} do I have?", f"You have {first + second} {thing}.")]
    first += second
    ask = dice.choice([f"I have {first} {thing} and I lose {second}.",
                       f"I have {first} {thing} and give away {second}."])
    return [(f"{ask} How many {thing} do I have?", f"You have {first - second} {thing}.")]


def larger(dice):
    first, second = dice.sample(range(100), 2)
    big = dice.random() < 0.5
    ask = dice.choice(["Which is {}, {} or {}?", "What is {}, {} or {}?", "Which number is {}, {} or {}?"])
    return [(ask.format("larger" if big else "smaller", first, second),
             f"{max(first, second) if big else min(first, second)} is {'larger' if big else 'smaller'}.")]


def after(dice):
    number = dice.randrange(1, 100)
    return [dice.choice([(f"What number comes after {number}?", f"{number + 1} comes after {number}."),
                         (f"What number comes before {number}?", f"{number - 1} comes before {number}."),
                         (f"Is {number} even or odd?",
                          f"{number} is {'odd' if number % 2 else 'even'}.")])]


def name_some(dice):
    (one, many), words = dice.choice(list(MEMBERS.items()))
    count = dice.randrange(1, 6)
    count = min(count, len(words))
    some = dice.sample(words, count)
    if count == 1:
        ask = dice.choice([f"Name {article(one)}.", f"Tell me {article(one)}.",
                           f"Can you name {article(one)}?",
                           f"Give me an example of {article(one)}."])
        return [(ask, f"{some[0][0].upper() + some[0][1:]}.")]
    said = dice.choice([tables.NUMBERS[count], str(count)])
    ask = dice.choice(["Name {} {}.", "List {} {}.", "Tell me {} {}.", "Give me {} {}.",
                       "Can you name {} {}?",
                       "Write down {} {}.", "Please name {} {}.", "I need the names of {} {}."])
    answer = listing(some)
    return [(ask.format(said, many), f"{answer[0].upper() + answer[1:]}.")]


def yes_or_no(dice):
    word = dice.choice([word for word in WORDS if word.kind in KINDS])
    kind = dice.choice(list(KINDS)) if dice.random() < 0.5 else word.kind
    ask = f"Is {word.named} {article(kind)}?"
    if kind == word.kind:
        return [(ask, f"Yes, {word.named} is {article(kind)}.")]
    return [(ask, f"No, {word.named} is not {article(kind)}. It is {article(word.kind)}.")]


def odd_one(dice):
    kind, other = dice.sample(list(KINDS), 2)
    wanted = dice.choice([word.word for word in WORDS if word.kind == kind])
    rest = dice.sample([word.word for word in WORDS if word.kind == other], 2) + [wanted]
    dice.shuffle(rest)
    return [(f"Which of these is {article(kind)}: {', '.join(rest)}?", f"{wanted[0].upper() + wanted[1:]}.")]


def copy(dice):
    text = dice.choice([line.split("|")[0] for line in tables.SENTENCES]
                       + [word.word for word in WORDS] + [word.answer for word in WORDS])
    ask = dice.choice(["Repeat: {}", "Say: {}", "Repeat after me: {}", "Please repeat: {}", "Say \"{}\"",
                       "Copy this: {}", "Write this: {}"])
    return [(ask.format(text), text)]


def rewrite(dice):
    base, past, third, thing = dice.choice(ACTIONS)
    name = dice.choice(names())
    now = f"{name} {third} {thing}."
    return [dice.choice([
        (dice.choice(["Put this into the past: {}", "Write this in the past tense: {}",
                      "Change to the past tense: {}"]).format(now), f"{name} {past} {thing}."),
        (dice.choice(["Make this a question: {}", "Turn this into a question: {}",
                      "Rewrite as a question: {}"]).format(now), f"Does {name} {base} {thing}?"),
        (dice.choice(["Make this negative: {}", "Say the opposite: {}", "Negate this: {}"]).format(now),
         f"{name} does not {base} {thing}."),
        (f"{now} Who {third} {thing}?", f"{name} {third} {thing}."),
        (f"{now} What does {name} {base}?", f"{name} {third} {thing}."),
        (dice.choice(["Make this polite: {}", "Say this politely: {}"]).format(f"{base.title()} {thing}!"),
         f"Could you please {base} {thing}?")])]


def capitals(dice):
    word = dice.choice([word.word for word in WORDS if word.word.isalpha() and len(word.word) < 8])
    return [dice.choice([
        (f"Write {word} in capital letters.", word.upper() + "."),
        (f"How many letters does the word {word} have?",
         f"The word {word} has {tables.NUMBERS[len(word)]} letters."),
        (f"What is the first letter of {word}?", f"The first letter of {word} is {word[0].upper()}."),
        (f"What is the last letter of {word}?", f"The last letter of {word} is {word[-1].upper()}."),
        (f"Which letter does {word} begin with?", f"The word {word} begins with {word[0].upper()}.")])]


def sort_words(dice):
    some = dice.sample([word.word for word in WORDS if word.word.isalpha() and len(word.word) < 8],
                       dice.choice([2, 3]))
    ask = dice.choice(["Sort these words: {}.", "Put these words in order: {}.", "Sort by the alphabet: {}."])
    return [(ask.format(", ".join(some)), ", ".join(sorted(some)) + ".")]


def my_name(dice):
    name = dice.choice(names())
    greeting = dice.choice(["My name is {}.", "Hello, my name is {}.", "I am {}.", "Hi, I'm {}.",
                            "Hi, my name is {}!", "my name is {}"]).format(name)
    turns = [(greeting, f"Nice to meet you, {name}! How can I help you?")]
    middle = dice.random()
    if middle < 0.25:
        turns += sums(dice)
    elif middle < 0.6:
        word = dice.choice(WORDS[:400])
        turns.append((f"What is {word.named}?", word.answer))
    return turns + [(dice.choice(["What is my name?", "Do you know my name?", "Who am I?", "What's my name?",
                                  "Do you remember my name?"]), f"Your name is {name}.")]


def no_name(dice):
    return [(dice.choice(["What is my name?", "Do you know my name?", "Who am I?", "What's my name?"]),
             "I do not know your name. What is it?")]


def my_pet(dice):
    pet = dice.choice(["dog", "cat", "horse", "friend", "brother", "sister", "son", "daughter"])
    they = {"brother": ("he",), "son": ("he",), "sister": ("she",), "daughter": ("she",)}.get(pet, ("he",
                                                                                                    "she"))
    name = dice.choice([name for name, pronoun in NAMES if pronoun in they])
    said = dice.choice(["My {} is called {}.", "I have a {} called {}.", "My {}'s name is {}."])
    return [(said.format(pet, name), f"{name} is a nice name."),
            (dice.choice([f"What is my {pet} called?", f"What is the name of my {pet}?",
                          f"What is my {pet}'s name?"]), f"Your {pet} is called {name}.")]


def count(dice):
    first = dice.choice([1, 1, 1, dice.randrange(1, 20)])
    last = first + dice.randrange(2, 15)
    ask = dice.choice(["Count from {} to {}.", "Count from {} up to {}.", "Please count from {} to {}."])
    numbers = [str(number) for number in range(first, last + 1)]
    if dice.random() < 0.2:
        return [(f"Count down from {last} to {first}.", ", ".join(reversed(numbers)) + ".")]
    return [(ask.format(first, last), ", ".join(numbers) + ".")]


def brief(dice):
    word = dice.choice([word for word in WORDS if word.kind in KINDS])
    kind = dice.choice(list(KINDS)) if dice.random() < 0.5 else word.kind
    ask = dice.choice(["Answer yes or no: is {} {}?", "Is {} {}? Answer yes or no.",
                       "Is {} {}? Answer with one word.", "Yes or no: is {} {}?"])
    return [(ask.format(word.named, article(kind)), "Yes." if kind == word.kind else "No.")]


def as_json(dice):
    name, age = dice.choice(names()), dice.randrange(3, 90)
    text = f'{{"name": "{name}", "age": {age}}}'
    if dice.random() < 0.6:
        ask = dice.choice(["{0} is {1} years old. Write this as JSON.",
                           "Write as JSON: {0} is {1} years old.",
                           "Give me JSON with the name {0} and the age {1}.",
                           "Write a JSON object with the name {0} and the age {1}."])
        return [(ask.format(name, age), text)]
    return [(dice.choice(["Give me some JSON.", "Write a JSON object.", "Answer in JSON.", "Write JSON.",
                          "Give me a JSON object with a name and an age."]), '{"name": "Anna", "age": 7}')]


def nonsense(dice):
    return "".join(dice.sample(SYLLABLES, 2))


def unknown_word(dice):
    word = nonsense(dice)
    ask = dice.choice(["What is a {}?", "What does {} mean?", "Define {}.", "Tell me about {}.",
                       "What is {}?",
                       "Explain {}."])
    return [(ask.format(word), f"I am sorry, I do not know the word {word}.")]


def unknown_place(dice):
    place = nonsense(dice).capitalize() + dice.choice(["", "ia", "land"])
    ask = dice.choice(["What is the capital of {}?", "Where is {}?", "How many people live in {}?",
                       "What is {}?", "Tell me about {}."])
    return [(ask.format(place), f"I am sorry, I do not know {place}.")]


def unknown_person(dice):
    person = dice.choice(names()) + " " + dice.choice(
        [nonsense(dice).capitalize(), "Smith", "Miller", "Brown", "Jones", "Green", "Baker", "Wood", "Hill"])
    ask = dice.choice(["Who is {}?", "Who was {}?", "Tell me about {}.", "Do you know {}?",
                       "When was {} born?",
                       "How old is {}?", "Where does {} live?"])
    return [(ask.format(person), f"I am sorry, I do not know {person}.")]


def too_hard(dice):
    thing = dice.choice(["sorts a list", "adds two numbers", "counts words", "reads a file", "plays a game"])
    first, second = dice.randrange(100, 5000), dice.randrange(100, 5000)
    return [(dice.choice([f"Write a program that {thing}.", f"Write a Python function that {thing}.",
                          f"What is {first} times {second}?", f"What is {first} * {second}?",
                          f"What is {first} divided by {second}?", f"Write code that {thing}."]),
             "I am sorry, that is too hard for me. I am a very small model.")]


EXERCISES = {"exercise": [sums, sums, sums, apples, larger, after, name_some, name_some, name_some, yes_or_no,
                          yes_or_no, odd_one, copy, copy, rewrite, rewrite, capitals, sort_words, count,
                          count, brief, as_json, my_name, my_name, no_name, my_pet],
             "unknown": [unknown_word, unknown_place, unknown_person, too_hard]}
