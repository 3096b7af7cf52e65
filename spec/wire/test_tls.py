# SPDX-License-Identifier: Apache-2.0
"""STARTTLS, as the server (swaks, openssl s_client) and as the client (Postfix, and receivers with good and bad certificates)."""
import copy
import os
import shutil
import signal
import subprocess
import tempfile

import harness
from client import Client, Closed
from harness import Certificates, until
from postfix import Postfix
from receiver import CLOSE, Receiver



class Case(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.shared = tempfile.mkdtemp(prefix="swc")
        os.chmod(cls.shared, 0o755)
        cls.addClassCleanup(shutil.rmtree, cls.shared, True)
        cls.ca = Certificates(cls.shared)
        cls.other_ca = Certificates(cls.shared, "other")

    def receiver(self, **options):
        mx = Receiver(**options)
        self.addCleanup(mx.stop)
        return mx


class Server(Case):
    def listening(self, listener="", hooks=""):
        cert, key = self.ca.issue("node.example")
        mx = self.receiver()
        node = self.node(f'domain "*" {{ smtp_hosts = "{mx.at}" }}\n{hooks}',
                         listener=f'tls = {{ certificate = "{cert}", key = "{key}" }}, {listener}')
        return node, mx

    def test_swaks_sends_over_starttls(self):
        node, mx = self.listening()
        done = subprocess.run([harness.program("swaks"), "--server", f"127.0.0.1:{node.port}", "--from", "a@sender.example",
                               "--to", "b@example.com", "--tls", "--tls-verify", "--tls-ca-path", self.ca.ca, "--ehlo", "client.example",
                               "--tls-sni", "node.example"],
                              capture_output=True, text=True, timeout=30 * harness.SLOW, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("TLS started with cipher TLSv1.", done.stdout)
        until(lambda: mx.messages, "it arrives")
        self.assertRegex(mx.messages[0].headers.decode(), r"with ESMTPS\b")

    def test_openssl_verifies_the_certificate(self):
        node, _ = self.listening()
        done = subprocess.run([harness.program("openssl"), "s_client", "-connect", f"127.0.0.1:{node.port}", "-starttls", "smtp",
                               "-CAfile", self.ca.ca, "-verify_return_error", "-verify_hostname", "node.example", "-crlf", "-quiet"],
                              input="QUIT\n", capture_output=True, text=True, timeout=30 * harness.SLOW, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"(?m)^221 ")

    def s_client(self, node, *options):
        done = subprocess.run([harness.program("openssl"), "s_client", "-connect", f"127.0.0.1:{node.port}", "-starttls", "smtp", "-crlf", *options],
                              input="QUIT\n", capture_output=True, text=True, timeout=30 * harness.SLOW, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_openssl_resumes_a_session_by_a_ticket(self):
        node, _ = self.listening()
        ticket = self.path("session.pem")
        self.assertRegex(self.s_client(node, "-sess_out", ticket), r"(?m)^New, TLSv1\.2")
        for _ in range(2):
            self.assertRegex(self.s_client(node, "-sess_in", ticket), r"(?m)^Reused, TLSv1\.2")
        node.stop()
        again = self.restart(node)
        self.assertRegex(self.s_client(again, "-sess_in", ticket), r"(?m)^New, TLSv1\.2", "the key has gone with the process")

    def test_after_starttls_the_session_begins_anew(self):
        node, mx = self.listening()
        with Client(node.port) as c:
            self.assertIn("STARTTLS", c.extensions)
            c.command("MAIL FROM:<before@sender.example>")
            self.assertEqual(c.starttls(self.ca.ca, "node.example").code, 220)
            self.assertEqual(c.command("RCPT TO:<b@example.com>").code, 503, "what was said before TLS is forgotten")
            c.ehlo()
            self.assertNotIn("STARTTLS", c.extensions)
            self.assertEqual(c.message("a@sender.example", ["b@example.com"], b"Subject: x\r\n\r\n").code, 250)
        until(lambda: mx.messages, "it arrives")

    def test_nothing_said_in_clear_behind_starttls_is_obeyed(self):
        node, mx = self.listening()
        with Client(node.port) as c:
            c.send("STARTTLS\r\nMAIL FROM:<evil@sender.example>\r\n")
            try:
                first = c.reply()
                if first.code == 220:
                    import ssl
                    c.socket = ssl._create_unverified_context().wrap_socket(c.socket)
                    c.buffer = b""
                    self.assertEqual(c.command("EHLO client.example").lines[0][:3], "250")
                    self.assertEqual(c.command("RCPT TO:<b@example.com>").code, 503)
                else:
                    self.assertGreaterEqual(first.code, 400)
            except (Closed, OSError):
                pass
        self.assertEqual(node.status()["received"], 0)

    def test_require_tls(self):
        node, _ = self.listening("require_tls = true")
        with Client(node.port) as c:
            reply = c.command("MAIL FROM:<a@sender.example>")
            self.assertEqual((reply.code, reply.enhanced), (530, "5.7.0"))
            c.starttls(self.ca.ca, "node.example")
            c.ehlo()
            self.assertEqual(c.command("MAIL FROM:<a@sender.example>").code, 250)

    def test_a_hook_sees_whether_there_is_tls(self):
        node, _ = self.listening(hooks='on.mail(function(session) return reject("550 5.7.1 " .. tostring(session.tls)) end)')
        with Client(node.port) as c:
            self.assertEqual(c.command("MAIL FROM:<a@sender.example>").text, "5.7.1 nil")
            c.starttls(self.ca.ca, "node.example")
            c.ehlo()
            self.assertRegex(c.command("MAIL FROM:<a@sender.example>").text, r"^5\.7\.1 TLSv1\.")

    def test_a_handshake_that_is_none_ends_the_session_and_only_that(self):
        node, _ = self.listening()
        with Client(node.port) as c:
            self.assertEqual(c.command("STARTTLS").code, 220)
            c.send(b"this is no ClientHello\r\n" * 10)
            self.assertTrue(c.closed())
        with Client(node.port) as c:
            self.assertEqual(c.greeting.code, 220)


class Delivery(Case):
    def sent(self, settings, mx, domain="mx.test"):
        """One message through a node to mx, under its settings; the node."""
        node = self.node(f'domain "{domain}" {{ smtp_hosts = "mx.test:{mx.port}", retry_after = "1h", {settings} }}',
                         options=self.resolver())
        self.assertEqual(self.send(node, to=f"u@{domain}").code, 250)
        return node

    def resolver(self):
        """mx.test is 127.0.0.1: allowed, as smtp_hosts names it."""
        dns = self.keep(harness.Dns(self.folder, {"test": "mx A 127.0.0.1\nwrong A 127.0.0.1\n"}))
        return dns.option

    def assert_clear(self, mx):
        self.assertEqual([s.tls for s in mx.sessions if s.messages], [None])

    def assert_held(self, node, mx, pattern):
        until(lambda: node.queue("mx.test/default")["last_error"], "the queue says what went wrong")
        queue = node.queue("mx.test/default")
        self.assertRegex(queue["last_error"], pattern)
        self.assertEqual((queue["queued"], queue["gate"]), (1, "retry_after"))
        self.assertEqual(mx.messages, [], "and nothing went out, least of all in clear")
        self.assertEqual(mx.commands("MAIL"), [])

    def test_tls_is_used_where_it_is_offered(self):
        mx = self.receiver(certificate=self.ca.issue("mx.test"))
        self.sent("", mx).wait_records(1, "d")
        self.assertRegex(mx.messages[0].session.tls, "TLSv1")

    def test_an_untrusted_certificate_is_good_enough_for_opportunistic_tls(self):
        mx = self.receiver(certificate=self.other_ca.issue("wrong.test"))
        self.sent(f'tls_ca = "{self.ca.ca}"', mx).wait_records(1, "d")
        self.assertRegex(mx.messages[0].session.tls, "TLSv1")

    def test_without_starttls_opportunistic_goes_in_clear(self):
        mx = self.receiver()
        self.sent("", mx).wait_records(1, "d")
        self.assert_clear(mx)

    def test_use_starttls_false_does_not_ask_for_it(self):
        mx = self.receiver(certificate=self.ca.issue("mx.test"))
        self.sent("use_starttls = false", mx).wait_records(1, "d")
        self.assert_clear(mx)
        self.assertEqual(mx.commands("STARTTLS"), [])

    def test_a_refused_starttls_is_no_reason_to_keep_mail_that_may_go_in_clear(self):
        mx = self.receiver(certificate=self.ca.issue("mx.test"))
        mx.answer("STARTTLS", "454 4.7.0 not now")
        self.sent("", mx).wait_records(1, "d")
        self.assert_clear(mx)

    def test_required_and_not_offered_is_a_connection_level_failure(self):
        mx = self.receiver()
        self.assert_held(self.sent("require_starttls = true", mx), mx, r"(?i)starttls|tls")

    def test_required_and_refused_is_a_connection_level_failure(self):
        mx = self.receiver(certificate=self.ca.issue("mx.test"))
        mx.answer("STARTTLS", "454 4.7.0 not now")
        self.assert_held(self.sent("require_starttls = true", mx), mx, r"454 4\.7\.0")

    def test_required_takes_any_certificate(self):
        mx = self.receiver(certificate=self.other_ca.issue("wrong.test"))
        self.sent("require_starttls = true", mx).wait_records(1, "d")
        self.assertRegex(mx.messages[0].session.tls, "TLSv1")

    def test_verified_goes_to_the_right_name_of_a_trusted_issuer(self):
        mx = self.receiver(certificate=self.ca.issue("mx.test"))
        self.sent(f'verify_tls = true, tls_ca = "{self.ca.ca}"', mx).wait_records(1, "d")
        self.assertRegex(mx.messages[0].session.tls, "TLSv1")

    def test_verified_refuses_another_issuer(self):
        mx = self.receiver(certificate=self.other_ca.issue("mx.test"))
        self.assert_held(self.sent(f'verify_tls = true, tls_ca = "{self.ca.ca}"', mx), mx, r"(?i)certificate|verif|trust")

    def test_verified_refuses_another_name(self):
        mx = self.receiver(certificate=self.ca.issue("wrong.test"))
        self.assert_held(self.sent(f'verify_tls = true, tls_ca = "{self.ca.ca}"', mx), mx, r"(?i)certificate|verif|name")

    def test_authorities_that_changed_are_read_at_a_swap(self):
        """One that is no longer trusted is not, nor is a session of its time resumed."""
        mx = self.receiver(certificate=self.ca.issue("mx.test"))
        trusted = self.path("trusted.pem")
        shutil.copy(self.ca.ca, trusted)
        node = self.sent(f'verify_tls = true, max_msg_per_connection = 1, tls_ca = "{trusted}"', mx)
        node.wait_records(1, "d")
        shutil.copy(self.other_ca.ca, trusted)
        node.signal(signal.SIGHUP)
        until(lambda: node.status()["generation"] == 2, "it swapped")
        self.assertEqual(self.send(node, to="u@mx.test").code, 250)
        until(lambda: node.queue("mx.test/default")["last_error"], "the queue says what went wrong")
        self.assertRegex(node.queue("mx.test/default")["last_error"], r"(?i)certificate|verif|trust")
        self.assertEqual(len(mx.messages), 1)
        shutil.copy(self.ca.ca, trusted)
        node.signal(signal.SIGHUP)
        until(lambda: node.status()["generation"] == 3, "it swapped back")
        node.command("retry", "mx.test/default")
        node.wait_records(2, "d")

    def certificates_of_all_kinds(self):
        """What it is, the certificate, and whether it is mx.test's."""
        name = b"mx.test\0.example"
        nul = "DER:" + ":".join(f"{byte:02x}" for byte in bytes([0x30, len(name) + 2, 0x82, len(name)]) + name)
        rows = [("a wildcard", "DNS:*.test", True), ("a wildcard for all", "DNS:*", False), ("half a wildcard", "DNS:m*.test", False),
                ("a wildcard beneath", "DNS:*.mx.test", False), ("a NUL behind the name", nul, False), ("an address of mail", "email:mx.test@mx.test", False),
                ("an address", "IP:127.0.0.1", False), ("hundreds of names", ",".join(f"DNS:h{n}.test" for n in range(300)) + ",DNS:MX.test", True)]
        for n, (what, names, good) in enumerate(rows):
            yield what, self.ca.issue("mx.test", names=names, mark=f"-{n}"), good
        yield "one of last year", self.ca.issue("mx.test", days="-1", mark="-old"), False
        leaf = copy.copy(self.ca)
        leaf.name, (leaf.ca, leaf.ca_key) = "leaf", self.ca.issue("leaf.test")
        yield "one issued by a host", self.chain(leaf.issue("mx.test"), leaf.ca), False
        yield "a chain of sixty", self.chain(self.ca.issue("mx.test"), *[self.ca.ca] * 60), False

    def chain(self, own, *more):
        path = self.path(f"chain-{len(more)}.pem")
        with open(path, "wb") as out:
            for part in (own[0], *more):
                with open(part, "rb") as file:
                    out.write(file.read())
        return path, own[1]

    def test_which_certificates_are_the_hosts(self):
        rows = [(what, self.receiver(certificate=certificate), good) for what, certificate, good in self.certificates_of_all_kinds()]
        node = self.node("\n".join(f'domain "d{n}.test" {{ smtp_hosts = "mx.test:{mx.port}", retry_after = "1h", verify_tls = true, tls_ca = "{self.ca.ca}" }}'
                                   for n, (_, mx, _) in enumerate(rows)), options=self.resolver())
        for n in range(len(rows)):
            self.assertEqual(self.send(node, to=f"u@d{n}.test").code, 250)
        for n, (what, mx, good) in enumerate(rows):
            with self.subTest(what):
                record = until(lambda d=f"d{n}.test/": next((r for r in node.records("d", "tq") if r["queue"].startswith(d)), None), "it is tried")
                self.assertEqual((record["type"], len(mx.commands("MAIL"))), ("d", 1) if good else ("tq", 0), record)

    def test_verified_and_not_offered_is_a_connection_level_failure(self):
        mx = self.receiver()
        self.assert_held(self.sent(f'verify_tls = true, tls_ca = "{self.ca.ca}"', mx), mx, r"(?i)starttls|tls")

    def test_a_handshake_that_breaks_off_never_becomes_clear_text_where_tls_is_required(self):
        mx = self.receiver(certificate=self.ca.issue("mx.test"))
        mx.answer("STARTTLS", "220 go\r\n250 not a handshake")
        self.assert_held(self.sent("require_starttls = true", mx), mx, r"(?i)tls|starttls")

    def test_a_peer_that_closes_at_starttls_holds_the_queue(self):
        mx = self.receiver(certificate=self.ca.issue("mx.test"))
        mx.answer("STARTTLS", CLOSE)
        node = self.sent("require_starttls = true", mx)
        self.assert_held(node, mx, r".")

    def resumed(self, mx, settings, resolver, vmtas=("default",)):
        """Whether each of four deliveries, on connections of their own, by these virtual MTAs in turn, resumed a session."""
        pool = "".join(f'vmta "{vmta}" {{ source = "any" }}\n' for vmta in vmtas)
        choice = 'on.message(function(m) m.vmta = m:header("X-By") end)\n'
        node = self.node(f'{pool}{choice}domain "mx.test" {{ smtp_hosts = "mx.test:{mx.port}", max_msg_per_connection = 1, '
                         f'{settings} }}', options=resolver)
        for i in range(4):
            self.assertEqual(self.send(node, to="u@mx.test", body=f"X-By: {vmtas[i % len(vmtas)]}\r\n\r\n".encode()).code, 250)
            node.wait_records(i + 1, "d")
        return [s.tls_resumed for s in mx.sessions if s.messages]

    def test_the_next_session_with_a_host_is_resumed(self):
        resolver = self.resolver()
        for settings in "", f'verify_tls = true, tls_ca = "{self.ca.ca}"':
            with self.subTest(settings=settings):
                mx = self.receiver(certificate=self.ca.issue("mx.test"))
                self.assertEqual(self.resumed(mx, settings, resolver), [False, True, True, True])

    def test_virtual_mtas_share_no_session(self):
        mx = self.receiver(certificate=self.ca.issue("mx.test"))
        self.assertEqual(self.resumed(mx, "", self.resolver(), ("one", "two")), [False, False, True, True])

    def test_postfix_takes_mail_over_starttls(self):
        """Another implementation at the far end: a private Postfix that takes nothing in clear."""
        cert, key = self.ca.issue("mx.test")
        port = harness.free_port()
        postfix = self.keep(Postfix(self.path("postfix"), port, "mx.test", {
            "relay_domains": "mx.test", "relay_transport": "discard", "mynetworks": "",
            "smtpd_tls_security_level": "encrypt", "smtpd_tls_cert_file": cert, "smtpd_tls_key_file": key, "smtpd_tls_loglevel": "1"}))
        node = self.node(f'domain "mx.test" {{ smtp_hosts = "mx.test:{port}", verify_tls = true, tls_ca = "{self.ca.ca}" }}',
                         options=self.resolver())
        for _ in range(3):
            self.assertEqual(self.send(node, to="u@mx.test", body=b"Subject: x\r\n\r\n.dot\r\n").code, 250)
        records = node.wait_records(3, "d")
        self.assertTrue(all("queued as" in r["dsnDiag"] for r in records), records)
        until(lambda: "TLS" in postfix.log, lambda: f"Postfix logs TLS: {postfix.log}")


harness.main()
