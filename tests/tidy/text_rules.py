"""Rules that need no parsing: sizes, tabs, opening comments, unfinished work, a README for each folder."""

import re

from source_files import Breach, HEADER_ENDINGS, is_code, is_cpp

LINE_COLUMNS_MAX = 110
FILE_LINES_MAX = 600

# Written apart so that this file does not breach its own rule.
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK")) + r")\b")


def folder_breaches(paths):
    """Top-level folders without a README.md."""
    folders = {path.split("/", 1)[0] for path in paths if "/" in path and not path.startswith(".")}
    return [Breach(folder, 1, "readme", f"{folder}/ has no README.md")
            for folder in sorted(folders) if f"{folder}/README.md" not in paths]


def header_breaches(source):
    found = []
    if not source.text.startswith("//"):
        found.append(source.breach(1, "header", "a header starts with the comment that is its manual"))
    if not re.search(r"^#pragma once$", source.text, re.MULTILINE):
        found.append(source.breach(1, "header", "no #pragma once"))
    return found


def breaches(source):
    found = []
    for number, line in enumerate(source.lines, 1):
        mark = UNFINISHED.search(line)
        if mark:
            found.append(source.breach(number, "unfinished", f"marked {mark.group(1)}"))
        if is_code(source.path) and len(line) > LINE_COLUMNS_MAX:
            found.append(source.breach(number, "line", f"{len(line)} columns of at most {LINE_COLUMNS_MAX}"))
        if is_cpp(source.path) and "\t" in line:
            found.append(source.breach(number, "tab", "a tab"))
    line_count = source.text.count("\n")
    if is_code(source.path) and line_count > FILE_LINES_MAX:
        what = f"{line_count} lines of at most {FILE_LINES_MAX}"
        found.append(source.breach(FILE_LINES_MAX + 1, "file", what))
    if source.path.endswith(HEADER_ENDINGS):
        found += header_breaches(source)
    return found
