"""Writes runner/model/tokenizer/unicode_ranges.cpp: the general category of every code point, as the regular
expressions of Hugging Face's `tokenizers` see it, asked of the library itself.

    python3 tests/oracle/unicode_ranges.py runner/model/tokenizer/unicode_ranges.cpp     (needs tokenizers)
"""

import sys

import tokenizers
from tokenizers import Regex, pre_tokenizers

CATEGORIES = (
    "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co Cs Cn"
).split()
SURROGATES = range(0xD800, 0xE000)
ENTRIES_A_LINE = 10


def categories():
    """The category's index of each code point."""
    points = [point for point in range(0x110000) if point not in SURROGATES]
    everything = "".join(map(chr, points))
    found = [CATEGORIES.index("Cs")] * 0x110000
    for index, name in enumerate(CATEGORIES):
        if name == "Cs":
            continue
        without = pre_tokenizers.Split(Regex(f"\\p{{{name}}}"), "removed").pre_tokenize_str(everything)
        kept = {character for piece, _ in without for character in piece}
        for point in points:
            if chr(point) not in kept:
                found[point] = index
    return found


def main(path):
    found = categories()
    entries = [
        f"0x{point << 5 | index:x}"
        for point, index in enumerate(found)
        if point == 0 or found[point - 1] != index
    ]
    lines = [", ".join(entries[at : at + ENTRIES_A_LINE]) for at in range(0, len(entries), ENTRIES_A_LINE)]
    with open(path, "w", encoding="utf-8") as file:
        file.write(
            "// Made by tests/oracle/unicode_ranges.py from tokenizers " + tokenizers.__version__ + ".\n"
            '#include "runner/model/tokenizer/unicode_categories.h"\n\n#include <array>\n\n'
            "namespace deepserve::runner {\nnamespace {\n\n"
            "constexpr auto kStarts = std::to_array<uint32_t>({\n    "
            + ",\n    ".join(lines)
            + ",\n});\n\n"
            "}  // namespace\n\nstd::span<const uint32_t> unicode_range_starts() {\n  return kStarts;\n}\n\n"
            "}  // namespace deepserve::runner\n"
        )


if __name__ == "__main__":
    main(sys.argv[1])
