"""systemd accepts our units, users and directories."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest

import harness


class Units(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="deepserve-units-")
        self.addCleanup(shutil.rmtree, self.directory)

    def test_systemd_analyze_accepts_the_units(self):
        if shutil.which("systemd-analyze") is None:
            raise unittest.SkipTest("systemd-analyze is not installed")
        units = os.path.join(harness.source, "systemd")
        names = ["deepserve.service", "deepserve-api.socket", "deepserve-ctl.socket"]
        for name in names:
            with open(os.path.join(units, name)) as file:
                text = file.read()
            # verify wants the program to exist; this build's has another path than an installed one.
            text = re.sub(r"^(Exec\w+)=\S+", r"\1=/bin/true", text, flags=re.M)
            text = re.sub(r"^Documentation=.*\n", "", text, flags=re.M)
            with open(os.path.join(self.directory, name), "w") as file:
                file.write(text)
        verified = subprocess.run(["systemd-analyze", "verify", *names], cwd=self.directory,
                                  capture_output=True, text=True, timeout=50)
        ours = [line for line in verified.stderr.splitlines() if "deepserve" in line]
        self.assertEqual(verified.returncode, 0, verified.stderr)
        self.assertEqual(ours, [])

    def test_the_sysusers_and_tmpfiles_lines_are_accepted(self):
        for tool, folder in (("systemd-sysusers", "sysusers.d"), ("systemd-tmpfiles", "tmpfiles.d")):
            if shutil.which(tool) is None:
                print(f"skipped: {tool} is not installed")
                continue
            file = os.path.join(harness.source, "systemd", folder, "deepserve.conf")
            if tool == "systemd-sysusers":
                os.makedirs(os.path.join(self.directory, "etc"), exist_ok=True)
                command = [tool, f"--root={self.directory}", "--dry-run", file]
            else:
                self.assertTrue(os.path.exists(os.path.join(self.directory, "etc")))
                os.makedirs(os.path.join(self.directory, "root"), exist_ok=True)
                with open(os.path.join(self.directory, "etc", "passwd"), "w") as passwd:
                    passwd.write("root:x:0:0::/root:/bin/sh\n"
                                 "deepserve:x:990:990::/var/lib/deepserve:/bin/false\n")
                with open(os.path.join(self.directory, "etc", "group"), "w") as group:
                    group.write("root:x:0:\ndeepserve:x:990:\n")
                command = [tool, "--create", f"--root={self.directory}", file]
            ran = subprocess.run(command, capture_output=True, text=True, timeout=50)
            self.assertEqual(ran.returncode, 0, ran.stderr)
            self.assertNotIn("deepserve.conf:", ran.stderr)


if __name__ == "__main__":
    harness.main()
