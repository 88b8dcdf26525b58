"""Strings that tokenisers stumble over, from a seed."""

import random

WORDS = (
    "the of and model Tokenizer don't I'll WE'VE it's naïve café Straße Österreich ŝanĝi привет мир Москва "
    "ελληνικά שלום עולם مرحبا بالعالم नमस्ते दुनिया ภาษาไทย こんにちは 世界 日本語 テスト 你好 世界 人工智能 "
    "中文分词 한국어 안녕하세요 tiếng Việt ǅ ﬁn ﬂ ½ ² Ⅷ ①"
).split()
EMOJI = ("😀 👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪🇯🇵 ❤️ ☺︎ 🤦🏼‍♂️ 1️⃣ ©️ ™ ⌨️").split()
MARKS = "\u0301\u0300\u0323\u0327\u0345\u035c\u05b0\u064b\u093c\u0e38\u3099\u20dd\u1ab0\u0334\u0f71\u1dfa"
LETTERS_WITH_MARKS = "eaonAEiıuyçqạëộZñÅåΩωйїががवकगกגشى"
SPACES = (
    " \t\n\r\v\f\u0085\u00a0\u1680\u2000\u2003\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
    "\u200b\ufeff\u180e"
)
CONTRACTIONS = [
    "'s",
    "'S",
    "'t",
    "'re",
    "'RE",
    "'vE",
    "'m",
    "'ll",
    "'LL",
    "'d",
    "'\u017f",
    "’s",
    "'x",
    "''s",
    "'",
]
CODE = [
    "for (int i=0;i<n;++i){\n\tx[i]+=1;\n}\n",
    "def f(x):\n    return x**2  # done\n",
    '<div class="a">\r\n  </div>',
    "SELECT * FROM t WHERE a='b';--",
    "\\frac{1}{2}$$",
    "https://example.org/a?b=c&d=%20#e",
    "a.b->c::d<e>&&f||!g",
    '{"k": [1, 2.5e-10, null]}',
    "#!/bin/sh\nset -e\n\n\n",
    "x=y==z!=w<=v",
    "/* */ // ///",
    "C:\\Users\\x\\",
]
HANGUL_JAMO = [
    chr(c) for c in (0x1100, 0x1112, 0x1161, 0x1175, 0x11A8, 0x11C2, 0xAC00, 0xD7A3, 0x3131, 0xFFA1)
]


def any_character(draw):
    while True:
        plane = draw.choice([0, 0, 0, 0, 1, 1, 2, 3, 14, 15, 16])
        point = plane << 16 | draw.randrange(0x10000)
        if not 0xD800 <= point < 0xE000:
            return chr(point)


def digits(draw):
    alphabet = draw.choice(["0123456789", "٠١٢٣٤٥٦٧٨٩", "０１２３４５６７８９", "½¼²³Ⅳ①", "0123456789٣９²"])
    return "".join(draw.choice(alphabet) for _ in range(draw.randrange(1, 14)))


def part(draw, specials):
    kind = draw.randrange(15)
    several = draw.randrange(1, 6)
    if kind == 0:
        return " ".join(draw.choice(WORDS) for _ in range(several))
    if kind == 1:
        return "".join(draw.choice(WORDS) for _ in range(several))
    if kind == 2:
        return draw.choice(EMOJI) * draw.randrange(1, 3)
    if kind == 3:
        return "".join(
            draw.choice(LETTERS_WITH_MARKS) + "".join(draw.choice(MARKS) for _ in range(draw.randrange(4)))
            for _ in range(several)
        )
    if kind == 4:
        return "".join(draw.choice(SPACES) for _ in range(draw.randrange(1, 9)))
    if kind == 5:
        return draw.choice([" ", "\n", "\r\n", "\t", "  \n", " \r", "\n\n "]) * draw.randrange(1, 30)
    if kind == 6:
        return draw.choice(WORDS) + draw.choice(CONTRACTIONS) + draw.choice(["", " ", "x", "\n"])
    if kind == 7:
        return draw.choice(CODE)
    if kind == 8:
        return digits(draw)
    if kind == 9:
        return "".join(any_character(draw) for _ in range(draw.randrange(1, 9)))
    if kind == 10:
        return "".join(draw.choice(HANGUL_JAMO) for _ in range(draw.randrange(1, 9)))
    if kind == 11:
        return "".join(chr(draw.randrange(0x80)) for _ in range(draw.randrange(1, 12)))
    if kind == 12 and specials:
        return (
            draw.choice(["", " ", "\n", "a"])
            + draw.choice(specials)
            + draw.choice(["", " ", "\n", "a", "\u0338"])
        )
    if kind == 13:
        return draw.choice("!?.,;:-_=+*/\\|#@$%^&~`'\"()[]{}<>…。、！？「」—€§°±×÷") * draw.randrange(1, 9)
    return "".join(chr(draw.randrange(0x20, 0x3000)) for _ in range(draw.randrange(1, 9)))


def nasty_strings(seed, count, specials=()):
    draw = random.Random(seed)
    specials = list(specials)
    strings = ["", " ", "\n", "\0", "a", "\u0301", "e\u0301", "Z\u0338", "\ufeff", "\ufffd", "\U0010ffff"]
    strings += [
        draw.choice(["a", "ab ", " ", "\n", "中", "é", "e\u0301", "😀", "!", "1", "ａ", "\u0323\u0301"])
        * draw.randrange(200, 3000)
        for _ in range(20)
    ]
    while len(strings) < count:
        strings.append("".join(part(draw, specials) for _ in range(draw.randrange(1, 7))))
    return strings


def bad_bytes(seed, count):
    """Texts that are no UTF-8."""
    draw = random.Random(seed)
    made = []
    while len(made) < count:
        text = bytearray("".join(part(draw, []) for _ in range(3)).encode())
        for _ in range(draw.randrange(1, 4)):
            text.insert(
                draw.randrange(len(text) + 1), draw.choice([0x80, 0xBF, 0xC0, 0xC3, 0xE4, 0xED, 0xF0, 0xFF])
            )
        try:
            text.decode()
        except UnicodeDecodeError:
            made.append(bytes(text))
    return made
