"""A tracked text file, and the same with its comments and literals blanked out."""

import functools
import os
import re
from typing import NamedTuple

CPP_ENDINGS = (".h", ".cpp", ".cu", ".cuh")
HEADER_ENDINGS = (".h", ".cuh")

COMMENT_OR_LITERAL = re.compile(
    r"""//(?:[^\n\\]|\\.|\\\n)*                      # a line comment, which a backslash continues
      | /\*.*?\*/
      | R"(?P<tag>[^(\s"]*)\(.*?\)(?P=tag)"
      | "(?:\\.|[^"\\\n])*"
      | (?<![0-9A-Za-z_])'(?:\\.|[^'\\\n])+'         # not the separator in 1'000
    """, re.DOTALL | re.VERBOSE)


class Breach(NamedTuple):
    path: str
    line: int
    rule: str
    text: str


def is_cpp(path):
    return path.endswith(CPP_ENDINGS)


def is_code(path):
    """Files that people write line by line: the limits of size hold for them."""
    name = os.path.basename(path)
    return is_cpp(path) or path.endswith((".py", ".sh", ".pml", ".cmake")) or name == "CMakeLists.txt"


def blank_out(text):
    """`text` with the insides of comments and literals replaced by spaces; lines stay where they are."""
    def blank(match):
        found = match.group(0)
        spaces = re.sub(r"[^\n]", " ", found)
        if found.startswith("/"):
            return spaces
        return '"' + spaces[1:-1] + '"' if len(found) >= 2 else spaces
    return COMMENT_OR_LITERAL.sub(blank, text)


class SourceFile:
    def __init__(self, path, text):
        self.path = path
        self.text = text
        self.lines = text.split("\n")

    @classmethod
    def read(cls, root, path):
        """None for what is not text: models, tarballs, pictures."""
        with open(os.path.join(root, path), "rb") as file:
            data = file.read()
        if b"\0" in data[:8192]:
            return None
        try:
            return cls(path, data.decode("utf-8"))
        except UnicodeDecodeError:
            return None

    @functools.cached_property
    def code(self):
        return blank_out(self.text)

    def breach(self, line, rule, text):
        return Breach(self.path, line, rule, text)
