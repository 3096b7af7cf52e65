# SPDX-License-Identifier: Apache-2.0
"""The commands against a running node, their JSON, their exit statuses, and what bad input is told."""
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess

import harness
from harness import Certificates, command, until
from receiver import Receiver

POLICY = '''vmta "default" { source = "any" }
domain "a.example" { smtp_hosts = "[127.0.0.1]:9", paused = true }
domain "b.example" { smtp_hosts = "[127.0.0.1]:9", retry_after = "1h", max_smtp_out = 7 }
'''


class Commands(harness.Case):
    def queued(self, policy=POLICY):
        """Two in a paused queue, one in a queue whose host refuses."""
        node = self.node(policy)
        for to in ("u@a.example", "v@a.example", "u@b.example"):
            self.assertEqual(self.send(node, to=to, sender="").code, 250)
        until(lambda: (node.queue("b.example/default") or {}).get("last_error"), "b.example was tried")
        return node

    def keys(self, value, *names):
        for name in names:
            self.assertIn(name, value)

    # --- what they say ---

    def test_status(self):
        node = self.queued()
        status = node.status()
        self.keys(status, "generation", "queued", "deferred", "sessions_in", "sessions_out", "received", "delivered", "bounced", "uptime")
        self.assertEqual((status["generation"], status["queued"], status["received"], status["delivered"], status["bounced"]), (1, 3, 3, 0, 0))
        text = node.command("status", json_out=False)
        self.assertRegex(text, r"3")

    def test_queues(self):
        node = self.queued()
        rows = node.command("queues")
        self.assertEqual([r["queue"] for r in rows], ["a.example/default", "b.example/default"], "most queued first")
        for row in rows:
            self.keys(row, "queue", "site", "vmta", "queued", "ready", "sessions", "mode", "gate", "oldest_age", "next_attempt", "last_error")
        a, b = rows
        self.assertEqual((a["site"], a["vmta"], a["queued"], a["mode"], a["gate"], a["last_error"]),
                         ("a.example", "default", 2, "paused", "paused", None))
        self.assertEqual((b["queued"], b["mode"], b["gate"]), (1, "normal", "retry_after"))
        self.assertIn("refused", b["last_error"])
        self.assertRegex(b["next_attempt"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
        self.assertEqual(a["next_attempt"], None)
        self.assertTrue(0 <= a["oldest_age"] < 60 * harness.SLOW, a)
        self.assertEqual((a["ready"], b["ready"], b["sessions"]), (2, 1, 0))
        self.assertEqual([r["queue"] for r in node.command("queues", "b.*")], ["b.example/default"])
        self.assertEqual(node.command("queues", "nothing*"), [])
        self.assertIn("a.example/default", node.command("queues", json_out=False))

    def test_why(self):
        node = self.queued()
        why = node.command("why", "a.example/default")
        self.keys(why, "queue", "open", "gate", "until", "limit", "in_use", "declared_at", "gates", "overlays", "queued", "oldest_age",
                  "last_error", "ceiling")
        self.assertEqual((why["queue"], why["open"], why["gate"], why["until"], why["queued"]), ("a.example/default", False, "paused", None, 2))
        line = next(i for i, l in enumerate(open(node.policy, encoding="utf-8"), 1) if 'domain "a.example"' in l)
        self.assertEqual(why["declared_at"], f"{node.policy}:{line}")
        gates = {g["gate"]: g for g in why["gates"]}
        for name in ("paused", "suspended", "retry_after", "max_smtp_out"):
            self.keys(gates[name], "open", "until", "limit", "in_use", "declared_at")
        self.assertEqual((gates["max_smtp_out"]["limit"], gates["max_smtp_out"]["declared_at"]), (20, None))
        why = node.command("why", "b.example/default")
        self.assertEqual(why["gate"], "retry_after")
        self.assertTrue(3000 < why["until"] <= 3800, why["until"])
        gates = {g["gate"]: g for g in why["gates"]}
        self.assertEqual(gates["max_smtp_out"]["limit"], 7)
        self.assertTrue(gates["max_smtp_out"]["declared_at"].endswith(f":{line + 1}"))
        self.assertIn("paused", node.command("why", "a.example/default", json_out=False))

    def test_why_of_a_queue_that_is_not_there(self):
        node = self.node()
        done = command("why", "nosuch.example/default", "--control", node.control)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"^sluice: .*nosuch\.example/default")

    def test_why_of_a_message_and_of_a_recipient(self):
        node = self.queued()
        found = node.command("why", "u@b.example")
        self.assertEqual([r["queue"] for r in found], ["b.example/default"])
        row = found[0]
        self.keys(row, "message", "recipient", "sender", "queue", "state", "since", "due", "attempts", "job", "gate")
        self.assertEqual((row["recipient"], row["gate"]), ("u@b.example", "retry_after"))
        self.assertRegex(row["message"], r"^[0-9A-F]{16}$")
        same = node.command("why", row["message"])
        self.assertEqual([dict(r, since=row["since"]) for r in same], found)
        text = node.command("why", row["message"].lower(), json_out=False)
        self.assertIn("u@b.example", text)
        for nobody in ("nobody@b.example", "u@elsewhere.example", "0" * 16):
            done = command("why", nobody, "--control", node.control)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"nothing waits for {nobody}", done.stderr)

    def test_why_of_one_recipient_among_many(self):
        node = self.node('domain "a.example" { paused = true }')
        for n in range(4):
            self.assertEqual(self.send(node, to=[f"u{n}x{i}@a.example" for i in range(100)]).code, 250)
        self.assertEqual([r["recipient"] for r in node.command("why", "u3x99@a.example")], ["u3x99@a.example"])
        done = command("why", "nobody@a.example", "--control", node.control)
        self.assertEqual((done.returncode, "nothing waits for nobody@a.example" in done.stderr), (1, True))

    def test_why_tells_the_pace(self):
        mx = Receiver()
        self.addCleanup(mx.stop)
        node = self.node(f'domain "a.example" {{ smtp_hosts = "{mx.at}", max_msg_rate = {{ "10/h", burst = 3 }} }}')
        for _ in range(5):
            self.send(node, to="u@a.example")
        node.wait_records(3, "d")
        why = node.command("why", "a.example/default")
        self.assertEqual(why["queued"], 2)
        self.assertTrue(30 < why["pace"] <= 36, why)
        self.assertTrue(200 <= why["empty_in"] < 240, why)
        self.assertRegex(node.command("why", "a.example/default", json_out=False), r"pace +3[0-6][0-9.]* recipients an hour lately: empty in 3m")
        self.assertIn("ceiling", node.command("why", "a.example/default", json_out=False))

    def test_what_was_dropped_is_no_pace(self):
        node = self.node('domain "a.example" { paused = true }')
        self.assertEqual(self.send(node, to=["u@a.example", "v@a.example"]).code, 250)
        self.assertEqual(node.command("drop", "a.example/*")["recipients"], 2)
        self.assertEqual(self.send(node, to="w@a.example").code, 250)
        why = node.command("why", "a.example/default")
        self.assertEqual((why["queued"], why["pace"], why["empty_in"]), (1, 0, None))

    def test_an_open_queue_says_so(self):
        mx = Receiver()
        self.addCleanup(mx.stop)
        node = self.node(f'domain "a.example" {{ smtp_hosts = "{mx.at}" }}')
        self.send(node, to="u@a.example")
        node.wait_records(1, "d")
        node.wait_empty()
        until(lambda: node.command("why", "a.example/default")["gate"] == "empty", "nothing to send")

    # --- what they do ---

    def test_pause_and_resume(self):
        mx = Receiver()
        self.addCleanup(mx.stop)
        node = self.node(f'domain "*" {{ smtp_hosts = "{mx.at}" }}')
        self.send(node, to="u@a.example")
        node.wait_records(1, "d")
        done = node.command("pause", "a.example/default")
        self.assertEqual(done["queues"], 1)
        self.send(node, to="v@a.example")
        self.send(node, to="u@b.example")
        node.wait_records(2, "d")
        self.assertEqual(node.queue("a.example/default")["mode"], "paused")
        self.assertEqual(node.command("why", "a.example/default")["gate"], "paused")
        self.assertEqual(sorted(mx.recipients()), ["u@a.example", "u@b.example"])
        node.kill()
        node = self.restart(node)
        self.assertEqual(node.queue("a.example/default")["mode"], "paused", "a pause outlives the node")
        self.assertEqual(node.command("resume", "a.*"), {"queues": 1, "recipients": 1})
        node.wait_records(3, "d")

    def test_a_pause_that_was_confirmed_outlives_a_crash_at_once(self):
        node = self.node('domain "*" { smtp_hosts = "[127.0.0.1]:9", retry_after = "1h" }')
        node.command("pause", "a.example/*")
        node.kill()
        node = self.restart(node)
        self.send(node, to="u@a.example")
        until(lambda: node.queue("a.example/default"), "the queue is there")
        self.assertEqual(node.queue("a.example/default")["mode"], "paused")

    def test_retry(self):
        node = self.queued()
        mx = Receiver()
        self.addCleanup(mx.stop)
        node = self.restart_with(node, POLICY.replace('b.example" { smtp_hosts = "[127.0.0.1]:9"', f'b.example" {{ smtp_hosts = "{mx.at}"'))
        until(lambda: node.queue("b.example/default")["gate"] == "retry_after", "the queue's retry outlives the node")
        self.assertEqual(node.status()["deferred"], 1, "who is ready in a queue that waits for its retry waits for it too")
        done = node.command("retry", "b.example/default")
        self.keys(done, "queues", "recipients")
        node.wait_records(1, "d")

    def restart_with(self, node, policy):
        self.assertEqual(node.stop(), 0)
        listener = f'listener "127.0.0.1:{node.port}" {{ relay_from = {{ "127.0.0.0/8" }} }}\n'
        return self.restart(node, 'node { hostname = "node.example", min_free_space = "4M" }\n' + listener + policy)

    def test_retry_recipients_lets_deferred_ones_go(self):
        mx = Receiver()
        self.addCleanup(mx.stop)
        mx.answer("RCPT", "451 4.7.1 later", times=2)
        node = self.node(f'domain "*" {{ smtp_hosts = "{mx.at}", retry_recipients_after = "1h" }}')
        self.send(node, to=["u@a.example", "v@a.example"])
        node.wait_records(2, "t")
        until(lambda: node.queue("a.example/default")["gate"] == "retry_recipients_after", "both wait")
        node.command("pause", "a.example/default")
        self.send(node, to="w@a.example")
        gates = {g["gate"]: g["open"] for g in node.command("why", "a.example/default")["gates"]}
        self.assertNotIn("retry_recipients_after", gates, "no gate of the queue while somebody is ready")
        node.command("resume", "a.example/default")
        node.wait_records(1, "d")
        done = node.command("retry", "a.example/default", "--recipients")
        self.assertEqual(done["recipients"], 2)
        node.wait_records(3, "d")

    def test_bounce(self):
        mx = Receiver()
        self.addCleanup(mx.stop)
        node = self.node(POLICY + f'domain "sender.example" {{ smtp_hosts = "{mx.at}" }}')
        for to in ("u@a.example", "v@a.example"):
            self.send(node, to=to)
        self.assertEqual(node.command("bounce", "a.example/default"), {"queues": 1, "recipients": 2})
        self.assertEqual({r["rcpt"] for r in node.wait_records(2, "b")}, {"u@a.example", "v@a.example"})
        until(lambda: len(mx.messages) == 2, "the sender is told of both")
        node.wait_empty()

    def test_bounce_of_many_tells_the_sender_once_for_each_message(self):
        mx = Receiver()
        self.addCleanup(mx.stop)
        node = self.node(POLICY + f'domain "sender.example" {{ smtp_hosts = "{mx.at}" }}')
        head = b"Subject: large\r\n" + b"".join(b"X-%d: " % i + b"a" * 900 + b"\r\n\tfolded\r\n" for i in range(200))
        for message in range(2):
            self.send(node, to=[f"u{i}.{message}@a.example" for i in range(700)], body=head + b"\r\nhi\r\n")
        self.assertEqual(node.command("bounce", "a.example/default"), {"queues": 1, "recipients": 1400})
        node.wait_records(1400, "b")
        node.wait_empty()
        self.assertEqual(len(mx.messages), 2)
        for report in mx.messages:
            self.assertEqual(report.data.count(b"\r\nFinal-Recipient: "), 700)
            copy = report.data.split(b"Content-Type: text/rfc822-headers", 1)[1]
            self.assertIn(b"Subject: large", copy)
            self.assertLess(len(copy), 9 * 1024)
            self.assertRegex(copy, rb"\r\n\tfolded\r\n\r\n--", "cut behind a whole field")

    def test_bounce_of_many_messages_at_once(self):
        mx = Receiver(keep=False)
        self.addCleanup(mx.stop)
        node = self.node(POLICY + f'domain "sender.example" {{ smtp_hosts = "{mx.at}" }}')
        self.source(node, count=3000, sessions=10, to="u@a.example")
        self.assertEqual(node.command("bounce", "a.example/default")["recipients"], 3000)
        self.assertEqual(node.queue("a.example/default")["ready"], 0, "nothing waits for delivery any more")
        node.wait_records(3000, "b", deadline_s=30)
        node.wait_empty(30)
        self.assertEqual(len(mx.messages), 3000)

    def test_a_stop_in_the_middle_of_a_bounce(self):
        node = self.node(POLICY)
        self.source(node, count=2000, sessions=10, to="u@a.example")
        node.command("bounce", "a.example/default")
        self.assertEqual(node.stop(), 0)
        again = self.restart(node)
        bounced = len(again.records("b"))
        until(lambda: again.status()["queued"] == 2000, lambda: f"{bounced} reports and the rest; {again.status()}")
        again.command("bounce", "a.example/default")
        again.wait_records(2000, "b")

    def test_drop(self):
        mx = Receiver()
        self.addCleanup(mx.stop)
        node = self.node(POLICY + f'domain "sender.example" {{ smtp_hosts = "{mx.at}" }}')
        for to in ("u@a.example", "v@a.example"):
            self.send(node, to=to)
        self.assertEqual(node.command("drop", "a.example/*")["recipients"], 2)
        node.wait_empty()
        self.assertEqual(mx.messages, [], "nobody is told")
        node.stop()
        self.assertEqual(self.restart(node).status()["queued"], 0, "and it stays so")

    def test_a_job_narrows_what_is_acted_on(self):
        node = self.node(POLICY + 'on.message(function(msg) msg.job = msg:header "X-Job" end)')
        for job in ("one", "two", "two"):
            self.send(node, to="u@a.example", sender="", body=f"X-Job: {job}\r\n\r\n".encode())
        self.assertEqual(node.command("drop", "*", "--job", "two")["recipients"], 2)
        until(lambda: node.status()["queued"] == 1, "one is left")

    # --- who may, and where the node is ---

    def test_an_absent_node_is_one_sentence(self):
        for argv in (["status"], ["queues"], ["why", "a/b"], ["pause", "a/b"], ["resume", "*"], ["retry", "*"], ["bounce", "*"], ["drop", "*"],
                     ["suspend", "*", "1h"], ["lift", "*"]):
            with self.subTest(argv=argv):
                done = command(*argv, "--control", self.path("absent.sock"))
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertRegex(done.stderr, r"^sluice: [^\n]*absent\.sock[^\n]*\n$")

    def test_the_node_is_found_by_the_environment(self):
        node = self.node()
        done = command("status", "--json", env={"SLUICE_CONTROL": node.control})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["queued"], 0)

    def test_the_control_socket_is_its_owners_alone(self):
        node = self.node()
        self.assertEqual(stat.S_IMODE(os.stat(node.control).st_mode), 0o600)
        if os.geteuid() != 0 or os.environ.get(harness.NAMESPACE) == "user":
            self.skipTest("another user is needed")
        os.chmod(node.folder, 0o755)
        os.chmod(node.control, 0o666)           # even where the file's mode lets them
        done = subprocess.run([harness.SLUICE, "status", "--control", node.control], capture_output=True, text=True, user="nobody",
                              group="nogroup", timeout=20 * harness.SLOW, check=False)
        if "Permission denied" in done.stderr and "control" not in done.stderr:
            self.skipTest("nobody may not run the program where it stands")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertRegex(done.stderr, r"^sluice: ")

    def test_nonsense_on_the_control_socket_hurts_nobody(self):
        node = self.node()
        for nonsense in (b"", b"\0" * 100, b"{", b'{"command": 7}\n', b"[" * 5000 + b"\n", b"x" * (1 << 20), b'{"command":"status"}'):
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(2 * harness.SLOW)
                s.connect(node.control)
                try:
                    s.sendall(nonsense)
                    s.shutdown(socket.SHUT_WR)
                    while s.recv(65536):
                        pass
                except OSError:
                    pass
        self.assertEqual(node.status()["queued"], 0)

    # --- the command line itself ---

    def test_help_and_misuse(self):
        top = command("--help")
        self.assertEqual(top.returncode, 0)
        for name in ("run", "check", "status", "queues", "top", "trace", "why", "pause", "resume", "suspend", "lift", "retry", "bounce", "drop", "sink",
                     "inject"):
            with self.subTest(name):
                self.assertIn(name, top.stdout)
                done = command(name, "--help")
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertIn(f"sluice {name}", done.stdout)
                self.assertLess(done.stdout.count("\n"), 40, "one screen")
                wrong = command(name, "--no-such-option")
                self.assertEqual(wrong.returncode, 2)
                self.assertRegex(wrong.stderr, r"^sluice: ")
        for argv in ([], ["nosuch"], ["why"], ["pause"], ["run"], ["check"], ["status", "too", "many"]):
            with self.subTest(argv=argv):
                done = command(*argv)
                self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
        self.assertIn("status", command("statsu").stderr, "the nearest right word")
        self.assertIn("--control", command("status", "--contol", "x").stderr)


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


