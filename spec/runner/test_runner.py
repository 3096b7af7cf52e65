# SPDX-License-Identifier: Apache-2.0
"""`sluice spec`: its options, exit statuses and reports, and every way in which a spec can fail.

The specs that it runs are written into a folder of the test's, so that no search finds the ones that fail."""
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "spec", "wire"))
import harness                      # noqa: E402
from harness import until           # noqa: E402

GOOD = '''describe("numbers", function()
  it("add", function() assert.equal(4, 2 + 2) end)
  it("multiply #slow", function() assert.equal(4, 2 * 2) end)
  describe("far out #big", function()
    it("divide", function() assert.near(0.33, 1 / 3, 0.01) end)
    pending("wrap")
  end)
end)
'''

MIXED = '''describe("a <day> & \\"night\\"", function()
  it("passes", function() end)
  it("fails #now", function()
    assert.equal(1, 2)
  end)
  it("errs", function() error("boom \\255 \\1 ]]>") end)
  it("waits", function() pending("for rain") end)
end)
'''


class Runner(harness.Case):
    def spec(self, *argv, files=None, status=0, env=None, timeout=20):
        """Runs `sluice spec` in the test's folder."""
        for name, text in (files or {}).items():
            os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
            self.write(name, text)
        done = subprocess.run([harness.SLUICE, "spec", *argv], cwd=self.folder, capture_output=True, timeout=timeout * harness.SLOW,
                              stdin=subprocess.DEVNULL, env=dict(os.environ, **(env or {})), check=False)
        done.out, done.err = done.stdout.decode(), done.stderr.decode()
        self.assertEqual(done.returncode, status, done.out + done.err)
        return done

    def one(self, text, *argv, name="one_spec.lua"):
        """The only failure of a spec."""
        said = json.loads(self.spec("--json", *argv, name, files={name: text}, status=1).out)
        self.assertEqual(said["failed"], 1, said)
        return said["failures"][0]

    def names(self, *argv):
        return re.findall(r"^ok \d+ - (.*)$", self.spec("--output", "tap", *argv).out, re.M)

    # --- what is run ---

    def test_a_file_that_passes(self):
        out = self.spec("a_spec.lua", files={"a_spec.lua": GOOD}).out
        self.assertRegex(out, r"(?m)^a_spec\.lua$")
        self.assertRegex(out, r"(?m)^    ok +add$")
        self.assertRegex(out, r"\n3 passed, 0 failed, 1 pending \(\d+\.\d\d s\)\n$")

    def test_folders_are_searched(self):
        one = 'it("%s", function() end)\n'
        files = {name: one % name for name in ("spec/b_spec.lua", "spec/deep/er/a_spec.lua", "spec/helper.lua", "other/c_spec.lua")}
        out = self.spec("--output", "tap", files=files).out
        self.assertEqual(re.findall(r"ok \d+ - (.*)", out), ["spec/b_spec.lua", "spec/deep/er/a_spec.lua"])
        os.symlink(self.path("spec"), self.path("spec", "deep", "again"))
        self.assertRegex(self.spec("other/").out, r"^other/c_spec\.lua\n")
        self.assertEqual(self.names("other/", "spec"), ["other/c_spec.lua", "spec/b_spec.lua", "spec/deep/er/a_spec.lua"])
        self.assertEqual(self.names("spec/helper.lua"), ["spec/helper.lua"], "a file may be called anything")

    def test_nothing_to_run_is_a_failure(self):
        self.write("a_spec.lua", GOOD)
        os.mkdir(self.path("empty"))
        self.assertIn("no spec was found", self.spec("empty", status=1).err)
        self.assertIn("no test was asked for", self.spec("a_spec.lua", "--filter", "nowhere", status=1).err)

    def test_misuse(self):
        self.write("a_spec.lua", GOOD)
        for argv, what in ((["nowhere"], "sluice: nowhere: no such file or folder\n"),
                           (["a_spec.lua", "--filter", "[a"], "--filter: no Lua pattern: [a"),
                           (["--output", "xml"], "--output: pretty, tap, junit or json, not xml"),
                           (["--seed", "-1"], "--seed: a whole number, not -1"),
                           (["--repeat", "0"], "--repeat: a whole number from 1, not 0"),
                           (["--timeout", "nan"], "--timeout: seconds"), (["--timeout", "0"], "--timeout: seconds"),
                           (["--fliter", "x"], "no such option: --fliter (--filter?)")):
            with self.subTest(argv):
                done = self.spec(*argv, status=2)
                self.assertIn(what, done.err)
                self.assertEqual(done.out, "")

    def test_help_is_a_screen_with_an_example(self):
        out = self.spec("--help").out
        self.assertLess(out.count("\n"), 40)
        self.assertIn("example:", out)

    # --- what is chosen ---

    def test_filter_is_a_pattern_on_the_full_name(self):
        self.write("a_spec.lua", GOOD)
        self.assertEqual(self.names("a_spec.lua", "--filter", "^numbers %a+$"), ["numbers add"])
        self.assertEqual(self.names("a_spec.lua", "--filter", "far out"), ["numbers far out \\#big divide",
                                                                         "numbers far out \\#big wrap # SKIP pending"])

    def test_tags(self):
        self.write("a_spec.lua", GOOD)
        self.assertEqual(self.names("a_spec.lua", "--tags", "slow"), ["numbers multiply \\#slow"])
        self.assertEqual(len(self.names("a_spec.lua", "--tags", "slow,big")), 3)
        self.assertEqual(self.names("a_spec.lua", "--exclude-tags", "#slow,big"), ["numbers add"])
        self.spec("a_spec.lua", "--tags", "slo", status=1)

    def test_list(self):
        out = self.spec("--list", "--filter", "add", "a_spec.lua", files={"a_spec.lua": GOOD}).out
        self.assertEqual(out, "a_spec.lua:2: numbers add\n")
        done = self.spec("--list", "b_spec.lua", files={"b_spec.lua": "it('x' function() end)\n"}, status=1)
        self.assertRegex(done.err, r"^b_spec\.lua:1: .*near")
        done = self.spec("--list", "c_spec.lua", files={"c_spec.lua": 'describe("d", function() it("x") nothing() end)\n'}, status=1)
        self.assertEqual(done.out, "c_spec.lua:1: d x\n")
        self.assertRegex(done.err, r"^c_spec\.lua:1: attempt to call global 'nothing'")

    def test_shuffle_is_drawn_by_the_seed(self):
        many = "".join(f'it("t{i}", function() end)\n' for i in range(20))
        self.write("a_spec.lua", many)
        plain = self.names("a_spec.lua")
        one, again, two = (self.names("a_spec.lua", "--shuffle", "--seed", s) for s in "112")
        self.assertEqual(one, again)
        self.assertNotEqual(one, two)
        self.assertNotEqual(one, plain)
        self.assertEqual(sorted(one), sorted(plain))

    def test_repeat_counts_the_seed_on(self):
        text = 'it("x", function() assert.not_equal(7, require("sluice.host").seed) end)\n'
        said = json.loads(self.spec("--json", "--repeat", "3", "--seed", "5", "a_spec.lua", files={"a_spec.lua": text}, status=1).out)
        self.assertEqual((said["passed"], said["failed"], said["seed"]), (2, 1, 5))
        self.assertEqual(said["failures"][0]["seed"], 7)
        self.assertEqual(said["failures"][0]["again"], "sluice spec --seed 7 a_spec.lua")

    def test_fail_fast(self):
        text = 'it("a", function() end) it("b", function() error("x") end) it("c", function() end)\n'
        out = self.spec("--fail-fast", "a_spec.lua", "b_spec.lua", files={"a_spec.lua": text, "b_spec.lua": text}, status=1).out
        self.assertIn("\n1 passed, 1 failed, 0 pending", out)

    # --- how a spec fails ---

    def test_a_wrong_value(self):
        done = self.spec("./a_spec.lua", files={"a_spec.lua": MIXED}, status=1)
        self.assertRegex(done.out, r"(?m)^\./a_spec\.lua:4: expected 1, got 2\nagain: sluice spec --seed 1 \./a_spec\.lua$")
        self.assertIn("\n1 passed, 2 failed, 1 pending", done.out)
        failure = self.one("it('x', function()\n  assert.equal('a', nil)\nend)")
        self.assertEqual(failure, {"name": "x", "file": "one_spec.lua", "line": 2, "text": 'expected "a", got nil', "expected": '"a"',
                                   "actual": "nil", "seed": 1, "again": "sluice spec --seed 1 one_spec.lua", "details": [], "world": []})

    def test_the_line_is_the_assertions_in_the_spec(self):
        self.write("helper.lua", "return function(x)\n\n\n assert.equal(1, x)\nend\n")
        text = 'local helper = require "helper"\nlocal function twice(x)\n  helper(x)\n  return x\nend\nit("x", function() twice(5) end)\n'
        failure = self.one(text)
        self.assertEqual((failure["line"], failure["text"]), (3, "expected 1, got 5"))

    def test_an_error(self):
        failure = self.one("it('x', function()\n  local nothing\n  nothing.here = 1\nend)")
        self.assertEqual(failure["line"], 3)
        self.assertRegex(failure["text"], "^attempt to index local 'nothing'")
        self.assertEqual((failure["expected"], failure["actual"]), (None, None))
        self.assertEqual(self.one("it('x', function() error({ a = 1 }) end)")["text"], "error: { a = 1 }")
        self.assertEqual(self.one("it('x', function() error() end)")["text"], "error: nil")
        self.assertEqual(self.one("it('x', function() os.exit(0) end)")["text"], "os.exit: a spec does not end the runner")

    def test_loops(self):
        loops = {
            "plain": "while true do end",
            "inside pcall": "while true do pcall(function() while true do end end) end",
            "inside xpcall": "while true do xpcall(function() while true do end end, function() while true do end end) end",
            "inside a coroutine": "local c = coroutine.wrap(function() while true do end end) while true do pcall(c) end",
            "new coroutines": "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
            "a pattern": "(('a'):rep(1e5)):find(('a*'):rep(30) .. 'b')",
            "assertions": "while true do assert.has_error(function() while true do end end) end",
        }
        for name, loop in loops.items():
            with self.subTest(name):
                failure = self.one(f"it('x', function()\n  {loop}\nend)\nit('y', function() end)", "--timeout", "0.3")
                self.assertEqual((failure["line"], failure["text"]), (2, "took longer than 0.3 s"))
        self.write("p.lua", 'vmta "default" { source = "any" }\n')
        for told in "count = 2 ^ 40", "count = 2 ^ 40, over = '1m'", "to = function() while true do end end":
            failure = self.one(f"""local sim = require "sluice.sim"
                it('x', function() local w = sim.world {{ policy = "p.lua" }}
                  w:inject {{ to = "a@b.example", {told} }} w:run_for "1d" end)""", "--timeout", "0.3")
            self.assertEqual(failure["text"], "took longer than 0.3 s", told)
        failure = self.one("it('y', function() end)\n\nwhile true do end", "--timeout", "0.3")
        self.assertEqual((failure["name"], failure["line"], failure["text"]), ("one_spec.lua", 3, "took longer than 0.3 s"))

    def test_the_limit_is_not_turned_off(self):
        self.assertEqual(self.one("it('x', function() jit.on() end)")["text"], "jit.on: the time limit does not reach into compiled code")
        self.assertEqual(self.one("it('x', function() debug.sethook() end)")["text"], "debug.sethook: the hook is the time limit's")

    def test_too_much_memory(self):
        failure = self.one("it('x', function()\n  return ('x'):rep(1e9) .. ('y'):rep(1e9)\nend)\nit('y', function() end)")
        self.assertEqual((failure["name"], failure["line"], failure["text"]), ("x", 1, "not enough memory"))

    def test_a_file_that_does_not_compile(self):
        failure = self.one("it('x', function()\n  if\nend)")
        self.assertEqual((failure["name"], failure["line"]), ("one_spec.lua", 3))
        self.assertRegex(failure["text"], "unexpected symbol near 'end'")
        deep = "a-folder-of-a-name-that-is-long/and-another-one-in-it/whose-name-is-long-too/x_spec.lua"
        os.makedirs(os.path.dirname(self.path(deep)))
        failure = self.one("it('x' function() end)", name=deep)
        self.assertEqual((failure["file"], failure["line"]), (deep, 1))
        failure = self.one("\nit('x', function() error('here') end)", name=deep)
        self.assertEqual((failure["file"], failure["line"], failure["text"]), (deep, 2, "here"))
        self.assertEqual(self.one("\x1bLJ\2", )["text"].count("attempt to load"), 1)

    def test_the_rest_runs(self):
        files = {"a_spec.lua": "it('x' function()", "b_spec.lua": "error('at once')", "c_spec.lua": GOOD}
        said = json.loads(self.spec("--json", "a_spec.lua", "b_spec.lua", "c_spec.lua", files=files, status=1).out)
        self.assertEqual((said["passed"], said["failed"]), (3, 2))
        text = 'describe("a", function() it("x", function() end) nothing() end)\ndescribe("b", function() it("y", function() end) end)\n'
        said = json.loads(self.spec("--json", "d_spec.lua", files={"d_spec.lua": text}, status=1).out)
        self.assertEqual((said["passed"], said["failed"], said["failures"][0]["name"]), (2, 1, "a"))

    def test_a_module_that_is_not_there(self):
        failure = self.one('\nlocal x = require "nowhere.to.be"\n')
        self.assertEqual(failure["line"], 2)
        self.assertRegex(failure["text"], r"module 'nowhere.to.be' not found:(.|\n)*no file nowhere/to/be.lua")
        self.write("broken.lua", "\nlocal = 1")
        failure = self.one('require "broken"')
        self.assertEqual(failure["line"], 1)
        self.assertRegex(failure["text"], r"broken\.lua:2: ")

    def test_an_unknown_assertion(self):
        self.assertEqual(self.one("it('x', function() assert.are.eqal(1, 1) end)")["text"], "assert.are.eqal: no such assertion (equal?)")

    def test_words_out_of_place(self):
        self.assertEqual(self.one("it('x', function()\n it('y', function() end) end)")["text"], "it: not inside of a test")
        self.assertEqual(self.one("it(5)")["text"], "it: a name, then a function")
        self.assertEqual(self.one("before_each()")["text"], "before_each: a function, not a nil")

    # --- order and separation ---

    def test_hooks_come_in_busteds_order(self):
        text = '''local seen = {}
local function note(word) return function() seen[#seen + 1] = word end end
describe("outer", function()
  setup(note "setup") teardown(note "teardown")
  before_each(note "before") after_each(note "after")
  it("a", note "a")
  describe("inner", function()
    before_each(note "before2") after_each(note "after2")
    it("b", function() finally(note "finally") note "b"() end)
  end)
end)
it("last", function() print(table.concat(seen, " ")) end)
'''
        out = self.spec("a_spec.lua", files={"a_spec.lua": text}).out
        self.assertIn("\nsetup before a after before before2 b finally after2 after teardown\n", out)

    def test_hooks_that_err(self):
        for hook, name, passed in (("setup", "d (setup)", 0), ("teardown", "d (teardown)", 1), ("before_each", "d x", 0), ("after_each", "d x", 0)):
            with self.subTest(hook):
                text = f'describe("d", function()\n{hook}(function()\n error("broken") end)\nit("x", function() end)\nend)\n'
                said = json.loads(self.spec("--json", "a_spec.lua", files={"a_spec.lua": text}, status=1).out)
                self.assertEqual((said["passed"], said["failed"]), (passed, 1))
                self.assertEqual((said["failures"][0]["name"], said["failures"][0]["line"], said["failures"][0]["text"]), (name, 3, "broken"))

    def test_files_know_nothing_of_each_other(self):
        files = {
            "a_spec.lua": 'leaked = 1\nlocal m = require "m"\nm.n = 1\nit("a", function() _G.leaked2 = 1 assert.equal(1, leaked) end)\n',
            "b_spec.lua": 'it("b", function() assert.is_nil(leaked) assert.is_nil(leaked2) assert.is_nil(require("m").n) end)\n',
            "m.lua": "modules_own = 1\nreturn {}\n",
        }
        self.spec("a_spec.lua", "b_spec.lua", files=files)

    # --- reports ---

    def test_equal_seeds_give_equal_bytes(self):
        text = MIXED + '''it("draws", function()
  local t = {}
  for i = 1, 50 do t["key" .. i] = math.random(1000) end
  local keys = {}
  for k, v in pairs(t) do keys[#keys + 1] = k .. v end
  assert.equal("", table.concat(keys, " "))
end)
'''
        self.write("a_spec.lua", text)
        for output in ("tap", "json"):
            one, again, other = (self.spec("--output", output, "--seed", seed, "a_spec.lua", status=1).stdout for seed in "112")
            self.assertEqual(one, again)
            self.assertNotEqual(one, other)

    def test_tap(self):
        out = self.spec("--output", "tap", "a_spec.lua", files={"a_spec.lua": MIXED}, status=1).out
        self.assertRegex(out, r'(?m)^ok 1 - a <day> & "night" passes$')
        self.assertRegex(out, r'(?m)^not ok 2 - a <day> & "night" fails \\#now\n# a_spec\.lua:4: expected 1, got 2\n'
                              r'# again: sluice spec --seed 1 a_spec\.lua$')
        self.assertRegex(out, r'(?m)^ok 4 - a <day> & "night" waits # SKIP for rain$')
        self.assertTrue(out.endswith("\n1..4\n"))

    def test_json(self):
        said = json.loads(self.spec("--output", "json", "a_spec.lua", files={"a_spec.lua": MIXED}, status=1).stdout.decode("utf-8"))
        self.assertEqual((said["passed"], said["failed"], said["pending"], said["seed"]), (1, 2, 1, 1))
        self.assertEqual(said["failures"][1]["text"], "boom \ufffd \1 ]]>")
        self.assertNotIn("coverage", said)
        self.assertEqual(json.loads(self.spec("--json", "--coverage", "b_spec.lua", files={"b_spec.lua": GOOD}).out)["coverage"], [])

    def test_junit(self):
        out = self.spec("--output", "junit", "a_spec.lua", "b_spec.lua", files={"a_spec.lua": MIXED, "b_spec.lua": GOOD}, status=1).stdout
        root = xml.etree.ElementTree.fromstring(out)
        self.assertEqual((root.tag, root.get("tests"), root.get("failures"), root.get("skipped")), ("testsuites", "8", "2", "2"))
        suite = root.find("testsuite")
        self.assertEqual((suite.get("name"), suite.get("tests"), suite.get("failures"), suite.get("skipped")), ("a_spec.lua", "4", "2", "1"))
        case = suite.findall("testcase")[1]
        self.assertEqual((case.get("name"), case.find("failure").get("message")), ('a <day> & "night" fails #now', "expected 1, got 2"))
        self.assertIn("again: sluice spec --seed 1 a_spec.lua", case.find("failure").text)
        self.assertEqual(suite.findall("testcase")[3].find("skipped").get("message"), "for rain")

    def test_what_a_spec_prints_spoils_no_report(self):
        text = 'it("x", function() print("hello", 1) io.write("there\\n") end)\n'
        for output in ("tap", "json", "junit"):
            done = self.spec("--output", output, "a_spec.lua", files={"a_spec.lua": text})
            self.assertEqual(done.err, "hello\t1\nthere\n")
            self.assertNotIn("hello", done.out)
        self.assertIn("hello", self.spec("a_spec.lua").out)

    def terminal(self, *argv, env=None):
        """What a terminal is sent."""
        program = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
        done = subprocess.run([sys.executable, "-c", program, harness.SLUICE, "spec", *argv], cwd=self.folder, capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=30 * harness.SLOW, check=False,
                              env=dict({k: v for k, v in os.environ.items() if k != "NO_COLOR"}, TERM="xterm", **(env or {})))
        return done.stdout.decode()

    def test_colours_are_for_terminals(self):
        self.write("a_spec.lua", MIXED)
        self.assertIn("\x1b[31mFAIL", self.terminal("a_spec.lua"))
        self.assertNotIn("\x1b", self.terminal("a_spec.lua", "--no-color"))
        self.assertNotIn("\x1b", self.terminal("a_spec.lua", env={"NO_COLOR": "1"}))
        self.assertNotIn("\x1b", self.spec("a_spec.lua", status=1, env={"TERM": "xterm"}).out)

    def test_a_long_run_has_a_progress_line_on_a_terminal(self):
        text = '''it("long", function() local h = require "sluice.host" local e = h.now() + 1.1 repeat until h.now() > e end)
it("after", function() end)
'''
        self.write("a_spec.lua", text)
        self.assertIn("1 passed, 0 failed: after\r\x1b[K", self.terminal("a_spec.lua", "--no-color"))
        self.assertNotIn("\r", self.spec("a_spec.lua").err)

    # --- watch ---

    def test_watch_runs_again_when_something_changed(self):
        os.makedirs(self.path("policies"))
        self.write("policies/p.lua", "-- one")
        self.write("policies/part.lua", "-- part")
        self.write("helper.lua", "return 1")
        self.write("a_spec.lua", 'local n = require "helper"\nit("x", function() assert.equal(1, n) io.open("policies/p.lua"):close() end)\n')
        process = self.keep(harness.Process(["env", "-C", self.folder, harness.SLUICE, "spec", "--watch", "a_spec.lua"], self.path("log")))

        def rounds(n, last):
            until(lambda: process.log.count("waiting for a change") == n, lambda: process.log)
            self.assertEqual(re.findall(r"^\d+ passed, \d+ failed", process.log, re.M)[-1], last)
        rounds(1, "1 passed, 0 failed")
        self.write("helper.lua", "return 2 ")
        rounds(2, "0 passed, 1 failed")
        self.write("helper.lua", "return 1")
        rounds(3, "1 passed, 0 failed")
        self.write("policies/part.lua", "-- another part")
        rounds(4, "1 passed, 0 failed")
        self.write("a_spec.lua", 'it("x" function() end)\n')
        rounds(5, "0 passed, 1 failed")
        process.signal(2)
        self.assertEqual(process.wait(), -2)

    def test_a_run_without_a_world_starts_at_once(self):
        """As soon as the machine lets it."""
        self.write("a_spec.lua", GOOD)
        times = []

        def run():
            began = harness.now()
            self.spec("a_spec.lua")
            times.append(harness.now() - began)
            return times[-1] < 0.02 * harness.SLOW
        harness.until(run, lambda: f"a run of 20 ms; the shortest took {min(times)} s")


harness.main()
