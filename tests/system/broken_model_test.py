"""Broken models offered while the good one serves: bit flips, cut files, sizes that lie."""

import os
import random
import struct
import unittest

import harness
from harness import DEVICE, Dsd, dsctl, model_toml, tiny_model, wait_for
from swap_test import Load

SEED = int(os.environ.get("DEEPSERVE_SEED", "20261122"))
FILES = int(os.environ.get("DEEPSERVE_BROKEN_FILES", "200"))


def flip(data, chance):
    at = chance.randrange(len(data)) if chance.random() < 0.2 else chance.randrange(8_192)
    data[at] ^= 1 << chance.randrange(8)
    return "one bit"


def flips(data, chance):
    for _ in range(chance.randrange(2, 64)):
        data[chance.randrange(64_000)] ^= 1 << chance.randrange(8)
    return "some bits"


def cut(data, chance):
    del data[chance.randrange(len(data)):]
    return "cut"


def lie(data, chance):
    """A count or size of the header, or a number somewhere in the metadata, becomes absurd."""
    value = chance.choice([0, 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1])
    at = chance.choice([8, 16]) if chance.random() < 0.3 else chance.randrange(24, 30_000)
    data[at:at + 8] = struct.pack("<Q", value)
    return "a size that lies"


class BrokenModel(unittest.TestCase):
    def test_the_good_one_serves_on(self):
        chance = random.Random(SEED)
        with open(tiny_model(), "rb") as file:
            good = file.read()
        with Dsd(DEVICE + model_toml(extra='keep_warm = "0s"\n')) as dsd:
            dsd.wait_ready()
            path = os.path.join(dsd.directory, "broken.gguf")
            refused, taken, offered = {}, {}, 0
            with Load(dsd, clients=1, tokens=8) as load:
                while offered < FILES:
                    data = bytearray(good)
                    kind = chance.choice([flip, flips, cut, lie])(data, chance)
                    with open(path, "wb") as file:
                        file.write(data)
                    offered += 1
                    done = dsctl(dsd, "model", "canary", "tiny", "--path", path, "--percent", "0.1")
                    if done.returncode == 0:
                        # Nothing that can be seen without serving it is wrong with it: it is sent away again.
                        taken[kind] = taken.get(kind, 0) + 1
                        self.assertEqual(dsctl(dsd, "model", "rollback", "tiny").returncode, 0)
                        continue
                    self.assertEqual(done.returncode, 1, done.stderr)
                    self.assertIn("could not be loaded", done.stderr)
                    refused[kind] = refused.get(kind, 0) + 1
            self.assertEqual(load.failures, [])
            self.assertEqual(len(load.texts), 1)
            row = dsd.control("GET", "/ctl/models").json[0]
            self.assertEqual((row["state"], row["generation"]), ("ready", 1))
            wait_for(lambda: len(dsd.runners()) == 1, "the last broken one to be gone")
            print(f"seed {SEED}: {offered} broken files, refused {refused}, loaded all the same {taken}; "
                  f"{len(load.ttfts)} answers meanwhile, 0 failed")


if __name__ == "__main__":
    harness.main()
