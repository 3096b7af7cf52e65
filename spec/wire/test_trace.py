# SPDX-License-Identifier: Apache-2.0
"""`trace`: the dialogue of both sides, narrowed, through TLS, without the mail and without holding up the node."""
import json
import signal
import subprocess

import harness
from harness import SLUICE, Certificates, command, until
from receiver import Receiver


class Trace(harness.Case):
    def begin(self, mx, settings=""):
        node = self.node(f'vmta "default" {{ source = "any" }}\ndomain "a.example" {{ smtp_hosts = "{mx.at}" {settings} }}\n'
                         f'domain "b.example" {{ smtp_hosts = "{mx.at}" }}\n')
        return node

    def trace(self, node, *options):
        process = subprocess.Popen([SLUICE, "trace", "--control", node.control, *options], stdout=subprocess.PIPE, text=True,
                                   stderr=subprocess.PIPE)

        def end():
            process.kill()
            process.communicate()
        self.addCleanup(end)
        return process

    def mx(self, **options):
        mx = Receiver(**options)
        self.addCleanup(mx.stop)
        return mx

    def send_until_told(self, node, process, to):
        """The trace has begun once it tells of something."""
        def sent():
            self.send(node, to=to, body=b"Subject: secret words\r\n\r\nthe body\r\n")
            return process.poll() is not None
        until(sent, "the trace has its lines")
        out, err = process.communicate()
        self.assertEqual((process.returncode, err), (0, ""))
        return out

    def test_both_sides_and_the_message_by_its_size(self):
        mx = self.mx()
        node = self.begin(mx)
        lines = [json.loads(l) for l in self.send_until_told(node, self.trace(node, "--json", "--count", "60"), "u@a.example").splitlines()]
        self.assertEqual(len(lines), 60)
        said = [(l["who"], l["line"].split(" ")[0].split("-")[0], l["queue"] is None) for l in lines]
        for who, word, inbound in (("they", "EHLO", True), ("they", "MAIL", True), ("we", "354", True), ("we", "MAIL", False),
                                   ("we", "RCPT", False), ("they", "250", False)):
            self.assertIn((who, word, inbound), said)
        self.assertTrue(any(l["who"] == "event" and l["line"].endswith("bytes of message") for l in lines))
        self.assertFalse(any("secret words" in l["line"] or "the body" in l["line"] for l in lines))
        out = [l for l in lines if l["queue"]]
        self.assertEqual({(l["queue"], l["listener"]) for l in out}, {("a.example/default", None)})
        self.assertEqual({l["domain"] for l in out if l["line"].startswith("RCPT")}, {"a.example"})

    def test_it_is_narrowed(self):
        mx = self.mx()
        node = self.begin(mx)
        process = self.trace(node, "--to", "b.example", "--count", "20")     # it may begin within a message
        for _ in range(3):
            self.send(node, to="u@a.example")
        text = self.send_until_told(node, process, "u@b.example")
        self.assertNotIn("a.example", text)
        self.assertIn("> RCPT TO:<u@b.example>", text)
        text = self.send_until_told(node, self.trace(node, "--queue", "a.*", "--count", "4"), "u@a.example")
        self.assertNotIn("b.example", text)
        listener = next(l.split('"')[1] for l in open(node.policy, encoding="utf-8") if l.startswith("listener"))
        text = self.send_until_told(node, self.trace(node, "--listener", listener, "--count", "4"), "u@a.example")
        self.assertNotIn("a.example/default", text)
        done = command("trace", "--listener", "nosuch:25", "--control", node.control)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no such listener: nosuch:25", done.stderr)

    def test_tls_is_shown_in_clear(self):
        ca = Certificates(self.folder)
        mx = self.mx(certificate=ca.issue("localhost"))
        node = self.begin(mx, ", max_msg_per_connection = 1")      # else the only session may be older than the trace
        text = self.send_until_told(node, self.trace(node, "--queue", "a.*", "--count", "90"), "u@a.example")
        self.assertRegex(text, r"(?s)> STARTTLS.*\* TLSv1\.\d.*> EHLO.*> MAIL FROM")

    def test_an_interrupt_ends_it_and_the_node_goes_on(self):
        mx = self.mx()
        node = self.begin(mx)
        process = self.trace(node)
        self.send(node, to="u@a.example")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10 * harness.SLOW)
        self.send(node, to="u@a.example")
        node.wait_records(2, "d")

    def test_a_reader_that_stopped_does_not_hold_up_the_node(self):
        mx = self.mx()
        node = self.begin(mx)
        process = self.trace(node)
        process.send_signal(signal.SIGSTOP)
        done = command("inject", "--to", "u@a.example", "--count", "3000", "--concurrency", "5", f"127.0.0.1:{node.port}")
        self.assertEqual(done.returncode, 0, done.stderr)
        node.wait_records(3000, "d", deadline_s=30)

    def test_misuse(self):
        for argv in (["trace", "x"], ["trace", "--count", "0"], ["trace", "--count", "x"]):
            self.assertEqual(command(*argv).returncode, 2)


harness.main()
