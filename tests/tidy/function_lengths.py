"""Finds C++ functions that are too long, by counting braces in code without its comments and literals.

A brace at namespace or class level opens a function where what precedes it (since the last `;`, `{` or
`}`) has a parameter list and is neither a type, a namespace nor an initialiser. Lambdas count with the
function around them.
"""

import re

FUNCTION_LINES_MAX = 70

SCOPE = re.compile(r"^(inline\s+)?(namespace|class|struct|union|enum|extern)\b")
TEMPLATE = re.compile(r"^template\s*<")
ACCESS = re.compile(r"^(public|private|protected)\s*:")
INITIALISER_LIST = re.compile(r"\)\s*(noexcept\s*)?:[^:]")
NAME = re.compile(r"([~\w:]+|operator\s*\S+)\s*\(")


def without_template_heads(header):
    while TEMPLATE.match(header):
        depth = 0
        for index, character in enumerate(header):
            depth += (character == "<") - (character == ">" and header[index - 1] != "-")
            if character == ">" and depth == 0:
                header = header[index + 1:].lstrip()
                break
        else:
            return header
    return header


def kind_of(header):
    """What the brace after `header` opens: "scope", "function", "initialiser" (of a member), or "other"."""
    header = without_template_heads(ACCESS.sub("", header.strip()).strip())
    if SCOPE.match(header):
        return "scope"
    if "(" not in header or re.search(r"[^=!<>]=\s*(\[.*)?$", header):
        return "other"
    before_list = header.split("(", 1)[0]
    if "=" in before_list and "operator" not in before_list:
        return "other"
    if INITIALISER_LIST.search(header) and re.search(r"[\w>]$", header):
        return "initialiser"
    return "function"


def functions(code):
    """(name, first line, last line) of each function; preprocessor lines are passed over."""
    code = re.sub(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", lambda match: re.sub(r"[^\n]", " ", match.group(0)), code,
                  flags=re.MULTILINE)
    stack = []          # kinds of the open braces
    header_start = 0    # where the text since the last boundary starts
    line = 1
    for index, character in enumerate(code):
        if character == "\n":
            line += 1
        elif character == "{":
            outside = all(entry[0] == "scope" for entry in stack)
            header = code[header_start:index]
            kind = kind_of(header) if outside else "inner"
            first_line = line - header.lstrip().count("\n")
            name = NAME.search(header)
            stack.append((kind, name.group(1) if name else "?", first_line))
            if kind in ("scope", "function"):
                header_start = index + 1
        elif character == "}" and stack:
            kind, name, first_line = stack.pop()
            if kind == "function":
                yield name, first_line, line
            if kind in ("scope", "function"):
                header_start = index + 1
        elif character == ";" and all(entry[0] == "scope" for entry in stack):
            header_start = index + 1


def breaches(source):
    found = []
    for name, first_line, last_line in functions(source.code):
        line_count = last_line - first_line + 1
        if line_count > FUNCTION_LINES_MAX:
            what = f"{name} has {line_count} lines of at most {FUNCTION_LINES_MAX}"
            found.append(source.breach(first_line, "function", what))
    return found
