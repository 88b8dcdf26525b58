"""What a run of the GPU checks has found: the JSON file and the table that is printed last."""

import json
import math

FIGURE_KEYS = ("name", "value", "unit", "n", "spread")  # what a program tells of each


class BadFigures(Exception):
    """A program's output is not what README.md says that it prints."""


def judged(figure, bar):
    """The figure with its bar ((">=" or "<=", number), or None) and PASS, FAIL or "not judged"."""
    missing = [key for key in FIGURE_KEYS if key not in figure]
    value = figure.get("value")
    if missing or isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise BadFigures(f"figure {figure.get('name')}: no number, or without {', '.join(FIGURE_KEYS)}")
    result = {key: figure[key] for key in FIGURE_KEYS}
    if bar is None:
        return result | {"bar": None, "outcome": "not judged"}
    sign, limit = bar
    passed = value >= limit if sign == ">=" else value <= limit
    return result | {"bar": f"{sign} {limit:g}", "outcome": "PASS" if passed else "FAIL"}


def read_figures(text, bars):
    """The figures in a program's output: its last line that is a JSON object. BadFigures if one lacks."""
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            try:
                told = json.loads(line)["figures"]
                break
            except (ValueError, KeyError, TypeError) as error:
                raise BadFigures(f"no figures in the JSON that it printed: {error}") from error
    else:
        raise BadFigures("it printed no JSON")
    if not isinstance(told, list) or not all(isinstance(figure, dict) for figure in told):
        raise BadFigures("its figures are no list of objects")
    figures = [judged(figure, bars.get(figure.get("name"))) for figure in told]
    absent = sorted(set(bars) - {figure["name"] for figure in figures})
    if absent:
        raise BadFigures(f"it told nothing of {', '.join(absent)}")
    return figures


def table(stages):
    """Lines, one a stage and one a figure."""
    lines = []
    for stage in stages:
        line = f"{stage['name']:<22} {stage['outcome']:<10} {stage['seconds']:6.1f} s  {stage['why']}"
        lines.append(line.rstrip())
        for one in stage["figures"]:
            value = f"{one['value']:.4g} {one['unit']}".strip()
            bar = f"bar {one['bar']}" if one["bar"] else ""
            spread = f"n={one['n']} spread {one['spread']}"
            lines.append(f"  {one['name']:<42} {value:<16} {bar:<14} {one['outcome']:<10} {spread}")
    return lines


def write(path, stages, deadline_s):
    """One object: deadline_s, passed, and the stages as they are."""
    with open(path, "w") as file:
        json.dump({"deadline_s": deadline_s, "passed": all_passed(stages), "stages": stages}, file, indent=1)
        file.write("\n")


def all_passed(stages):
    return bool(stages) and all(stage["outcome"] == "PASS" for stage in stages)