class Tools(harness.Case):
    """sink and inject, the one against the other, and against Postfix's."""

    def sluice_sink(self, *options):
        port = harness.free_port()
        sink = self.keep(harness.Process([harness.SLUICE, "sink", "--listen", f"127.0.0.1:{port}", *options], self.path("sluice-sink.log")))
        until(lambda: harness.answers("127.0.0.1", port), lambda: f"sink listens: {sink.log}")
        return sink, port

    def saw(self, sink):
        sink.signal(signal.SIGTERM)
        self.assertEqual(sink.wait(), 0, sink.log)
        return self.report(sink)

    def report(self, sink):
        return json.loads(next(l for l in sink.log.splitlines() if l.startswith("{")))

    def test_inject_to_sink(self):
        sink, port = self.sluice_sink("--json")
        done = command("inject", "--json", "--count", "500", "--concurrency", "4", "--size", "3000", f"127.0.0.1:{port}")
        self.assertEqual(done.returncode, 0, done.stderr)
        value = json.loads(done.stdout)
        self.assertEqual(value["accepted"], 500)
        self.assertGreater(value["seconds"], 0)
        self.assertAlmostEqual(value["rate"], 500 / value["seconds"], delta=value["rate"] * 0.05)
        latency = value["latency"]
        self.assertGreater(latency["p50"], 0)
        self.assertLessEqual(latency["p50"], latency["p99"])
        self.assertLessEqual(latency["p99"], latency["max"])
        self.assertLess(latency["max"], value["seconds"] * 1000)
        saw = self.saw(sink)
        self.assertEqual(saw["messages"], 500)
        self.assertIn(saw["peak_connections"], (4, 5))
        self.assertGreaterEqual(saw["connections"], 4)
        for window in ("1s", "1m", "1h"):
            self.assertGreater(saw["peak_rate"][window], 0)
        self.assertEqual(saw["peak_rate"]["1h"], 500)

    def test_inject_to_sink_over_tls(self):
        certificate, key = harness.Certificates(self.path("ca")).issue("sink.example")
        sink, port = self.sluice_sink("--json", "--certificate", certificate, "--key", key)
        done = command("inject", "--starttls", "--count", "20", "--concurrency", "2", "--size", "100K", f"127.0.0.1:{port}")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.saw(sink)["messages"], 20)
        _, plain = self.sluice_sink()
        done = command("inject", "--starttls", f"127.0.0.1:{plain}")
        self.assertEqual(done.returncode, 1, "no TLS, no mail")
        self.assertIn("STARTTLS", done.stderr)
        self.assertEqual(command("sink", "--key", key).returncode, 2)
        self.assertEqual(command("sink", "--certificate", key, "--key", key).returncode, 1)

    def test_sink_takes_smtp_source_and_stops_by_count(self):
        sink, port = self.sluice_sink("--json", "--count", "100")
        subprocess.run([harness.program("smtp-source"), "-m", "100", "-s", "5", f"127.0.0.1:{port}"], check=True, timeout=30 * harness.SLOW)
        self.assertEqual(sink.wait(), 0)
        self.assertEqual(self.report(sink)["messages"], 100)

    def test_sink_answers_as_its_script_tells(self):
        script = self.write("script.lua", '''
answer { to = "RCPT", with = "450 4.2.1 busy", times = 2 }
answer { to = "RCPT", with = "550 5.1.1 nobody", when = function(event) return event.line:find "nobody" end }
answer { to = ".", fn = function(event) if event.line and event.verb == "." then return "250 2.0.0 scripted" end end }
''')
        _, port = self.sluice_sink("--script", script)
        from client import Client
        with Client(port) as c:
            replies = c.envelope("a@b.example", ["one@example.com", "two@example.com", "three@example.com", "nobody@example.com"])
            self.assertEqual([r.code for r in replies], [250, 450, 450, 250, 550])
            self.assertEqual(c.command("DATA").code, 354)
            c.send("x: y\r\n\r\n.\r\n")
            self.assertEqual(c.reply().text, "2.0.0 scripted")

    def test_sink_hangs_up_as_its_script_tells(self):
        script = self.write("acts.lua", '''
answer { to = "MAIL", with = "close", when = function(event) return event.line:find "close" end }
answer { to = "MAIL", fn = function(event) if event.line:find "reset" then return "reset" end end }
''')
        sink, port = self.sluice_sink("--json", "--script", script)
        from client import Client
        with Client(port) as c:
            c.send("MAIL FROM:<close@b.example>\r\n")
            self.assertEqual(c.socket.recv(100), b"")
        with Client(port) as c:
            c.send("MAIL FROM:<reset@b.example>\r\n")
            with self.assertRaises(ConnectionResetError):
                c.socket.recv(100)
        with Client(port) as c:
            self.assertEqual(c.command("MAIL FROM:<a@b.example>").code, 250)
        self.assertEqual(self.saw(sink)["refusals"], 0)

    def test_a_script_that_errs_is_told_at_start_and_survived_later(self):
        bad = command("sink", "--listen", f"127.0.0.1:{harness.free_port()}", "--script", self.write("bad.lua", "\nanswer { to = 'BLAH' }"))
        self.assertEqual(bad.returncode, 1)
        self.assertRegex(bad.stderr, r"bad\.lua:2: ")
        script = self.write("loop.lua", 'answer { to = "RCPT", fn = function() while true do end end }\n'
                            'answer { to = "MAIL", fn = function(event) if event.line:find "err" then error "no" end end }')
        sink, port = self.sluice_sink("--script", script)
        from client import Client
        with Client(port) as c:
            self.assertEqual(c.command("MAIL FROM:<err@b.example>").code, 451)
            self.assertEqual([r.code for r in c.envelope("a@b.example", ["u@example.com"])], [250, 451])
        self.assertRegex(sink.log, r"loop\.lua:1: over the budget")
        self.assertRegex(sink.log, r"loop\.lua:2: no")

    def test_inject_says_what_was_refused(self):
        mx = Receiver()
        self.addCleanup(mx.stop)
        mx.answer("RCPT", "550 5.1.1 nobody here", every=2)
        done = command("inject", "--count", "10", "--concurrency", "1", f"127.0.0.1:{mx.port}")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"^sluice: 5 .*550 5\.1\.1 nobody here")
        self.assertEqual(len(mx.messages), 5)

    def test_inject_goes_on_in_another_session_where_one_takes_no_more(self):
        script = self.write("few.lua", 'local n = 0\nanswer { to = "MAIL", fn = function()\n  n = n + 1\n'
                            '  return n % 4 == 0 and "421 4.7.0 enough, connect again" or "250 2.1.0 ok"\nend }\n')
        sink, port = self.sluice_sink("--json", "--script", script)
        done = command("inject", "--count", "20", "--concurrency", "1", f"127.0.0.1:{port}")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        saw = self.saw(sink)
        self.assertEqual(saw["messages"], 20)
        self.assertGreaterEqual(saw["connections"], 7)

    def test_inject_to_nobody_is_one_sentence(self):
        done = command("inject", "--count", "3", f"127.0.0.1:{harness.free_port()}")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"^sluice: [^\n]*refused[^\n]*\n$")

    def test_inject_sends_the_size_and_addresses_it_was_told(self):
        mx = Receiver()
        self.addCleanup(mx.stop)
        done = command("inject", "--count", "3", "--size", "5000", "--from", "me@here.example", "--to", "you@there.example", f"127.0.0.1:{mx.port}")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual({(m.sender, *m.recipients) for m in mx.messages}, {("me@here.example", "you@there.example")})
        self.assertTrue(all(abs(len(m.data) - 5000) < 200 for m in mx.messages), [len(m.data) for m in mx.messages])


harness.main()
