# SPDX-License-Identifier: Apache-2.0
"""README's policy and spec, typed by its reader, print what README says they print."""
import os
import re
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "wire"))
import harness  # noqa: E402
from harness import command  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def blocks():
    """(language, text) of each."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as readme:
        return re.findall(r"^```(\w*)\n(.*?)^```", readme.read(), re.M | re.S)


class Readme(unittest.TestCase):
    def test_its_policy_and_spec_print_what_it_shows(self):
        policy, spec = [text for language, text in blocks() if language == "lua"]
        shown = next(text for language, text in blocks() if text.startswith("$ sluice spec"))
        call, _, expected = shown.partition("\n")
        with tempfile.TemporaryDirectory() as folder:
            for name, text in (("policy.lua", policy), ("policy_spec.lua", spec)):
                with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                    file.write(text)
            patience = ["--timeout", str(int(10 * harness.SLOW))] if harness.SLOW > 1 else []
            done = command(*call.split()[2:], *patience, cwd=folder)
            checked = command("check", "policy.lua", cwd=folder)
        self.assertEqual(re.sub(r"\([\d.]+ s\)", "", done.stdout), re.sub(r"\([\d.]+ s\)", "", expected), done.stderr)
        self.assertEqual((checked.returncode, checked.stderr), (0, ""))


harness.main()
