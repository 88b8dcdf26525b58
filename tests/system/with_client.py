"""Runs a test file with the official Python client, installed from requirements.txt into a build folder.

    python3 with_client.py FOLDER TEST_FILE [ARGUMENTS]

Where the package registry cannot be reached the test is skipped, and says so; everything else that goes wrong
fails it.
"""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
REQUIREMENTS = os.path.join(HERE, "requirements.txt")
SKIPPED = 77  # ctest's SKIP_RETURN_CODE
UNREACHABLE = ("Connection", "Temporary failure", "Network is unreachable", "timed out",
               "No matching distribution")


def install(folder):
    """Makes the folder what requirements.txt says, unless it is already."""
    with open(REQUIREMENTS) as file:
        wanted = file.read()
    stamp = os.path.join(folder, "installed")
    if os.path.exists(stamp) and open(stamp).read() == wanted:
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    pip = subprocess.run([os.path.join(folder, "bin", "pip"), "install", "--quiet", "--retries", "1", "-r",
                          REQUIREMENTS], text=True, stderr=subprocess.PIPE)
    if pip.returncode != 0:
        print(pip.stderr, file=sys.stderr)
        if any(words in pip.stderr for words in UNREACHABLE):
            print("skipped: the package registry cannot be reached", file=sys.stderr)
            sys.exit(SKIPPED)
        sys.exit(1)
    with open(stamp, "w") as file:
        file.write(wanted)


def main():
    folder, *command = sys.argv[1:]
    install(folder)
    python = os.path.join(folder, "bin", "python")
    os.execv(python, [python, *command])


main()
