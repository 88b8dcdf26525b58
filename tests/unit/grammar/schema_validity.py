#!/usr/bin/env python3
"""Every answer that a schema admits is valid by it, says python3-jsonschema; every refusal names its keyword.

usage: schema_validity.py GRAMMAR_WALKS MODEL      DEEPSERVE_SEEDS: how many seeds of random schemas (3)

Schemas from schemas.json and random ones go to grammar_walks, which writes random answers with the tokens
of MODEL. Here they are parsed (no key twice, no NaN) and validated.
"""

import copy
import datetime
import ipaddress
import json
import os
import random
import re
import subprocess
import sys
import uuid

import jsonschema

WALKS = 12
SCHEMAS_OF_A_SEED = 120
UNFINISHED_SHARE_MAX = 0.02  # of walks that did not come to an end: those show nothing

UNSUPPORTED = {"multipleOf": 3, "uniqueItems": True, "patternProperties": {"a": {}}, "propertyNames": {},
               "minProperties": 1, "maxProperties": 2, "contains": {}, "not": {}, "if": {}, "then": {},
               "else": {},
               "dependentRequired": {}, "dependentSchemas": {}, "unevaluatedProperties": False,
               "unevaluatedItems": False, "$dynamicRef": "#a", "additionalItems": False, "made_up": 1}


