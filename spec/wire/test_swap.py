# SPDX-License-Identifier: Apache-2.0
"""A policy changes: all of it or nothing; how it is asked for, what it says, and what it leaves as it was."""
import json
import os
import signal
import socket
import ssl
import subprocess

import harness
from client import Client
from harness import free_port, until
from receiver import Receiver


class Case(harness.Case):
    def receiver(self, **options):
        mx = Receiver(keep=False, **options)
        self.addCleanup(mx.stop)
        return mx

    def policy(self, node, text):
        """Another text in the node's policy file."""
        with open(node.policy, encoding="utf-8") as file:
            usual = file.read().split("-- here\n")[0]
        temporary = node.policy + ".new"
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(usual + "-- here\n" + text)
        os.rename(temporary, node.policy)

    def begin(self, text, **options):
        return self.node("-- here\n" + text, **options)

    def swap(self, node, *argv):
        return node.command("swap", *argv)

    def refused(self, node, *argv):
        done = harness.command("swap", *argv, "--control", node.control)
        self.assertEqual(done.returncode, 1, done.stderr + done.stdout)
        self.assertEqual(done.stdout, "")
        return done.stderr


class Swaps(Case):
    # --- the command ---

    def test_a_swap_says_what_changes_and_counts(self):
        node = self.begin('provider "google" { domains = { "gmail.com" }, max_smtp_out = 20, max_msg_rate = "400/h" }\n', paused=True)
        self.send(node, "a@gmail.com")
        self.policy(node, 'provider "google" { domains = { "gmail.com" }, max_smtp_out = 5, max_msg_rate = "50/h", retry_after = "20m,1h" }\n')
        would = self.swap(node, "--dry-run")
        self.assertEqual(would["generation"], 1)
        self.assertEqual(node.status()["generation"], 1)
        done = self.swap(node, node.policy)
        self.assertEqual((done["generation"], node.status()["generation"]), (2, 2))
        self.assertEqual(done["changed"], would["changed"])
        self.assertGreaterEqual(done["seconds"], 0)
        by_queue = {c["setting"]: (c["from"], c["to"]) for c in done["changed"] if c.get("queue") == "google/default"}
        by_scope = {c["setting"]: (c["from"], c["to"]) for c in done["changed"] if c.get("scope") == 'provider "google"'}
        expected = {"max_smtp_out": (20, 5), "max_msg_rate": ("400/h", "50/h"), "retry_after": (600, [1200, 3600])}
        self.assertEqual(by_queue, expected)
        self.assertEqual(by_scope, expected)
        gate = next(g for g in node.command("why", "google/default")["gates"] if g["gate"] == "max_smtp_out")
        self.assertEqual(gate["limit"], 5)
        self.assertEqual(self.swap(node)["changed"], [])
        self.assertEqual(node.status()["generation"], 3)
        text = harness.command("swap", "--back", "--control", node.control)
        self.assertIn("no setting has changed", text.stdout)

    def test_back_goes_to_what_was_read_then(self):
        node = self.begin('domain "*" { max_smtp_out = 7 }\n', paused=True)
        self.assertIn("no policy to go back to", self.refused(node, "--back"))
        self.send(node, "a@a.example")
        self.policy(node, 'domain "*" { max_smtp_out = 8 }\n')
        self.swap(node)
        self.policy(node, "this is no policy\n")
        limit = lambda: next(g for g in node.command("why", "a.example/default")["gates"] if g["gate"] == "max_smtp_out")["limit"]
        self.assertEqual(limit(), 8)
        self.assertEqual(self.swap(node, "--back")["generation"], 3)
        self.assertEqual(limit(), 7)
        self.assertEqual(self.swap(node, "--back")["generation"], 4)
        self.assertEqual(limit(), 8)

    def test_what_does_not_load_changes_nothing(self):
        node = self.begin('domain "*" { max_smtp_out = 7 }\n')
        with open(node.policy, encoding="utf-8") as file:
            line = file.read().count("\n")
        for text, says in (("x = = 1\n", rf"policy\.lua:{line}: "), ('domain "*" { max_smtp_uot = 7 }\n', rf"policy\.lua:{line}: .*no such setting"),
                           ('error("no")\n', rf"policy\.lua:{line}: "), ('require "gone"\n', r"policy\.lua:\d+: .*gone")):
            self.policy(node, text)
            self.assertRegex(self.refused(node), says)
        self.assertRegex(self.refused(node, "--dry-run"), "gone")
        self.assertRegex(self.refused(node, self.path("nowhere.lua")), r"^/.*nowhere\.lua: cannot be read: No such file")
        self.assertEqual(node.status()["generation"], 1)
        self.policy(node, 'domain "*" { max_smtp_out = 8 }\n')
        self.assertEqual(self.swap(node)["generation"], 2)

    def test_the_policy_is_named_from_where_the_command_stands(self):
        node = self.begin("")
        other = self.path("other")
        os.mkdir(other)
        with open(node.policy, encoding="utf-8") as file:
            text = file.read()
        with open(os.path.join(other, "p.lua"), "w", encoding="utf-8") as file:
            file.write('require "lib.m"\n' + text)
        os.mkdir(os.path.join(other, "lib"))
        with open(os.path.join(other, "lib", "m.lua"), "w", encoding="utf-8") as file:
            file.write('domain "m.example" { max_smtp_out = 3 }\n')
        run = lambda *argv: subprocess.run([harness.SLUICE, "swap", *argv, "--control", node.control], cwd=other, capture_output=True, text=True,
                                                   timeout=20, check=False)
        done = run("p.lua", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(node.status()["policy"], "p.lua")
        with open(os.path.join(other, "lib", "m.lua"), "w", encoding="utf-8") as file:
            file.write('domain "m.example" { max_smtp_out = true }\n')
        self.assertRegex(run().stderr, r"^lib/m\.lua:1: ")

    def test_a_virtual_mta_with_mail_cannot_go(self):
        node = self.begin('vmta "old" { source = "any" }\non.message(function(msg) msg.vmta = "old" end)\nvmta "default" { source = "any" }\n', paused=True)
        self.send(node, "a@a.example")
        self.policy(node, 'vmta "default" { source = "any" }\n')
        self.assertRegex(self.refused(node), r'policy\.lua: it does not declare the virtual MTA "old", but 1 recipients are in a\.example/old')
        self.assertEqual(node.status()["queued"], 1)
        self.policy(node, 'vmta "default" { source = "any" }\nvmta "old" { source = "any" }\n')
        self.assertEqual(self.swap(node)["generation"], 2)

    def test_a_comment_changes_nothing(self):
        node = self.start(f'node {{ min_free_space = "4M", hostname = "n.example" }}\nlistener "127.0.0.1:{free_port()}" {{}}\nvmta "default" {{ source = "any" }}\n', 1)
        with open(node.policy, "a", encoding="utf-8") as file:
            file.write("-- more\n")
        self.assertEqual(self.swap(node)["changed"], [])

    def test_an_overlay_outlives_its_rule_and_says_so(self):
        mx = self.receiver()
        mx.answer("MAIL", "421 4.7.0 too fast", times=1)
        site = f'smtp_hosts = "{mx.at}", retry_after = "1h", retry_recipients_after = "1h"'
        node = self.begin(f'domain "a.example" {{ {site}, backoff = {{ {{ "too fast", lasts = "1h", max_smtp_out = 2 }} }} }}\n')
        self.send(node, "a@a.example")
        overlays = lambda: node.command("why", "a.example/default")["overlays"]
        until(lambda: node.queue("a.example/default") and overlays(), "the rule has laid it")
        self.assertIs(overlays()[0]["rule_gone"], False)
        self.policy(node, f'domain "a.example" {{ {site}, max_smtp_out = 9 }}\n')
        self.swap(node)
        self.assertEqual([(o["name"], o["rule_gone"], o["changes"]) for o in overlays()], [("too fast", True, {"max_smtp_out": 2})])
        gate = next(g for g in node.command("why", "a.example/default")["gates"] if g["gate"] == "max_smtp_out")
        self.assertEqual(gate["limit"], 2)
        self.assertIn("(rule gone)", node.command("why", "a.example/default", json_out=False))
        node.command("lift", "a.example/default")
        gate = next(g for g in node.command("why", "a.example/default")["gates"] if g["gate"] == "max_smtp_out")
        self.assertEqual(gate["limit"], 9)

    # --- at a bad moment ---

    def test_one_at_a_time_and_a_signal_waits_its_turn(self):
        node = self.begin("")
        self.policy(node, "local x = 0 for i = 1, 2e7 do x = x + i % 7 end\n")
        ask = lambda: subprocess.Popen([harness.SLUICE, "swap", "--control", node.control], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        asked = [ask() for _ in range(3)]
        node.signal(signal.SIGHUP)
        said = [(p.communicate(timeout=20)[1], p.returncode) for p in asked]
        taken = sum(code == 0 for _, code in said)
        self.assertLess(taken, 3, said)
        for err, code in said:
            if code != 0:
                self.assertRegex(err, r"busy: generation \d is in preparation")
        until(lambda: node.status()["generation"] == 2 + taken, "the signal is not forgotten")

    def test_the_middle_of_data_ends_under_its_policy(self):
        node = self.begin('on.message(function(msg) return reject "550 5.7.1 the first" end)\n')
        with Client(node.port) as c:
            for line in ("MAIL FROM:<>", "RCPT TO:<a@a.example>", "DATA"):
                c.command(line)
            c.send(b"Subject: half\r\n")
            self.policy(node, "")
            self.swap(node)
            self.assertIn("the first", str(c.command("\r\nx\r\n.")))
            self.assertEqual(c.message("", ["a@a.example"], b"Subject: x\r\n\r\nx\r\n").code, 250)

    def test_a_hook_that_does_not_return_defers_and_goes(self):
        node = self.begin("")
        self.policy(node, "on.message(function(msg) while true do end end)\n")
        self.swap(node)
        for _ in range(6):
            self.assertEqual(self.send(node).code, 451)
        until(lambda: node.status()["generation"] == 3, "it goes back by itself")
        self.assertEqual(self.send(node).code, 250)

    def test_a_half_written_file_is_refused_and_the_whole_one_taken(self):
        node = self.begin("", options=["--watch"])
        with open(node.policy, encoding="utf-8") as file:
            text = file.read() + 'domain "*" { max_smtp_out = 8 }\n'
        with open(node.policy, "w", encoding="utf-8") as file:
            file.write(text[:-8])
            file.flush()
            node.signal(signal.SIGHUP)
            until(lambda: "stays" in node.log, "the half is refused")
            file.write(text[-8:])
        until(lambda: node.status()["generation"] == 2, "the whole is taken")

    def test_a_restart_after_a_rollback_has_the_good_policy(self):
        node = self.begin('domain "*" { max_smtp_out = 7 }\n')
        self.policy(node, 'domain "*" { max_smtp_out = 8 }\non.message(function(msg) error("oh") end)\n')
        self.swap(node)
        for _ in range(6):
            self.send(node)
        until(lambda: node.status()["generation"] == 3, "it goes back by itself")
        node.stop()
        self.policy(node, "broken\n")
        last = harness.Node(node.folder, None, node.port, spool=node.spool, options=["--last-good"])
        self.keep(last)
        last.wait_ready()
        last.command("pause", "*")
        self.assertEqual(self.send(last, "a@a.example").code, 250)
        gate = next(g for g in last.command("why", "a.example/default")["gates"] if g["gate"] == "max_smtp_out")
        self.assertEqual(gate["limit"], 7)

    # --- signals, files ---

    def test_sighup_reads_the_file_again(self):
        node = self.begin('domain "*" { max_smtp_out = 7 }\n')
        self.policy(node, 'domain "*" { max_smtp_out = 8 }\n')
        node.signal(signal.SIGHUP)
        until(lambda: node.status()["generation"] == 2, "SIGHUP swaps")
        self.policy(node, 'domain "*" { max_smtp_uot = 8 }\n')
        node.signal(signal.SIGHUP)
        until(lambda: "no such setting" in node.log, "a refusal is logged")
        self.assertRegex(node.log, r"policy\.lua:\d+: .*no such setting.*stays")
        self.assertEqual(node.status()["generation"], 2)

    def test_watch_swaps_when_a_file_changes(self):
        node = self.begin("", options=["--watch"])
        self.policy(node, 'domain "*" { max_smtp_out = 8 }\n')
        until(lambda: node.status()["generation"] == 2, "the change is seen")
        self.policy(node, "no policy\n")
        until(lambda: "stays" in node.log, "a broken one is refused")
        self.policy(node, 'domain "*" { max_smtp_out = 9 }\n')
        until(lambda: node.status()["generation"] == 3, "the mend is seen")

    def test_too_many_hook_errors_bring_the_policy_before_back(self):
        node = self.begin("")
        self.policy(node, 'on.message(function(msg) error("oh") end)\n')
        self.swap(node)
        for _ in range(6):
            self.assertEqual(self.send(node).code, 451)
        until(lambda: node.status()["generation"] == 3, "it goes back by itself")
        self.assertRegex(node.log, r"generation 2 is taken back: \d+ of \d+ hook calls went wrong")
        self.assertEqual(self.send(node).code, 250)

    def test_the_last_good_policy_outlives_a_restart(self):
        node = self.begin('domain "*" { max_smtp_out = 7 }\n')
        self.policy(node, 'domain "*" { max_smtp_out = 8 }\n')
        self.swap(node)
        node.stop()
        self.policy(node, "broken\n")
        again = harness.Node(node.folder, None, node.port, spool=node.spool)
        self.keep(again)
        self.assertEqual(again.wait(), 1)
        self.assertRegex(again.log, r"policy\.lua:\d+: ")
        self.assertIn("--last-good", again.log)
        last = harness.Node(node.folder, None, node.port, spool=node.spool, options=["--last-good"])
        self.keep(last)
        last.wait_ready()
        last.command("pause", "*")
        self.assertEqual(self.send(last, "a@a.example").code, 250)
        gate = next(g for g in last.command("why", "a.example/default")["gates"] if g["gate"] == "max_smtp_out")
        self.assertEqual(gate["limit"], 8)
        self.assertRegex(self.refused(last), r"policy\.lua:\d+: ")

    def test_the_last_good_policy_is_a_file_of_the_spool_and_nothing_else(self):
        node = self.begin("")
        node.stop()
        good = os.path.join(node.spool, "policy.good")
        os.rename(good, good + ".kept")
        self.policy(node, "broken\n")
        for make, what in ((lambda: os.symlink(good + ".kept", good), "is a symbolic link, which is not followed here"),
                           (lambda: os.mkfifo(good), "is no regular file")):
            make()
            for options in ([], ["--last-good"]):
                again = harness.Node(node.folder, None, node.port, spool=node.spool, options=options)
                self.keep(again)
                self.assertEqual(again.wait(), 1)
                self.assertIn(f"sluice: {good} {what}\n", again.log)
            os.unlink(good)

    # --- listeners ---

    def test_listeners_come_go_and_change_without_dropping_sessions(self):
        first, second = free_port(), free_port()
        listener = 'listener "127.0.0.1:%d" { relay_from = { "127.0.0.0/8" }, %s }\n'
        head = 'node { hostname = "n.example", min_free_space = "4M" }\nvmta "default" { source = "any" }\n-- here\n'
        node = self.start(head + listener % (first, 'max_message_size = "1K"'), first)
        with Client(first) as old:
            old.ehlo()
            self.policy(node, listener % (first, 'max_message_size = "2K"') + listener % (second, ""))
            self.swap(node)
            self.assertEqual(old.message("", ["a@a.example"], b"Subject: x\r\n\r\nx\r\n").code, 250)
            with Client(second) as more:
                self.assertEqual(more.message("", ["a@a.example"], b"Subject: x\r\n\r\nx\r\n").code, 250)
                self.policy(node, listener % (second, ""))
                self.swap(node)
                with self.assertRaises(OSError):
                    socket.create_connection(("127.0.0.1", first), 2)
                self.assertEqual(old.message("", ["a@a.example"], b"Subject: x\r\n\r\nx\r\n").code, 250)
                self.assertEqual(more.message("", ["a@a.example"], b"Subject: x\r\n\r\nx\r\n").code, 250)
        taken = self.receiver()
        self.policy(node, listener % (second, "") + listener % (taken.port, ""))
        self.assertRegex(self.refused(node), r"policy\.lua:\d+: listener .*cannot listen on 127\.0\.0\.1:\d+: address already in use")
        self.assertTrue(harness.answers("127.0.0.1", second))

    def test_a_new_certificate_is_for_new_sessions(self):
        ours = harness.Certificates(self.path("ca"))
        one, two = ours.issue("one.example"), ours.issue("two.example")
        cert, key = self.path("cert.pem"), self.path("key.pem")

        def install(pair):
            for source, to in zip(pair, (cert, key)):
                with open(source, "rb") as file:
                    content = file.read()
                with open(to, "wb") as file:
                    file.write(content)

        def name_shown(port):
            with socket.create_connection(("127.0.0.1", port), 5) as plain:
                file = plain.makefile("rwb")
                file.readline()
                for command in (b"EHLO c.example\r\n", b"STARTTLS\r\n"):
                    file.write(command)
                    file.flush()
                    while file.readline()[3:4] == b"-":
                        pass
                context = ssl.create_default_context(cafile=ours.ca)
                context.check_hostname = False
                with context.wrap_socket(plain, server_hostname="x.example") as tls:
                    return dict(tls.getpeercert()["subject"][0])["commonName"]

        install(one)
        node = self.begin("", listener=f'tls = {{ certificate = "{cert}", key = "{key}" }}')
        self.assertEqual(name_shown(node.port), "one.example")
        with Client(node.port) as old:
            old.ehlo()
            install(two)
            self.swap(node)
            self.assertEqual(name_shown(node.port), "two.example")
            self.assertEqual(old.message("", ["a@a.example"], b"Subject: x\r\n\r\nx\r\n").code, 250)
        with open(cert, "w", encoding="ascii") as file:
            file.write("nonsense\n")
        self.assertRegex(self.refused(node), "cert.pem")
        self.assertEqual(name_shown(node.port), "two.example")

    def test_the_middle_of_a_transaction_ends_under_its_policy(self):
        node = self.begin('on.message(function(msg) return reject "550 5.7.1 the first" end)\n')
        with Client(node.port) as c:
            for line in ("MAIL FROM:<>", "RCPT TO:<a@a.example>"):
                c.command(line)
            self.policy(node, 'on.message(function(msg) return reject "550 5.7.1 the second" end)\n')
            self.swap(node)
            c.command("DATA")
            self.assertIn("the first", str(c.command("Subject: x\r\n\r\nx\r\n.")))
            self.assertIn("the second", str(c.message("", ["a@a.example"], b"Subject: x\r\n\r\nx\r\n")))

    # --- node ---

    def test_accounting_and_limits_of_the_node_change(self):
        node = self.begin("")
        mx = self.receiver()
        self.policy(node, f'domain "a.example" {{ smtp_hosts = "{mx.at}" }}\n')
        with open(node.policy, encoding="utf-8") as file:
            text = file.read()
        with open(node.policy, "w", encoding="utf-8") as file:
            file.write(text.replace('min_free_space = "4M"', 'min_free_space = "1000000G", max_smtp_in = 3'))
        scopes = {(c["scope"], c["setting"]) for c in self.swap(node)["changed"] if "scope" in c}
        self.assertLessEqual({("node", "min_free_space"), ("node", "max_smtp_in")}, scopes)
        until(lambda: self.send(node, "b@a.example").code == 452, "the disk is too full by the new setting")
        with open(node.policy, "w", encoding="utf-8") as file:
            file.write(text)
        self.swap(node)
        until(lambda: self.send(node, "b@a.example").code == 250, "it is not by the old one")
        node.wait_records(1, "d")

    def test_what_the_command_line_leaves_to_the_policy_changes_with_it(self):
        mx, port = self.receiver(), free_port()

        def write(n):
            self.write("p.lua", f'''node {{ hostname = "n.example", min_free_space = "4M", control = "{self.path(f"c{n}.sock")}", resolver = {{ "127.0.0.1:{8 + n}" }},
                                     accounting = {{ file = "{self.path(f"a{n}.csv")}", records = {{ "d" }} }} }}
listener "127.0.0.1:{port}" {{ relay_from = {{ "127.0.0.0/8" }} }}
vmta "default" {{ source = "any" }}
domain "a.example" {{ smtp_hosts = "{mx.at}" }}\n''')

        def send():
            with Client(port) as c:
                self.assertEqual(c.message("", ["a@a.example"], b"Subject: x\r\n\r\n").code, 250)

        def lines(n):
            if not os.path.exists(self.path(f"a{n}.csv")):
                return 0
            with open(self.path(f"a{n}.csv"), encoding="utf-8") as file:
                return file.read().count("\n")

        ask = lambda n, *argv: harness.command(*argv, "--control", self.path(f"c{n}.sock")).returncode
        write(1)
        node = self.keep(harness.Process([harness.SLUICE, "run", self.path("p.lua"), "--spool", self.path("spool")], self.path("log")))
        until(lambda: "ready" in node.log, "the node is ready")
        send()
        until(lambda: lines(1) == 2, "a delivery is accounted")
        write(2)
        self.assertEqual(ask(1, "swap"), 0)
        self.assertEqual((ask(1, "status"), ask(2, "status")), (1, 0))
        send()
        until(lambda: lines(2) == 2, "the next one in the new file")
        self.assertEqual(lines(1), 2)
        with open(self.path("p.lua"), encoding="utf-8") as file:
            text = file.read()
        self.write("p.lua", text.replace("node {", f'node {{ spool = "{self.path("other")}", workers = 1, '))
        self.assertEqual(ask(2, "swap", "--dry-run"), 1)

    def test_relative_places_stay_the_same_however_the_policy_is_named(self):
        self.write("p.lua", f'''node {{ hostname = "n.example", min_free_space = "4M", spool = "./spool", control = "c.sock", accounting = {{ file = "a.csv" }} }}
listener "127.0.0.1:{free_port()}" {{ relay_from = {{ "127.0.0.0/8" }} }}
vmta "default" {{ source = "any" }}\n''')
        node = self.keep(harness.Process([harness.SLUICE, "run", "./p.lua"], self.path("log"), preexec=lambda: os.chdir(self.folder)))
        until(lambda: "ready" in node.log, "the node is ready")
        for folder, policy in ((self.folder, ["p.lua"]), (self.folder, []), ("/", [self.path("p.lua")])):
            done = harness.command("swap", *policy, "--json", "--control", self.path("c.sock"), cwd=folder)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(json.loads(done.stdout)["changed"], [])

    def test_a_swap_that_is_not_taken_leaves_nothing_behind(self):
        text = (f'node {{ hostname = "n.example", min_free_space = "4M", control = "{self.path("c1")}", accounting = {{ file = "{self.path("a1")}" }} }}\n'
                f'listener "127.0.0.1:{free_port()}" {{}}\nvmta "default" {{ source = "any" }}\n')
        self.write("p.lua", text)
        node = self.keep(harness.Process([harness.SLUICE, "run", self.path("p.lua"), "--spool", self.path("spool")], self.path("log")))
        until(lambda: "ready" in node.log, "the node is ready")
        swap = lambda *argv: harness.command("swap", *argv, "--control", self.path("c1"))
        self.write("p.lua", text.replace("a1", "a2").replace("c1", "c2"))
        done = swap("--dry-run")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertFalse(os.path.exists(self.path("a2")) or os.path.exists(self.path("c2")))
        for broken, says in ((text.replace("a1", "gone/a2"), "accounting"), (text.replace("a1", "a2").replace("c1", "gone/c2"), "control")):
            self.write("p.lua", broken)
            done = swap()
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertRegex(done.stderr, rf"^/.*p\.lua: node: {says}: ")
            self.assertFalse(os.path.exists(self.path("a2")))
        os.remove(self.path("p.lua"))
        node.signal(signal.SIGHUP)
        until(lambda: "p.lua: cannot be read" in node.log, "the file alone is named where it is not there")
        self.write("p.lua", text.replace("a1", "a2").replace("c1", "c2"))
        self.assertEqual(swap().returncode, 0)
        self.assertTrue(os.path.exists(self.path("a2")) and os.path.exists(self.path("c2")))


if __name__ == "__main__":
    harness.main()
