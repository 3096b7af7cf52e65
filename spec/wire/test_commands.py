# SPDX-License-Identifier: Apache-2.0
"""The commands against a running node, their JSON, their exit statuses."""
import json
import os
import socket
import stat
import subprocess

import harness
from harness import command, until
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

    def test_a_stop_in_the_middle_of_a_drop(self):
        node = self.node(POLICY)
        self.source(node, count=3000, sessions=10, to="u@a.example")
        with socket.socket(socket.AF_UNIX) as asked:
            asked.connect(node.control)
            asked.sendall(b'{"command":"drop","arguments":["a.example/default"]}\n')
            self.assertEqual(asked.recv(1), b" ", "it has begun, and has no answer yet")
            self.assertEqual(node.stop(), 0)
        self.assertEqual(self.restart(node).status()["queued"], 0, "what has begun is ended")

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


harness.main()