def with_null(schema):
    """OpenAPI's nullable in JSON Schema's own words."""
    if isinstance(schema, list):
        return [with_null(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: with_null(value) for key, value in schema.items()}
    if schema.pop("nullable", False) is True:
        if "type" in schema:
            types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
            schema["type"] = types + ["null"]
        if "enum" in schema:
            schema["enum"] = schema["enum"] + [None]
    return schema


def make_format_checker():
    checker = jsonschema.FormatChecker(formats=())
    hostname = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")
    time = re.compile(r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)", re.ASCII)

    def is_email(text):
        local, _, domain = text.rpartition("@")
        return (re.fullmatch(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*", local)
                and len(local) <= 64 and hostname.fullmatch(domain) and len(domain) <= 253)

    def is_date_time(text):
        date, _, rest = text.partition("T")
        return datetime.date.fromisoformat(date) and time.fullmatch(rest)

    formats = {"date": datetime.date.fromisoformat, "time": time.fullmatch, "date-time": is_date_time,
               "uuid": lambda text: str(uuid.UUID(text)) == text.lower(), "ipv4": ipaddress.IPv4Address,
               "email": is_email, "hostname": lambda text: hostname.fullmatch(text) and len(text) <= 253}
    for name, check in formats.items():
        checker.checks(name, raises=ValueError)(
            lambda value, check=check: not isinstance(value, str) or bool(check(value)))
    return checker


FORMATS = make_format_checker()


def unique(pairs):
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError(f"a key comes twice: {keys}")
    return dict(pairs)


def no_constant(name):
    raise ValueError(f"{name} is no JSON")


def fault_of(text, schema):
    """None when the answer is valid by the schema."""
    try:
        value = json.loads(text, object_pairs_hook=unique, parse_constant=no_constant)
        jsonschema.Draft202012Validator(with_null(schema), format_checker=FORMATS).validate(value)
    except (ValueError, jsonschema.ValidationError) as error:
        return str(error).split("\n", maxsplit=1)[0]
    return None


class Generator:
    """Random schemas out of all that is honoured, and now and then something that is not."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.names = ["a", "b", "ab", "c d", "é", "k\"", ""]
        self.matches = {}  # of each pattern, a text that it matches

    def maybe(self, schema, key, value, share=0.5):
        if self.random.random() < share:
            schema[key] = value() if callable(value) else value

    def number(self):
        return self.random.choice([0, 1, -1, 3, 12, -20, 100, 0.5, -2.25, 1e3, 7.125])

    def string(self):
        schema = {"type": "string"}
        kind = self.random.random()
        if kind < 0.5:
            self.maybe(schema, "minLength", self.random.randrange(5))
            self.maybe(schema, "maxLength", 4 + self.random.randrange(150))
        elif kind < 0.7:
            schema["pattern"] = self.pattern()
        elif kind < 0.8:
            schema["format"] = self.random.choice(
                ["date", "time", "uuid", "ipv4", "email", "date-time", "hostname"])
        return schema

    def pattern(self):
        atoms = {"a": "a", "\\d": "7", "\\w": "w", "[a-f]": "c", "[^a-f]": "g", ".": "m", "\\.": ".",
                 "(x|yz)": "yz", "\\s": " ", "[\\d_]": "_", "é": "é", "\\W": "!", "\\\\": "\\", "\"": "\""}
        counts = {"": 1, "*": 0, "+": 1, "?": 0, "{2}": 2, "{1,3}": 2, "{2,}": 2, "+?": 1}
        body, match = "", ""
        for _ in range(1 + self.random.randrange(5)):
            atom = self.random.choice(list(atoms))
            count = self.random.choice(["", *counts])
            body += atom + count
            match += atoms[atom] * counts[count]
        pattern = self.random.choice(["", "^"]) + body + self.random.choice(["", "$"])
        self.matches[pattern] = match
        return pattern

    def numeric(self):
        schema = {"type": self.random.choice(["integer", "number"])}
        self.maybe(schema, self.random.choice(["minimum", "exclusiveMinimum"]), self.number)
        self.maybe(schema, self.random.choice(["maximum", "exclusiveMaximum"]), self.number)
        return schema

    def array(self, depth):
        schema = {"type": "array"}
        self.maybe(schema, "items", lambda: self.schema(depth - 1), 0.7)
        self.maybe(schema, "prefixItems",
                   lambda: [self.schema(depth - 1) for _ in range(self.random.randrange(4))], 0.3)
        self.maybe(schema, "minItems", self.random.randrange(4))
        self.maybe(schema, "maxItems", 3 + self.random.randrange(80))
        return schema

    def object(self, depth):
        names = self.random.sample(self.names, self.random.randrange(len(self.names)))
        schema = {"type": "object", "properties": {name: self.schema(depth - 1) for name in names}}
        self.maybe(schema, "required",
                   lambda: [name for name in self.names[:5] if self.random.random() < 0.4])
        self.maybe(schema, "additionalProperties",
                   lambda: self.random.choice([True, False, False, self.schema(0)]))
        return schema

    def constants(self):
        values = [1, 2, 0.5, "a", "b\"\n", None, True, [], [1], {"k": "v"}, -3, "é"]
        self.random.shuffle(values)
        return self.random.choice([{"enum": values[:1 + self.random.randrange(5)]}, {"const": values[0]}])

    def combined(self, depth):
        keyword = self.random.choice(["anyOf", "anyOf", "oneOf", "allOf"])
        schema = {keyword: [self.schema(depth - 1) for _ in range(1 + self.random.randrange(3))]}
        if self.random.random() < 0.4:
            schema.update(self.random.choice(
                [self.object(0), self.numeric(), {"type": ["string", "object", "null"]}]))
        return schema

    def schema(self, depth=3):
        makers = [self.string, self.numeric, self.constants, lambda: {"type": "boolean"},
                  lambda: {"type": self.random.sample(
                      ["null", "string", "integer", "number", "boolean", "array"], 2)},
                  lambda: {"$ref": self.random.choice(["#/$defs/d", "#/$defs/e", "#"])}]
        if depth > 0:
            deeper = [lambda: self.object(depth), lambda: self.array(depth), lambda: self.combined(depth)]
            makers += deeper * 3
        schema = self.random.choice(makers)()
        if "type" in schema:
            self.maybe(schema, "nullable", True, 0.05)
        if self.random.random() < 0.01:
            key = self.random.choice(list(UNSUPPORTED))
            schema[key] = UNSUPPORTED[key]
        return schema

    def document(self):
        schema = self.schema()
        schema["$defs"] = {"d": self.schema(1), "e": self.schema(1)}
        return schema


def keywords_of(schema):
    if isinstance(schema, list):
        return set().union(*map(keywords_of, schema)) if schema else set()
    if not isinstance(schema, dict):
        return set()
    return set(schema) | set().union(*map(keywords_of, schema.values())) if schema else set()


def patterns_of(schema):
    if isinstance(schema, list):
        return [pattern for part in schema for pattern in patterns_of(part)]
    if not isinstance(schema, dict):
        return []
    own = [schema["pattern"]] if isinstance(schema.get("pattern"), str) else []
    return own + [pattern for part in schema.values() for pattern in patterns_of(part)]


def walks_of(program, model, schemas, seed, matches=None):
    """For each schema the list of (what, text). A walk that wants to end spells a text of `matches` now and
    then: without it, it would hardly ever draw what a pattern without ^ waits for."""
    def line(schema):
        hints = [matches[pattern] for pattern in patterns_of(schema) if pattern in (matches or {})]
        return "\t".join([json.dumps(schema, ensure_ascii=False)]
                         + [json.dumps(hint, ensure_ascii=False)[1:-1] for hint in hints if hint])

    lines = "".join(line(schema) + "\n" for schema in schemas)
    ran = subprocess.run([program, model, str(WALKS), str(seed)], input=lines.encode(), capture_output=True,
                         check=True)
    output, at, walks = ran.stdout, 0, []
    while at < len(output):
        end = output.index(b"\n", at)
        what, size = output[at:end].decode().rsplit(" ", 1)
        text = output[end + 1:end + 1 + int(size)]
        at = end + 2 + int(size)
        walks.append((what, text))
    answers = iter(walks)
    told = []
    for _ in schemas:
        first = next(answers)
        refused = first[0].startswith("refused")
        told.append([first] if refused else [first] + [next(answers) for _ in range(WALKS - 1)])
    return told


class Tally:
    def __init__(self):
        self.counts = {"answers": 0, "unfinished": 0, "accepted": 0, "refused": 0}
        self.faults = []

    def add(self, schema, walks, must_be_accepted):
        if walks[0][0].startswith("refused"):
            self.counts["refused"] += 1
            message = walks[0][1].decode()
            named = any(f"'{keyword}" in message or f"{keyword}'" in message
                        for keyword in keywords_of(schema))
            says_why = (walks[0][0] == "refused invalid_request" or "left-recursive" in message
                        or "nested too deeply" in message)
            if must_be_accepted or not (named or says_why):
                self.faults.append(f"{json.dumps(schema)}\n    refused: {message}")
            return
        self.counts["accepted"] += 1
        for what, text in walks:
            if what == "unfinished":
                self.counts["unfinished"] += 1
                continue
            self.counts["answers"] += 1
            fault = text.decode() if what == "failed" else fault_of(text.decode(), schema)
            if fault is not None:
                self.faults.append(f"{json.dumps(schema)}\n    {what} {text[:300]!r}\n    {fault}")


def check_unsupported(program, model):
    """Each keyword that is not honoured is named, at the root and below."""
    faults = []
    for depth in range(2):
        schemas = []
        for key, value in UNSUPPORTED.items():
            schema = {"type": ["object", "array", "integer"], key: copy.deepcopy(value)}
            schemas.append(schema if depth == 0 else {"type": "array", "items": schema})
        for key, walks in zip(UNSUPPORTED, walks_of(program, model, schemas, 1)):
            place = "#" if depth == 0 else "#/items"
            if walks[0][0] != "refused not_supported" or f"'{key}' at {place} " not in walks[0][1].decode():
                faults.append(f"{key} at {place}: {walks[0]}")
    return faults


def main(arguments):
    program, model = arguments[1:3]
    tally = Tally()
    tally.faults += check_unsupported(program, model)
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "schemas.json"), encoding="utf-8") as file:
        table = json.load(file)
    for schema, walks in zip(table, walks_of(program, model, table, 1)):
        tally.add(schema, walks, True)
    for seed in range(1, 1 + int(os.environ.get("DEEPSERVE_SEEDS", "3"))):
        generator = Generator(seed)
        schemas = [generator.document() for _ in range(SCHEMAS_OF_A_SEED)]
        before = len(tally.faults)
        for schema, walks in zip(schemas,
                                 walks_of(program, model, schemas, seed, generator.matches)):
            tally.add(schema, walks, False)
        if len(tally.faults) > before:
            print(f"seed {seed} found something")
    for fault in tally.faults[:20]:
        print(fault)
    counts = tally.counts
    print(f"schemas: {counts['accepted']} accepted, {counts['refused']} refused; "
          f"answers: {counts['answers']} validated, {counts['unfinished']} unfinished, "
          f"{len(tally.faults)} faults")
    too_few = (counts["unfinished"] > UNFINISHED_SHARE_MAX * counts["answers"]
               or counts["accepted"] < counts["refused"])
    if too_few:
        print("too few walks came to an end, or too few schemas were accepted, to show anything")
    return 1 if tally.faults or too_few else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
