"""Short, simple stories made from slots, so that "tell me a story" has an answer in plain English."""

NAMES = [("Anna", "she"), ("Ben", "he"), ("Clara", "she"), ("David", "he"), ("Emma", "she"), ("Fred", "he"),
         ("Grace", "she"), ("Henry", "he"), ("Ida", "she"), ("Jack", "he"), ("Kate", "she"), ("Leo", "he"),
         ("Lucy", "she"), ("Max", "he"), ("Mary", "she"), ("Nick", "he"), ("Rose", "she"), ("Sam", "he"),
         ("Tom", "he"), ("Sara", "she"), ("Peter", "he"), ("Julia", "she"), ("Paul", "he"), ("Alice", "she")]
KINDS = ["girl", "boy", "farmer", "sailor", "teacher", "baker", "king", "queen", "doctor", "painter",
         "fisherman", "traveller", "gardener", "student", "soldier", "miller", "shepherd", "singer"]
ANIMALS = ["dog", "cat", "horse", "bird", "fox", "bear", "mouse", "rabbit", "owl", "fish", "goat", "duck",
           "frog", "lion", "whale", "sheep", "hen", "wolf", "turtle", "bee"]
PLACES = ["a small village", "a house by the sea", "a town near the river", "a farm in the hills",
          "a deep forest", "a quiet valley", "a big city", "an old castle",
          "a cottage at the edge of the wood", "a land far away"]
THINGS = ["a golden key", "an old book", "a red ball", "a letter", "a silver ring", "a little boat", "a map",
          "a wooden box", "a lamp", "a loaf of bread", "a blue stone", "a warm coat", "a bag of seeds",
          "a bell"]
FINDING = ["under a tree", "on the road", "in the garden", "near the river", "behind the house",
           "on the beach", "at the market", "inside an old chest", "beside the well", "in the snow"]
TIMES = ["One day", "One morning", "One evening", "One cold winter day", "One summer afternoon",
         "One rainy day"]
FEELINGS = ["happy", "sad", "lonely", "tired", "curious", "hungry", "afraid", "proud", "brave", "kind"]
WEATHER = ["The sun was shining", "It was raining", "The wind was blowing", "Snow was falling",
           "The sky was grey", "The moon was bright", "The air was cold", "It was a warm day"]
TROUBLES = ["had lost the way home", "could not sleep", "had nothing to eat", "had lost a friend",
            "was caught in a storm", "was looking for some work", "had fallen into a hole", "had hurt a leg",
            "wanted to see the world", "had no place to stay"]
HELP = ["showed {them} the way home", "shared some bread and cheese with {them}",
        "built a fire to keep {them} warm", "carried {them} across the river", "told {them} a funny story",
        "gave {them} a bed for the night", "sang a song for {them}", "made {them} a hot cup of soup"]
ENDS = ["From that day on they were good friends.", "And they lived happily together for many years.",
        "{Name} never forgot that day.", "Everyone in the village was glad.",
        "They laughed and went home together.", "That night {name} slept very well.",
        "After that {name} was never lonely again.", "And {name} learned that it is good to help others."]
NOT_FOR = {"he": ("girl", "queen"), "she": ("boy", "king", "fisherman")}


def article(noun):
    return ("an " if noun[0].lower() in "aeiou" else "a ") + noun


def opening(dice, hero, kind, they):
    place, feeling = dice.choice(PLACES), dice.choice(FEELINGS)
    start = dice.choice(["Once upon a time there was {a} named {n} who lived in {p}.",
                         "There was once {a} called {n}, who lived in {p}.",
                         "Long ago, in {p}, there lived {a} named {n}.",
                         "{n} was {a} who lived in {p}."])
    start = start.format(a=article(kind), n=hero, p=place)
    return start[0].upper() + start[1:] + dice.choice([f" {they.capitalize()} was often {feeling}.", ""])


def find_plot(dice, hero, they, animal):
    thing = dice.choice(THINGS)
    short = "the " + thing.split(" ", 1)[1]
    return dice.choice([
        f"{dice.choice(TIMES)}, {hero} found {thing} {dice.choice(FINDING)}. \"What is this?\" said {hero}. "
        f"A {dice.choice(['little', 'big', 'white', 'black', 'brown'])} {animal} came and said, "
        f"\"That is mine. I lost it a long time ago.\" So {hero} gave {short} back to the {animal}. "
        f"The {animal} was very happy.",
        f"{dice.choice(TIMES)}, {they} went out to look for {thing}. {dice.choice(WEATHER)}. "
        f"{hero} walked and walked, and at last {they} met {article(animal)}. "
        f"\"Have you seen {thing}?\" {they} asked. \"Yes,\" said the {animal}, "
        f"\"it is {dice.choice(FINDING)}.\" They went there together, and there it was."])


def help_plot(dice, hero, they, animal):
    them = {"he": "him", "she": "her"}[they]
    if dice.random() < 0.5:
        return (f"{dice.choice(TIMES)}, {hero} {dice.choice(TROUBLES)}. {dice.choice(WEATHER)}. "
                f"Then {article(animal)} came along. \"Why are you so sad?\" asked the {animal}. "
                f"{hero} told the {animal} everything. "
                f"\"Do not worry,\" said the {animal}, \"I will help you.\" The {animal} "
                f"{dice.choice(HELP).format(them=them)}.")
    return (f"{dice.choice(TIMES)}, {hero} met {article(animal)} who {dice.choice(TROUBLES)}. "
            f"{dice.choice(WEATHER)}. "
            f"\"Please help me,\" said the {animal}. {hero} {dice.choice(HELP).format(them='it')}. "
            f"\"Thank you,\" said the {animal}. \"You are very kind.\"")


def story(dice, about=None):
    """dice: a random.Random. about: an animal or a kind of person, else any."""
    hero, they = dice.choice(NAMES)
    people = [kind for kind in KINDS if kind not in NOT_FOR[they]]
    kind = dice.choice(people + ANIMALS)
    animal = dice.choice(ANIMALS)
    if about in ANIMALS and dice.random() < 0.5:
        kind = about
    elif about in ANIMALS:
        animal = about
    elif about:
        kind = about
        hero, they = dice.choice([name for name in NAMES if about not in NOT_FOR[name[1]]])
    plot = dice.choice([find_plot, help_plot])(dice, hero, they, animal)
    return f"{opening(dice, hero, kind, they)} {plot} {dice.choice(ENDS).format(name=hero, Name=hero)}"
