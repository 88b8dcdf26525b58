"""Small tokenisers with the pipelines of the published families, and what Hugging Face's `tokenizers` makes
of nasty strings with them: tests/unit/tokenizer/hf_identity_test.cpp reads both.

    python3 tests/oracle/tokenizers_fixtures.py tests/oracle/tokenizers
"""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(__file__))

import tokenizers
from nasty_strings import nasty_strings
from published_tokenizers import QWEN2_EXPRESSION
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, processors, trainers
from tokenizers import pre_tokenizers as pre

TRAINING_SEED, STRINGS_SEED = 1, 2
VOCABULARY = 560
LLAMA3_EXPRESSION = QWEN2_EXPRESSION.replace(r"\p{N}|", r"\p{N}{1,3}|")
DEEPSEEK_V3_EXPRESSION = (
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
    " ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
)
SPECIAL = [
    AddedToken(text, special=True, normalized=False) for text in ("<unk>", "<s>", "</s>", "<|im_end|>")
]
ADDED = [
    AddedToken("<think>", normalized=False),
    AddedToken("<left>", normalized=False, lstrip=True),
    AddedToken("<right>", normalized=False, rstrip=True),
    AddedToken("word", normalized=False, single_word=True),
    AddedToken("<Normal \u00e9>", normalized=True),
    AddedToken("<think><deep>", normalized=False),
]
TEXTS = [token.content for token in SPECIAL + ADDED] + [
    "<Normal e\u0301>",
    "words",
    "\u3000<left>",
    "<right>\u2003\n",
]


def isolated(expression):
    return pre.Split(Regex(expression), "isolated")


def byte_level(name, steps, normalizer=None, ignore_merges=False, **options):
    made = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer:
        made.normalizer = normalizer
    made.pre_tokenizer = pre.Sequence(
        steps + [pre.ByteLevel(**{"add_prefix_space": False, "use_regex": False} | options)]
    )
    made.decoder = decoders.ByteLevel()
    return name, made, pre.ByteLevel.alphabet()


def characters(name, pre_tokenizer, normalizer, decoder, byte_fallback=True):
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=byte_fallback))
    if normalizer:
        made.normalizer = normalizer
    if pre_tokenizer:
        made.pre_tokenizer = pre_tokenizer
    made.decoder = decoder
    return name, made, ["▁", " "]


def families():
    llama = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    plain = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    return [
        byte_level("gpt2", [], add_prefix_space=True, use_regex=True),
        byte_level("qwen2", [isolated(QWEN2_EXPRESSION)], normalizers.NFC()),
        byte_level("llama3", [isolated(LLAMA3_EXPRESSION)], ignore_merges=True),
        byte_level(
            "deepseek-v3",
            [isolated(r"\p{N}{1,3}"), isolated("[一-龥\u3040-ゟ゠-ヿ]+"), isolated(DEEPSEEK_V3_EXPRESSION)],
            normalizers.Sequence([]),
        ),
        byte_level(
            "deepseek-v2",
            [
                isolated("[\r\n]"),
                isolated(r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-Ֆ]+"),
                isolated(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"),
                isolated(r"\s+$"),
                isolated("[一-龥ࠀ-一가-\ud7fb]+"),
                pre.Digits(individual_digits=True),
            ],
        ),
        byte_level(
            "splits",
            [
                pre.Split(",", "merged_with_previous"),
                pre.Split(Regex(r"\p{Lu}+?[\S\P{L}]"), "merged_with_next"),
                pre.Split("!", "removed"),
                pre.Split(Regex(r"(?<=\p{L})\p{Nd}++|(?i:the)(?!\S)"), "contiguous", invert=True),
                pre.Digits(individual_digits=False),
                pre.Punctuation("contiguous"),
            ],
            normalizers.NFKC(),
        ),
        characters(
            "llama2",
            None,
            normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
            llama,
        ),
        characters("metaspace-first", pre.Metaspace("▁", prepend_scheme="first", split=False), None, llama),
        characters(
            "metaspace-always",
            pre.Metaspace("▁", prepend_scheme="always", split=True),
            normalizers.NFD(),
            decoders.Metaspace("▁", prepend_scheme="always"),
            byte_fallback=False,
        ),
        characters("unknown", None, normalizers.Replace(" ", "▁"), plain, byte_fallback=False),
    ]


def train(made, alphabet):
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        initial_alphabet=alphabet,
        show_progress=False,
        limit_alphabet=300,
        special_tokens=SPECIAL,
    )
    made.train_from_iterator(nasty_strings(TRAINING_SEED, 3000), trainer)
    made.add_tokens(ADDED)
    data = json.loads(made.to_str())
    if data["model"]["byte_fallback"]:
        vocabulary = data["model"]["vocab"]
        for token in data["added_tokens"]:
            token["id"] += 256 if token["id"] >= len(vocabulary) else 0
        vocabulary |= {f"<0x{byte:02X}>": len(vocabulary) + byte for byte in range(256)}
    return data


def with_merges_as_text(data):
    """As files from before `tokenizers` 0.20 have them."""
    data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]
    return data


def main(folder):
    strings = nasty_strings(STRINGS_SEED, 220, TEXTS)
    strings = [text if len(text) < 400 else text[:400] for text in strings]
    expected = {
        "note": "Made by tests/oracle/tokenizers_fixtures.py with tokenizers " + tokenizers.__version__,
        "strings": strings,
        "families": {},
    }
    for name, made, alphabet in families():
        data = train(made, alphabet)
        if name in ("llama3", "llama2"):
            data = with_merges_as_text(data)
        if name == "llama2":
            data["post_processor"] = json.loads(
                processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)]).__getstate__()
            )
        text = json.dumps(data, ensure_ascii=False)
        os.makedirs(os.path.join(folder, name), exist_ok=True)
        with open(os.path.join(folder, name, "tokenizer.json"), "w", encoding="utf-8") as file:
            file.write(text + "\n")
        library = Tokenizer.from_str(text)
        parsed = [library.encode(string, add_special_tokens=False).ids for string in strings]
        library.encode_special_tokens = True
        typed = [library.encode(string, add_special_tokens=False).ids for string in strings]
        expected["families"][name] = {
            "parsed": parsed,
            "typed": typed,
            "decoded": [library.decode(ids) for ids in parsed],
        }
    with open(os.path.join(folder, "expected.json"), "w", encoding="utf-8") as file:
        json.dump(expected, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
