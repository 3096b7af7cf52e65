# SPDX-License-Identifier: Apache-2.0
"""What bad policies and bad input at a start are told: `check` and `run`."""
import json
import os
import re
import socket
import subprocess

import harness
from harness import Certificates, command


class Check(harness.Case):
    def check(self, text):
        path = self.write("bad.lua", text)
        return path, command("check", path), json.loads(command("check", path, "--json").stdout)

    def test_a_good_policy(self):
        _, done, value = self.check('listener "127.0.0.1:2525" { relay_from = { "127.0.0.1" } }\nvmta "default" { source = "any" }\n')
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual((value["ok"], value["errors"]), (True, []))
        self.assertIsInstance(value["warnings"], list)

    def test_bad_policies_are_told_with_file_line_and_the_nearest_word(self):
        for line, text, said in [
            (1, 'provider "google" { max_smtp_uot = 3 }', r'provider "google": max_smtp_uot: .*\(max_smtp_out\?\)'),
            (1, 'domian "a.example" { }', r"domian.*domain"),
            (2, '\nvmta "a" { source = "any", max_msg_rate = "400/fortnight" }', "max_msg_rate"),
            (1, 'domain "a.example" { retry_after = "10 parsecs" }', "retry_after"),
            (1, 'domain "a.example" { max_smtp_out = 0 }', 'unlimited|paused'),
            (1, 'domain "a.example" { max_smtp_out = "many" }', "max_smtp_out"),
            (3, '\n\ndomain "a.example" { paused = "yes" }', "paused"),
            (1, 'vmta "a" { }', "source"),
            (2, 'vmta "a" { source = "any" }\nvmta "a" { source = "any" }', r"bad\.lua:1"),
            (2, 'vmta "mta-1" { source = "any" }\npool "p" { "mta-2" }', r"mta-2.*mta-1"),
            (1, 'listener "127.0.0.1" { }', "port"),
            (1, 'listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/33" } }', r"127\.0\.0\.0/33"),
            (1, 'node { hostnam = "x" }', r"hostnam.*hostname"),
            (1, 'x = 1', "x"),
            (1, 'local f = io.open("/etc/passwd")', "io"),
            (2, 'vmta "a" { source = "any" }\nif then', "then"),
            (1, 'while true do end', "."),
            (1, 'domain "a.example" { backoff = { { "421", lasts = "1h" } } }', "backoff"),
            (1, 'on.mesage(function() end)', r"mesage.*message"),
            (1, 'error "stop here"', "stop here"),
        ]:
            with self.subTest(text=text):
                path, done, value = self.check(text + "\n")
                self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
                self.assertFalse(value["ok"])
                self.assertEqual((value["errors"][0]["file"], value["errors"][0]["line"]), (path, line), value["errors"])
                self.assertRegex(value["errors"][0]["text"], said)
                self.assertRegex(done.stderr, rf"(?m)^{re.escape(path)}:{line}: .*(?:{said})")

    def test_a_warning_has_its_line_and_stops_nothing(self):
        path, done, value = self.check('listener "127.0.0.1:2525" { relay_from = "127.0.0.1" }\nvmta "default" { source = "any" }\n'
                                       'domain "a.example" { backoff = {\n  { "421", stop = true },\n  { "421 RP-001", defer = true } } }\n')
        self.assertEqual((done.returncode, value["ok"], value["errors"]), (0, True, []))
        warning, = value["warnings"]
        self.assertEqual((warning["file"], warning["line"]), (path, 5))
        self.assertIn("can never match", warning["text"])
        self.assertIn(f"{path}:5: ", done.stdout + done.stderr)

    def test_every_error_of_a_file_is_told(self):
        _, _, value = self.check('domain "a.example" { max_smtp_uot = 1, retry_aftr = 2 }\nvmta "v" { surce = "any" }\n')
        self.assertGreaterEqual({(e["line"]) for e in value["errors"]}, {1, 2})
        self.assertGreaterEqual(len(value["errors"]), 3)

    def test_a_file_that_is_not_there(self):
        done = command("check", self.path("nosuch.lua"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("nosuch.lua", done.stderr)

    def test_a_policy_that_eats_memory_or_time_ends(self):
        for text in ('local t = {} while true do t[#t + 1] = ("x"):rep(1e6) .. #t end', "while true do end",
                     'local function f() return f() end f()', 'local s = ("a"):rep(1e9)'):
            with self.subTest(text=text):
                path, done, value = self.check(text)
                self.assertEqual(done.returncode, 1)
                self.assertFalse(value["ok"])


class BadInput(harness.Case):
    """One clear sentence each, exit 1."""

    def assert_refused(self, policy, said, **options):
        node = self.start(policy, 0, wait=False, **options)
        self.assertEqual(node.wait(20), 1, node.log)
        lines = [l for l in node.log.splitlines() if re.match(r"sluice: |\S+\.lua:\d+: ", l)]
        self.assertEqual(len(lines), 1, node.log)
        self.assertRegex(lines[0], said)
        self.assertNotRegex(node.log, r"(?m)^ready$")
        return node

    def policy(self, listener=None, node="", tls=""):
        at = listener or f"127.0.0.1:{harness.free_port()}"
        return f'node {{ hostname = "node.example", min_free_space = 0, {node} }}\nlistener "{at}" {{ {tls} }}\nvmta "default" {{ source = "any" }}\n'

    def test_a_bad_policy(self):
        self.assert_refused("domain 'x' { colour = 1 }\n", r"policy\.lua:1: .*colour")

    def test_a_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            at = "127.0.0.1:%d" % taken.getsockname()[1]
            self.assert_refused(self.policy(at), re.escape(at))

    def test_a_key_that_can_not_be_read(self):
        ca = Certificates(self.path("ca"))
        cert, key = ca.issue("node.example")
        other, _ = ca.issue("other.example")
        for certificate, private, said in [(cert, self.path("nosuch.pem"), r"nosuch\.pem"), (self.path("nocert.pem"), key, r"nocert\.pem"),
                                           (cert, self.write("garbage.pem", "garbage"), r"garbage\.pem"), (other, key, r"\.(key|pem)")]:
            with self.subTest(certificate=certificate, key=private):
                self.assert_refused(self.policy(tls=f'tls = {{ certificate = "{certificate}", key = "{private}" }}'), said)

    def test_a_missing_resolver(self):
        if not os.environ.get(harness.NAMESPACE):
            self.skipTest("no mount name space here")
        empty = self.write("resolv.conf", "# nothing\n")
        subprocess.run(["mount", "--bind", empty, "/etc/resolv.conf"], check=True)
        self.addCleanup(subprocess.run, ["umount", "/etc/resolv.conf"], check=False)
        node_class = harness.Node
        policy = self.path("policy.lua")
        with open(policy, "w", encoding="utf-8") as file:
            file.write(self.policy())
        done = command("run", policy, "--spool", self.path("spool"), "--control", self.path("c.sock"))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stderr, r"(?m)^sluice: .*(resolver|resolv\.conf)")
        self.assertIsNotNone(node_class)

    def test_a_resolver_that_is_none(self):
        self.assert_refused(self.policy(), r"--resolver nonsense: ", options=("--resolver", "nonsense"))

    def test_a_socket_path_too_long(self):
        long = self.path("x" * 120 + ".sock")
        self.assert_refused(self.policy(), r"too long|107", options=("--control", long))

    def test_a_spool_that_can_not_be(self):
        self.assert_refused(self.policy(), r"spool.*file|Not a directory|not a directory", spool=os.path.join(self.write("file", "x"), "spool"))

    def test_an_accounting_file_that_can_not_be_written(self):
        self.assert_refused(self.policy(), r"nosuch", options=("--accounting", self.path("nosuch", "acct.csv")))

    def test_an_address_this_machine_has_not(self):
        self.assert_refused(self.policy("203.0.113.5:2525"), r"203\.0\.113\.5")


harness.main()
