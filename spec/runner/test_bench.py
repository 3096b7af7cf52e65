# SPDX-License-Identifier: Apache-2.0
"""spec/bench/run against a bench that prints what it is told."""
import json
import os
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "spec", "wire"))
import harness                      # noqa: E402


class BenchRunner(harness.Case):
    def setUp(self):
        super().setUp()
        os.makedirs(self.path("bench", "limit"))
        os.makedirs(self.path("bench", "util"))
        self.machine(10)

    def machine(self, ns):
        with open(self.path("bench", "util", "machine_bench"), "w", encoding="ascii") as file:
            file.write(f'#!/bin/sh\necho "machine.step {ns} ns"\n')
        os.chmod(self.path("bench", "util", "machine_bench"), 0o755)

    def run_bench(self, lines, *options, status=0):
        """Plays limit/rate_bench, whose n-th run prints the n-th of `lines`, the last one ever after."""
        program, turn = self.path("bench", "limit", "rate_bench"), self.path("turn")
        with open(turn, "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
        with open(program, "w", encoding="ascii") as file:
            file.write(f'#!/bin/sh\nhead -n 1 "{turn}" | tr ";" "\\n"\n[ "$(wc -l <"{turn}")" = 1 ] || sed -i 1d "{turn}"\nexit {status}\n')
        os.chmod(program, 0o755)
        return subprocess.run([os.path.join(ROOT, "spec/bench/run"), *options, "limit/rate"], env=dict(os.environ, B=self.folder),
                              capture_output=True, text=True, check=False, timeout=60)

    def kept(self, name="bench.json"):
        with open(self.path(name), encoding="utf-8") as file:
            whole = json.load(file)
        self.assertGreater(whole["cores"], 0)
        return {r["name"]: (r["value"], r["unit"]) for r in whole["results"]}

    def test_the_best_run_counts_by_the_units_direction(self):
        done = self.run_bench(["a.cost 3 ns;a.speed 10 /s", "a.cost 2 ns;a.speed 30 /s", "a.cost 5 ns;a.speed 20 /s", "a.cost 1 ns;a.speed 99 /s"])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.kept(), {"a.cost": (2, "ns"), "a.speed": (30, "/s")})
        self.run_bench(["a.cost 3 ns", "a.cost 1 ns"], "-n", "1")
        self.assertEqual(self.kept()["a.cost"], (3, "ns"))

    def test_what_became_worse_by_more_than_five_percent_is_marked(self):
        self.run_bench(["a.cost 100 ns;a.even 100 ns;a.speed 100 MB/s;a.gone 1 s"])
        done = self.run_bench(["a.cost 106 ns;a.even 104 ns;a.speed 94 MB/s;a.new 1 s"])
        marked = [line.split()[0] for line in done.stdout.splitlines() if line.endswith("worse")]
        self.assertEqual(marked, ["a.cost", "a.speed"])
        self.assertIn("1.06x", done.stdout)
        self.assertEqual(self.kept()["a.gone"], (1, "s"), "not measured now: stays")
        self.assertEqual(self.kept("bench.last.json")["a.cost"], (100, "ns"))
        better = self.run_bench(["a.cost 50 ns;a.speed 200 MB/s"])
        self.assertNotIn(" worse\n", better.stdout)

    def test_what_the_machine_lost_is_not_the_benchs_fault(self):
        self.run_bench(["a.cost 100 ns;a.speed 100 MB/s"])
        self.machine(15)
        self.assertNotIn("worse\n", self.run_bench(["a.cost 150 ns;a.speed 66 MB/s"]).stdout)
        self.machine(30)
        self.assertIn("worse\n", self.run_bench(["a.cost 320 ns"]).stdout, "twice as slow, but more than twice the cost")
        self.machine(10)
        self.assertIn("worse\n", self.run_bench(["a.cost 340 ns"]).stdout, "a machine that recovered forgives nothing")

    def test_a_bench_that_fails_or_talks_is_told_and_nothing_is_kept(self):
        for lines, status in ((["a.cost 1 ns"], 3), (["hello"], 0), ([""], 0)):
            with self.subTest(lines=lines):
                done = self.run_bench(lines, status=status)
                self.assertEqual(done.returncode, 1)
                self.assertIn("rate_bench", done.stderr)
                self.assertFalse(os.path.exists(self.path("bench.json")))


if __name__ == "__main__":
    harness.main()
