#!/usr/bin/env python3
"""House style as a test: prints `file:line: rule: what` for each breach in the tracked files; exits 1 if any.

usage: tidy.py ROOT [PATH...]      only the breaches in those files or folders, where given
"""

import os
import shutil
import subprocess
import sys
from collections import Counter

import function_lengths
import include_rules
import text_rules
from source_files import Breach, SourceFile, is_cpp

FORMATTER_MAJOR = 14


def tracked_paths(root):
    """Paths relative to root: what git tracks; without git, all but hidden and build folders."""
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "-C", root, "ls-files", "-z"],
        capture_output=True, text=True, check=False)
    if listing.returncode == 0 and listing.stdout:
        paths = listing.stdout.rstrip("\0").split("\0")
    else:
        paths = []
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if not name.startswith(".") and name != "build"]
            paths += [os.path.relpath(os.path.join(folder, name), root) for name in names]
    return sorted(path for path in paths if os.path.isfile(os.path.join(root, path)))


def find_formatter():
    """The clang-format whose output the tree has, or None and why there is none."""
    for name in (f"clang-format-{FORMATTER_MAJOR}", "clang-format"):
        program = shutil.which(name)
        if program is None:
            continue
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
        if f"version {FORMATTER_MAJOR}." in version:
            return program, ""
    return None, f"clang-format {FORMATTER_MAJOR} is not installed"


def format_breaches(program, root, paths):
    """One breach a file: the first place that clang-format would change."""
    breaches = []
    batch_files = 50  # keeps the command line short
    for start in range(0, len(paths), batch_files):
        command = [program, "--dry-run", "--style=file", *paths[start:start + batch_files]]
        checked = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        reported = set()
        for line in checked.stderr.splitlines():
            parts = line.split(":", 3)
            if len(parts) == 4 and "clang-format-violations" in line and parts[0] not in reported:
                reported.add(parts[0])
                breaches.append(Breach(parts[0], int(parts[1]), "format", "clang-format would change this"))
        if checked.returncode != 0:
            why = checked.stderr.strip()[:200]
            breaches.append(Breach(paths[start], 1, "format", f"clang-format failed: {why}"))
    return breaches


def all_breaches(root, paths):
    sources = [source for source in (SourceFile.read(root, path) for path in paths) if source is not None]
    breaches = text_rules.folder_breaches(paths)
    pure_stems = include_rules.pure_stems(sources)
    for source in sources:
        breaches += text_rules.breaches(source)
        if is_cpp(source.path):
            breaches += include_rules.breaches(source, pure_stems)
            breaches += function_lengths.breaches(source)
    formatter, why_not = find_formatter()
    if formatter is None:
        print(f"tidy: formatting was NOT checked: {why_not}")
    else:
        breaches += format_breaches(formatter, root, [path for path in paths if is_cpp(path)])
    return sorted(breaches)


def main(arguments):
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    root, wanted = os.path.abspath(arguments[1]), tuple(path.rstrip("/") for path in arguments[2:])
    paths = tracked_paths(root)
    breaches = all_breaches(root, paths)
    if wanted:
        breaches = [b for b in breaches
                    if any(b.path == path or b.path.startswith(path + "/") for path in wanted)]
    for breach in breaches:
        print(f"{breach.path}:{breach.line}: {breach.rule}: {breach.text}")
    rules = ", ".join(f"{count} {rule}" for rule, count in Counter(b.rule for b in breaches).most_common())
    print(f"tidy: {len(paths)} files, {len(breaches)} breaches" + (f": {rules}" if rules else ""))
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
