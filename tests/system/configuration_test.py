"""dsd refuses a bad configuration before it does anything, and says all that is wrong with it."""

import json
import os
import subprocess
import tempfile
import unittest

import harness


class Configuration(unittest.TestCase):
    def setUp(self):
        self.directory = self.enterContext(tempfile.TemporaryDirectory())
        self.path = os.path.join(self.directory, "deepserve.toml")

    def dsd(self, config, *options):
        with open(self.path, "w") as file:
            file.write(config)
        command = [harness.program("dsd"), "--config", self.path, "--runtime-dir", self.directory + "/run",
                   "--state-dir", self.directory + "/state", *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=harness.BOUND_S)

    def model(self):
        with open(os.path.join(self.directory, "m.gguf"), "w") as file:
            file.write("x")
        return '[[model]]\nname = "m"\npath = "m.gguf"\ndevices = ["cpu0"]\n'

    def test_check_names_file_line_and_column_of_every_problem(self):
        config = "[server]\nlisten = 5\n" + harness.DEVICE + self.model() + 'colour = "red"\n'
        checked = self.dsd(config, "--check")
        self.assertEqual(checked.returncode, 1)
        lines = checked.stderr.splitlines()
        self.assertEqual(len(lines), 2, checked.stderr)
        self.assertTrue(lines[0].startswith(f"{self.path}:2:10: server.listen"), lines[0])
        self.assertTrue(lines[1].startswith(f"{self.path}:10:1: unknown key 'model.colour'"), lines[1])
        as_json = json.loads(self.dsd(config, "--check", "--json").stdout)
        self.assertFalse(as_json["ok"])
        self.assertEqual([error["line"] for error in as_json["errors"]], [2, 10])

    def test_a_good_one_passes_the_check(self):
        checked = self.dsd(harness.DEVICE + self.model(), "--check")
        self.assertEqual((checked.returncode, checked.stderr), (0, ""))
        self.assertTrue(json.loads(self.dsd(harness.DEVICE + self.model(), "--check", "--json").stdout)["ok"])

    def test_serving_a_bad_one_ends_with_1_before_anything_is_made(self):
        served = self.dsd('[[device]]\nname = "gpu0"\nkind = "cuda"\ngpu = -1\n' + self.model())
        self.assertEqual(served.returncode, 1)
        self.assertIn("device.gpu: -1 is not within 0 to 255", served.stderr)
        self.assertFalse(os.path.exists(self.directory + "/run"))

    def test_the_default_configuration_is_valid_apart_from_its_model(self):
        with open(os.path.join(harness.source, "etc", "deepserve.toml")) as file:
            text = file.read()
        os.makedirs(os.path.join(self.directory, "models"))
        with open(os.path.join(self.directory, "models", "tiny.gguf"), "w") as file:
            file.write("x")
        checked = self.dsd(text, "--check")
        self.assertEqual(checked.returncode, 0, checked.stderr)

    def test_wrong_arguments_are_a_usage_error(self):
        self.assertEqual(self.dsd("", "--bogus").returncode, 2)
        without = subprocess.run([harness.program("dsd")], capture_output=True, text=True,
                                 timeout=harness.BOUND_S)
        self.assertEqual(without.returncode, 2)
        version = subprocess.run([harness.program("dsd"), "--version"], capture_output=True, text=True,
                                 timeout=harness.BOUND_S)
        self.assertEqual(version.returncode, 0)

    def test_a_runner_that_is_not_there_is_named(self):
        served = self.dsd(harness.DEVICE + self.model(), "--runner", "/nonexistent/ds-runner")
        self.assertEqual(served.returncode, 1)
        self.assertIn("/nonexistent/ds-runner", served.stderr)


if __name__ == "__main__":
    harness.main()
