# SPDX-License-Identifier: Apache-2.0
"""House rules that a machine can see (core/README.md, CODE.md): what may include what, headers that compile alone,
names that are unique, every policy that loads."""
import collections
import glob
import os
import re
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "spec", "wire"))
import harness                      # noqa: E402

# core/README.md's table. Tests, fuzzers and benches may look anywhere.
MAY = {
    "util": "", "limit": "util", "smtp": "util", "mail": "util smtp", "net": "util", "spool": "util net", "account": "util",
    "policy": "util mail net smtp", "queue": "util limit smtp mail net spool policy",
    "delivery": "util limit smtp mail net spool policy queue account",
    "reception": "util limit smtp mail net spool policy queue account delivery",
    "sim": "util limit smtp mail net spool policy queue account delivery reception control",
    "control": "util limit smtp mail net spool policy queue account delivery",
}
OUTSIDE = {
    r"<ev\.h>": r"core/net/\w+_os\.[ch]", r"<udns\.h>": r"core/net/\w+_os\.c",
    r"<(sys/socket|netinet/in|arpa/inet)\.h>": r"core/(net/\w+_os|cmd/\w+)\.[ch]",
    r"<mbedtls/": r"core/net/tls_(ends_)?os\.[ch]", r"<(luajit-2\.1/)?(lua|lauxlib|lualib|luajit)\.h>": r"core/policy/lua_api\.h",
    r'"policy/lua_api\.h"': r"core/(policy/\w+|sim/(sink_script|spec_host|\w+_lua|world_lua_own))\.[ch]",
}


def sources(pattern="core/**/*.[ch]", product=False):
    for path in sorted(glob.glob(os.path.join(ROOT, pattern), recursive=True)):
        name = os.path.relpath(path, ROOT)
        if product and re.search(r"_(test|fuzz|bench)\.c$|_(fixture|testing|model|drive|post)\.h$", name):
            continue
        with open(path, encoding="utf-8") as file:
            yield name, file.read()


class House(unittest.TestCase):
    def test_includes_point_one_way(self):
        wrong = []
        for name, text in sources(product=True):
            parts = name.split("/")
            if len(parts) != 3 or parts[1] not in MAY:
                continue
            allowed = {parts[1], *MAY[parts[1]].split()}
            for folder in re.findall(r'^#include "(\w+)/', text, re.M):
                if folder not in allowed:
                    wrong.append(f"{name} includes {folder}/")
        self.assertEqual(wrong, [])

    def test_the_outside_stays_behind_its_doors(self):
        wrong = [f"{name} includes {header}" for name, text in sources(product=True) for header, where in OUTSIDE.items()
                 if re.search(rf"^#include {header}", text, re.M) and not re.fullmatch(where, name)]
        self.assertEqual(wrong, [])

    def test_the_top_level_holds_what_it_should_and_nothing_else(self):
        try:
            listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
        except FileNotFoundError:
            listed = None
        if listed is None or listed.returncode != 0:
            self.skipTest("needs git, and a checkout")
        names = {path.split("/")[0] for path in listed.stdout.splitlines() if not path.startswith(".")}
        self.assertEqual(names, {"core", "lua", "policies", "spec", "deps", "Makefile", "README.md", "LICENSE"})

    def test_headers_compile_alone(self):
        flags = subprocess.run("pkg-config --cflags luajit jansson libpcre2-8", shell=True, capture_output=True, text=True).stdout.split()
        headers = [os.path.relpath(p, ROOT) for p in glob.glob(os.path.join(ROOT, "core/**/*.h"), recursive=True)]
        self.assertGreater(len(headers), 50)
        for header in sorted(headers):
            if header.endswith(("_testing.h", "_model.h", "_fixture.h", "_drive.h", "_post.h")):
                continue        # parts of tests
            with self.subTest(header):
                done = subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-Icore", "-Wall", "-fsyntax-only", "-x", "c", *flags, header],
                                      cwd=ROOT, capture_output=True, text=True)
                self.assertEqual(re.sub(r".*#pragma once in main file.*\n(.*\n.*\n)?", "", done.stderr), "")
                self.assertEqual(done.returncode, 0)

    def test_base_names_are_unique(self):
        seen = collections.defaultdict(set)
        for name, _ in sources():
            seen[re.sub(r"\.[ch]$", "", os.path.basename(name))].add(os.path.dirname(name))
        self.assertEqual({k: v for k, v in seen.items() if len(v) > 1}, {})

    def test_every_file_says_its_licence(self):
        self.assertEqual([name for name, text in sources() if "SPDX-License-Identifier: Apache-2.0" not in text], [])

    def test_nothing_is_thread_local_and_no_variable_is_global(self):
        for name, text in sources(product=True):
            with self.subTest(name):
                self.assertNotRegex(text, r"\b(__thread|_Thread_local)\b")
                for line in re.findall(r"^static (?!const\b|inline\b)[^(={]*[;=].*$", text, re.M):
                    # A key's address is what counts; nobody writes to it.
                    self.assertRegex(line, r"\bconst\b|\(|^static char (\w+_key[,;] ?)+", "a mutable global")

    def test_every_folder_of_core_is_on_the_map(self):
        with open(os.path.join(ROOT, "core/README.md"), encoding="utf-8") as file:
            page = file.read()
        for folder in sorted(next(os.walk(os.path.join(ROOT, "core")))[1]):
            self.assertIn(f"`{folder}/`", page)

    def policies(self):
        return [os.path.relpath(p, ROOT) for p in sorted(glob.glob(os.path.join(ROOT, "policies/**/*.lua"), recursive=True))]

    def test_every_policy_that_ships_loads_without_a_word(self):
        for path in self.policies():
            if path.startswith("policies/providers/"):
                continue            # parts of policies: the default policy requires them all
            with self.subTest(path):
                done = harness.command("check", os.path.join(ROOT, path))
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertNotIn("warning", done.stdout)

    def test_every_provider_is_in_all_of_them(self):
        with open(os.path.join(ROOT, "policies/providers/all.lua"), encoding="utf-8") as file:
            listed = re.findall(r'"(\w+)"[,\s]', re.search(r"names = \{(.*?)\}", file.read(), re.S).group(1) + " ")
        there = [os.path.basename(p)[:-len(".lua")] for p in self.policies() if p.startswith("policies/providers/")]
        self.assertEqual(sorted(listed + ["all", "everybody"]), there)

    def test_every_policy_has_a_spec(self):
        for path in self.policies():
            self.assertTrue(os.path.exists(os.path.join(ROOT, "spec", path[:-len(".lua")] + "_spec.lua")), f"{path} has no spec")

    def test_every_parser_of_input_has_a_fuzzer_with_seeds(self):
        for path in sorted(glob.glob(os.path.join(ROOT, "core/*/*_fuzz.c"))):
            seeds = os.path.join(ROOT, "spec/corpus", os.path.basename(path)[:-len("_fuzz.c")])
            self.assertTrue(os.path.isdir(seeds) and os.listdir(seeds), f"{seeds} holds no seed")


harness.main()
