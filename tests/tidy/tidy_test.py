#!/usr/bin/env python3
"""The tidy test's own rules, each against a text that breaks it and one that does not."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import function_lengths
import include_rules
import text_rules
from source_files import SourceFile, blank_out


def rules(path, text):
    source = SourceFile(path, text)
    found = text_rules.breaches(source)
    if path.endswith((".h", ".cpp", ".cu")):
        found += include_rules.breaches(source, include_rules.pure_stems([source]))
        found += function_lengths.breaches(source)
    return [breach.rule for breach in found]


def function_of(lines, opening="int f(int a) {"):
    return opening + "\n" + "  a += 1;\n" * (lines - 2) + "}\n"


class Includes(unittest.TestCase):
    def test_layers_may_not_look_up_or_sideways(self):
        for path, include in (("ipc/lane/a.cpp", "runner/x.h"), ("kernels/cpu/a.cpp", "ipc/base/check.h"),
                              ("runner/model/a.cpp", "daemon/x.h"), ("daemon/api/a.cpp", "runner/x.h"),
                              ("daemon/api/a.cpp", "kernels/x.h"), ("ctl/a.cpp", "ipc/wire/messages.h"),
                              ("daemon/http/a.cpp", "daemon/serving/serving.h"),
                              ("ctl/a.cpp", "daemon/x.h")):
            self.assertEqual(rules(path, f'#include "{include}"\n'), ["include"], path)

    def test_what_the_design_allows_is_allowed(self):
        for path, include in (("ipc/lane/a.cpp", "ipc/base/fd.h"),
                              ("runner/model/a.cpp", "kernels/cpu/kernels.h"),
                              ("daemon/api/a.cpp", "ipc/wire/messages.h"), ("ctl/a.cpp", "ipc/base/errors.h"),
                              ("tests/unit/a.cpp", "daemon/x.h")):
            self.assertEqual(rules(path, f'#include "{include}"\n'), [], path)

    def test_our_includes_start_at_the_root_of_the_tree(self):
        self.assertEqual(rules("ctl/a.cpp", '#include "a.h"\n'), ["include"])
        self.assertEqual(rules("ctl/a.cpp", '#include "../ipc/base/fd.h"\n'), ["include"])
        self.assertEqual(rules("ctl/a.cpp", "#include <ipc/base/fd.h>\n"), ["include"])

    def test_cuda_headers_stay_in_the_cuda_folders(self):
        self.assertEqual(rules("runner/engine/a.cpp", "#include <cuda_runtime.h>\n"), ["cuda"])
        self.assertEqual(rules("kernels/cuda/a.cu", "#include <cuda_runtime.h>\n"), [])

    def test_nvml_stays_behind_its_interface(self):
        self.assertEqual(rules("daemon/serving/a.cpp", '#include "daemon/gpu/nvml_api.h"\n'), ["nvml"])
        self.assertEqual(rules("daemon/serving/a.cpp", '#include "daemon/gpu/gpus.h"\n'), [])
        self.assertEqual(rules("daemon/admission/a.cpp", '#include "daemon/gpu/gpu_monitor.h"\n'), ["pure"])

    def test_pure_rules_know_neither_the_os_nor_the_time(self):
        two_headers = "#include <unistd.h>\n#include <chrono>\n"
        self.assertEqual(rules("daemon/admission/a.cpp", two_headers), ["pure", "pure"])
        self.assertEqual(rules("daemon/dispatch/a.cpp", "auto t = monotonic_ns();\n"), ["pure"])
        no_calls = "// monotonic_ns() is the caller's\nstep_time(1);\n"
        self.assertEqual(rules("daemon/dispatch/a.cpp", no_calls), [])
        self.assertEqual(rules("daemon/supervise/child.cpp", "#include <unistd.h>\n"), [])
        self.assertEqual(rules("daemon/supervise/death.cpp", "#include <unistd.h>\n"), ["pure"])

    def test_a_header_that_calls_itself_pure_is_held_to_it(self):
        text = "// A table. Pure.\n#pragma once\n#include <sys/types.h>\n"
        self.assertEqual(rules("daemon/supervise/new.h", text), ["pure"])


class Texts(unittest.TestCase):
    def test_sizes(self):
        self.assertEqual(rules("a.py", "x" * 110 + "\n"), [])
        self.assertEqual(rules("a.py", "x" * 111 + "\n"), ["line"])
        self.assertEqual(rules("a.py", "\u00e4" * 110 + "\n"), [])
        self.assertEqual(rules("a.md", "x" * 500 + "\n"), [])
        self.assertEqual(rules("a.py", "x\n" * 600), [])
        self.assertEqual(rules("a.py", "x\n" * 601), ["file"])

    def test_headers_start_with_their_manual_and_guard_themselves(self):
        self.assertEqual(rules("ctl/a.h", "// What it is.\n#pragma once\n"), [])
        self.assertEqual(rules("ctl/a.h", "#pragma once\n"), ["header"])
        self.assertEqual(rules("ctl/a.h", "// What it is.\n"), ["header"])

    def test_tabs_and_marks_of_unfinished_work(self):
        self.assertEqual(rules("ctl/a.cpp", "\tint a;\n"), ["tab"])
        self.assertEqual(rules("a.md", "TO" + "DO: write\n"), ["unfinished"])
        self.assertEqual(rules("a.md", "mkdtemp of XX" + "XXXX\n"), [])

    def test_every_folder_at_the_top_has_a_readme(self):
        paths = ["a/x", "a/README.md", "b/y", ".ci/run", "c"]
        self.assertEqual([breach.path for breach in text_rules.folder_breaches(paths)], ["b"])


class Functions(unittest.TestCase):
    def test_the_limit_is_seventy_lines(self):
        self.assertEqual(rules("ctl/a.cpp", function_of(70)), [])
        self.assertEqual(rules("ctl/a.cpp", function_of(71)), ["function"])

    def test_all_kinds_of_functions_are_seen(self):
        for opening in ("TEST(Suite, Name) {", "template <typename T>\nT f(T a) const noexcept {",
                        "auto f() -> int {", "A::A(int a) : a_(a), b_{a} {", "bool operator==(A a) {",
                        "namespace x {\nclass B {\n public:\n  int f() {", "C f(int a) requires(true) {"):
            text = function_of(75, opening) + "}\n" * (opening.count("{") - 1 - opening.count("}"))
            self.assertEqual(rules("ctl/a.cpp", text), ["function"], opening)

    def test_types_tables_and_namespaces_may_be_long(self):
        for opening in ("class A {", "namespace a {", "enum class E : int {", "constexpr Row kRows[] = {",
                        "const std::map<int, int> kMap = make({", "const auto k = std::array{",
                        "template <typename T> struct A<T(int)> {"):
            text = function_of(90, opening).replace("a += 1;", "int a = 1;")
            self.assertEqual(rules("ctl/a.cpp", text), [], opening)

    def test_braces_in_texts_and_comments_do_not_count(self):
        tricky = 'int f() {\n  puts("{{{");  // {{{\n  char c = \'{\';\n  int n = 1\'000;\n}\n'
        text = tricky + function_of(60)
        self.assertEqual(len(list(function_lengths.functions(blank_out(text)))), 2)
        self.assertEqual(rules("ctl/a.cpp", text), [])


class WholeProgram(unittest.TestCase):
    def test_exit_codes_and_report(self):
        tidy = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tidy.py")
        root = tempfile.mkdtemp()
        try:
            os.mkdir(os.path.join(root, "ctl"))
            for name, text in (("README.md", "# ctl\n"), ("a.h", "// A.\n#pragma once\n")):
                with open(os.path.join(root, "ctl", name), "w", encoding="utf-8") as file:
                    file.write(text)
            def run():
                return subprocess.run(
                    [sys.executable, tidy, root], capture_output=True, text=True, check=False)
            self.assertEqual(run().returncode, 0, run().stdout)
            with open(os.path.join(root, "ctl", "a.h"), "a", encoding="utf-8") as file:
                file.write("#include <cuda.h>\n")
            self.assertEqual(run().returncode, 1)
            self.assertIn("ctl/a.h:3: cuda: ", run().stdout)
        finally:
            shutil.rmtree(root)


if __name__ == "__main__":
    unittest.main()
