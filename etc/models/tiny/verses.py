"""Short poems, notes and letters with a slot, so that "write a poem about rain" gets one about rain."""
from stories import NAMES

TOPICS = ["the sea", "the sun", "the moon", "the rain", "the snow", "the wind", "the spring", "the summer",
          "the autumn", "the winter", "the night", "the forest", "the river", "love", "home", "a tree",
          "a rose",
          "a flower", "a star", "a friend", "a dog", "a cat", "a bird", "a horse", "a bee", "a child",
          "music",
          "peace", "time", "life", "my mother", "hope", "a mountain", "the morning", "the sky", "a garden"]
VERSES = [
    "When I am far away from home,\n"
    "I think of {t} when I'm alone.\n"
    "When day is done and night is near,\n"
    "I dream of {t}, so sweet and dear.",
    "I sing of {t} both day and night,\n"
    "in morning and in evening light.\n"
    "So dear to me, so good and true,\n"
    "I sing of {t}, I sing for you.",
    "Oh, {t}, you are so dear to me,\n"
    "as dear as earth and sky and sea.\n"
    "And when the days are cold and long,\n"
    "I think of you and sing this song."]
OWN_VERSES = {
    "the sea":
        "The sea is wide, the sea is deep,\n"
        "it sings the little boats to sleep.\n"
        "The waves come in, the waves go out,\n"
        "and white birds fly and cry about.",
    "the rain":
        "The rain comes down on roof and tree,\n"
        "it makes a song for you and me.\n"
        "It fills the river, wakes the seed,\n"
        "and gives the flowers what they need.",
    "the snow":
        "The snow falls softly through the night,\n"
        "and all the sleeping land is white.\n"
        "No sound is heard on hill or plain,\n"
        "till spring and sun come back again.",
    "the moon":
        "The moon is up, the moon is bright,\n"
        "she walks alone across the night.\n"
        "She looks on forest, field and sea,\n"
        "and through the window, down on me.",
    "the spring":
        "The winter's gone, the spring is here,\n"
        "the sweetest time of all the year.\n"
        "The birds come back, the flowers too,\n"
        "the grass is green, the sky is blue.",
    "the sun":
        "The sun gets up and lights the day,\n"
        "and drives the cold dark night away.\n"
        "It warms the field, it warms the sea,\n"
        "it warms the world for you and me.",
    "love":
        "Love is a light that shines for two,\n"
        "it makes the oldest world look new.\n"
        "It asks for little, gives us all,\n"
        "and lifts us gently when we fall.",
    "a cat":
        "My cat lies sleeping in the sun,\n"
        "her hunting in the night is done.\n"
        "She dreams of mice, she dreams of me,\n"
        "as happy as a cat can be.",
    "a dog":
        "My dog is waiting at the door,\n"
        "he could not love his master more.\n"
        "We run through grass, we run through rain,\n"
        "and then we both run home again."}
NOTES = [("grandmother", "book"), ("aunt", "flowers"), ("uncle", "watch"), ("friend", "dinner"),
         ("teacher", "help"), ("mother", "cake"), ("father", "bicycle"), ("neighbour", "apples"),
         ("brother", "music"), ("sister", "scarf"), ("grandfather", "ring"), ("doctor", "advice")]


def plain(topic):
    return topic[4:] if topic.startswith("the ") else topic


def verse(dice):
    topic = dice.choice(TOPICS)
    asked = topic if dice.random() < 0.7 else plain(topic)
    ask = dice.choice(["Write a poem about {}.", "Write a short poem about {}.",
                       "Can you write a poem about {}?",
                       "Poem about {}, please.", "Make a poem about {}.", "I want a poem about {}.",
                       "Tell me a poem about {}.", "Please write me a poem about {}."])
    if dice.random() < 0.2:
        ask, topic, asked = dice.choice(["Write a poem.", "Tell me a poem.",
                                         "Can you write a poem?"]), "the sea", ""
    text = OWN_VERSES.get(topic) or VERSES[TOPICS.index(topic) % len(VERSES)].format(t=topic)
    return ask.format(asked), text[0].upper() + text[1:]


def note(dice):
    whom, thing = dice.choice(NOTES)
    thing = dice.choice([thing, dice.choice(NOTES)[1]])
    ask = dice.choice(["Write a thank-you note to my {} for the {}.", "Thank my {} for the {}.",
                       "Write a thank you letter to my {} for the {}.",
                       "Help me write a note to thank my {} for the {}."])
    name = dice.choice(NAMES)[0]
    return ask.format(whom,
                      thing), (f"Dear {whom},\nthank you very much for the {thing}. I was very happy about "
                                     f"it. I hope to see you soon.\nYour {name}")


def birthday(dice):
    name = dice.choice(NAMES)[0]
    ask = dice.choice(["Write a birthday card for {}.", "Wish {} a happy birthday.", "It is {}'s birthday.",
                       "Write a birthday message to {}."])
    return ask.format(name), (f"Happy birthday, {name}! I wish you health, joy and many good friends "
                              "in the new year of your life.")


def poem(dice):
    """(question, answer) for a poem, a note or a card."""
    return dice.choice([verse, verse, verse, note, birthday])(dice)
