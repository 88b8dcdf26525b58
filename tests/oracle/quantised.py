#!/usr/bin/env python3
"""Writes blocks of every weight format and what the gguf package makes of them: quantised.gguf.

usage: quantised.py [FILE]

The file holds pairs of tensors: "Q4_K", blocks [blocks, elements of one], and "Q4_K.float32", the values that
gguf.quants.dequantize gives for them. Quantised numbers and packed scales are random bits; the half floats of
a block (scale, minimum) go through a list of extremes first. requirements.txt has the versions that made the
committed file.
"""
import sys
from pathlib import Path

import gguf
import numpy as np

SEED = 20_250_301
SMALL_BLOCKS, LARGE_BLOCKS = 64, 24  # blocks of 32 elements, of 256

# Where each format keeps its half floats.
HALF_OFFSETS = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "IQ4_NL": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_XS": [0]}

EXTREME_HALVES = [
    0x0000, 0x8000,          # zeros
    0x0001, 0x8001, 0x03ff,  # the smallest subnormal, the largest
    0x0400, 0x8400,          # the smallest normal
    0x7bff, 0xfbff,          # the largest
    0x3c00, 0xbc00, 0x3555]  # 1, -1, about 1/3


def random_halves(random, count):
    """`count` finite half floats as their bits: each exponent alike often, both signs."""
    return (random.integers(0, 31, count) << 10 | random.integers(0, 1024, count)
            | random.integers(0, 2, count) << 15).astype("<u2")


def halves_of(random, blocks, stride):
    """Extremes first, in an order that `stride` shifts: two halves of a block make all sorts of pairs."""
    halves = random_halves(random, blocks)
    extremes = np.roll(np.array(EXTREME_HALVES, dtype="<u2"), stride)[:blocks]
    halves[:len(extremes)] = extremes
    return halves


def blocks_of(random, name):
    elements, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    count = SMALL_BLOCKS if elements == 32 else LARGE_BLOCKS
    blocks = random.integers(0, 256, (count, size), dtype=np.uint8)
    for index, offset in enumerate(HALF_OFFSETS[name]):
        blocks[:, offset:offset + 2] = halves_of(random, count, 5 * index).view(np.uint8).reshape(count, 2)
    # Two blocks in which each packed bit is 0, and 1: the ends of every scale, minimum and number.
    half_bytes = [offset + i for offset in HALF_OFFSETS[name] for i in range(2)]
    packed = np.setdiff1d(np.arange(size), half_bytes)
    blocks[-2:, half_bytes] = np.tile(np.array([0x00, 0x3c], dtype=np.uint8), len(half_bytes) // 2)
    blocks[-2, packed], blocks[-1, packed] = 0, 255
    return blocks


def sixteen_bit_rows(random, name):
    """Bits of F16 or BF16: every exponent with both signs, infinities included; no NaN."""
    mantissa_bits = 10 if name == "F16" else 7
    exponents = 1 << (15 - mantissa_bits)
    bits = np.arange(2 * exponents) << mantissa_bits
    finite = bits % (1 << 15) != (exponents - 1) << mantissa_bits
    noise = random.integers(0, 1 << mantissa_bits, (2048 // len(bits) - 1, len(bits))) * finite
    return np.concatenate([bits[None], bits + noise]).astype("<u2")


def add_pair(writer, name, raw):
    kind = gguf.GGMLQuantizationType[name]
    with np.errstate(over="ignore", invalid="ignore"):
        values = gguf.quants.dequantize(raw, kind)
    assert values.dtype == np.float32 and not np.isnan(values).any(), name
    writer.add_tensor(name, raw, raw_dtype=None if name == "F16" else kind)
    writer.add_tensor(name + ".float32", values)
    return values.size


def main():
    to = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "quantised.gguf"
    writer = gguf.GGUFWriter(to, "quantised")
    elements = {}
    for number, name in enumerate(["F16", "BF16", *HALF_OFFSETS]):
        random = np.random.default_rng([SEED, number])
        if name in HALF_OFFSETS:
            raw = blocks_of(random, name)
        else:
            bits = sixteen_bit_rows(random, name)
            raw = bits.view(np.float16) if name == "F16" else bits.view(np.uint8)
        elements[name] = add_pair(writer, name, raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{to}: {to.stat().st_size} bytes, {len(elements)} formats, {sum(elements.values())} values")


if __name__ == "__main__":
    main()
