# SPDX-License-Identifier: Apache-2.0
"""Peers that mean harm, in two tables: what a server or a client does, and what must become of it. Whatever they do,
the node keeps its memory, serves everybody else, and loses nothing."""
import resource
import socket
import ssl
import struct
import threading
import time

import harness
from client import Client, Closed
from harness import until
from receiver import Receiver

MB = 1 << 20
GROWTH_MAX = (96 if harness.SANITIZED else 48) * MB     # of memory, under any of them; a sanitizer keeps what was freed
GONE = (OSError, Closed)
CONNECTIONS = 10000
PATIENCE = f"{max(1, int(harness.SLOW))}s"
TIMEOUTS = ('connect_timeout = "3s", greeting_timeout = "3s", command_timeout = "3s", data_timeout = "3s", final_timeout = "3s", '
            'retry_after = "1h", retry_recipients_after = "1h", retry_jitter = "0%"')
EHLO = b"250-mx.example\r\n250 PIPELINING\r\n"
OK = b"250 2.0.0 ok\r\n"


class Server:
    """Says what the script says: script(talk) once for each connection."""

    def __init__(self, script):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.at = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.script, self.taken, self.said = script, [], []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection:
            try:
                self.script(Talk(self, connection))
            except (OSError, ValueError):
                pass

    def stop(self):
        self.socket.close()


class Talk:
    def __init__(self, server, connection):
        self.server, self.connection, self.buffer = server, connection, b""

    def say(self, data):
        self.connection.sendall(data)

    def hear(self, until_=b"\r\n"):
        while until_ not in self.buffer:
            more = self.connection.recv(65536)
            if not more:
                raise ValueError("gone")
            self.buffer += more
        line, _, self.buffer = self.buffer.partition(until_)
        self.server.said.append(line)
        return line

    def till_gone(self):
        while self.connection.recv(65536):
            pass

    def for_ever(self, data):
        while True:
            self.say(data)

    def to(self, stage, greeting=b"220 mx.example\r\n", ehlo=EHLO):
        """Up to the command of that stage, each one answered well."""
        self.say(greeting)
        for answer in (ehlo, OK, OK, b"354 go\r\n"):
            if self.hear()[:4].decode().upper() == stage:
                return
            self.say(answer)
        self.hear(b"\r\n.\r\n")

    def answered(self, stage, answer):
        self.to(stage)
        self.say(answer)
        self.till_gone()

    def dribble(self, data):
        for byte in data:
            self.say(bytes([byte]))
            time.sleep(0.002)


def whole_session(t):
    """Byte by byte, and all is well."""
    t.dribble(b"220-mx\r\n220 .example\r\n")
    for answer in (EHLO, OK, OK, b"354 go\r\n"):
        t.hear()
        t.dribble(answer)
    t.taken = t.hear(b"\r\n.\r\n")
    t.dribble(b"250-taken\r\n250 2.0.0 indeed\r\n")
    t.hear()


def flood_during_body(t):
    t.to("DATA")
    t.say(b"354 go\r\n")
    t.for_ever(b"250 2.0.0 taken\r\n" * 4000)


def slow_reader(t):
    t.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    t.to("DATA")
    t.say(b"354 go\r\n")
    while t.connection.recv(1):
        time.sleep(0.05)


def early_replies(t):
    t.say(b"220 a\r\n" + EHLO + OK + OK + b"554 5.7.1 no\r\n" * 3)
    t.till_gone()


def body_unasked(t):
    """250 to DATA: a body sent now would be commands."""
    t.to("DATA")
    t.say(OK)
    t.hear()
    t.server.taken.append("something followed")
    t.till_gone()


def refuses_ahead(t):
    """A recipient, before it is named."""
    t.to("MAIL", ehlo=b"250 mx.example\r\n")
    t.say(OK + b"550 5.1.1 who?\r\n")
    t.till_gone()


# What it does, what becomes of the recipient (type of record), and what the record says.
SERVERS = {
    "greets with a line without end": (lambda t: t.for_ever(b"220 " + b"A" * 65536), "tq", "."),
    "greets with lines without end": (lambda t: t.for_ever(b"220-more\r\n" * 1000), "tq", "."),
    "greets by long lines without end": (lambda t: t.for_ever((b"220-" + b"B" * 500 + b"\r\n") * 100), "tq", "."),
    "greets with NULs": (lambda t: (t.say(b"\0" * 70000), t.till_gone()), "tq", "."),
    "greets with bytes": (lambda t: (t.say(bytes(range(128, 256)) * 50 + b"\r\n"), t.till_gone()), "tq", "."),
    "greets in TLS": (lambda t: (t.say(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 400), t.till_gone()), "tq", "."),
    "greets as a web server": (lambda t: (t.say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), t.till_gone()), "tq", "."),
    "never greets": (lambda t: t.till_gone(), "tq", r"(?i)time"),
    "greets a byte a time, for ever": (lambda t: t.dribble(b"220-" + b"x" * 100000), "tq", r"(?i)time"),
    "greets by 250": (lambda t: (t.say(OK), t.till_gone()), "tq", "."),
    "greets by 354": (lambda t: (t.say(b"354 go\r\n"), t.till_gone()), "tq", "."),
    "answers EHLO without end": (lambda t: (t.to("EHLO"), t.for_ever(b"250-X-MORE\r\n" * 1000)), "tq", "."),
    "offers 900 extensions": (lambda t: (t.to("EHLO"), t.say(b"".join(b"250-X%d\r\n" % i for i in range(900)) + b"250 SIZE\r\n"), t.till_gone()), "tq", "."),
    "answers EHLO by 220": (lambda t: t.answered("EHLO", b"220 mx\r\n"), "t", "."),
    "offers a size of none": (lambda t: t.answered("EHLO", b"250-a\r\n250-SIZE 18446744073709551617\r\n250 SIZE -1\r\n"), "t", "."),
    "answers MAIL by 354": (lambda t: t.answered("MAIL", b"354 go\r\n"), "t", "."),
    "answers MAIL by 220": (lambda t: t.answered("MAIL", b"220 what\r\n"), "t", "."),
    "answers MAIL by 1xx": (lambda t: t.answered("MAIL", b"150 wait\r\n"), "t", "."),
    "answers MAIL by 000": (lambda t: t.answered("MAIL", b"000 ok\r\n"), "t", "."),
    "answers MAIL by 9999": (lambda t: t.answered("MAIL", b"9999 ok\r\n"), "t", "."),
    "answers MAIL by two codes": (lambda t: t.answered("MAIL", b"250-a\r\n550 b\r\n"), "b", "."),
    "answers MAIL by NULs": (lambda t: t.answered("MAIL", b"25\0" + b"0 ok\r\n"), "t", "."),
    "answers MAIL by a line without a code": (lambda t: t.answered("MAIL", b"ok\r\n"), "t", "."),
    "answers MAIL by bare CR": (lambda t: t.answered("MAIL", b"250 ok\r" * 100), "t", "."),
    "answers RCPT by 354": (lambda t: t.answered("RCPT", b"354 go\r\n"), "t", "."),
    "answers DATA by 250": (body_unasked, "t", "."),
    "answers the body by 354": (lambda t: (t.to("."), t.say(b"354 more\r\n"), t.till_gone()), "t", "."),
    "answers the body by a byte a time, for ever": (lambda t: (t.to("."), t.dribble(b"250-" + b"x" * 100000)), "t", "."),
    "answers before it is asked": (early_replies, "tq", "a reply that nothing asked for"),
    "greets twice": (lambda t: (t.say(b"220 mx\r\n220 mx\r\n"), t.till_gone()), "tq", "a reply that nothing asked for"),
    "refuses a recipient before it is named": (refuses_ahead, "t", "a reply that nothing asked for"),
    "takes the message before it is sent": (lambda t: t.answered("DATA", b"354 go\r\n250 2.0.0 taken\r\n"), "t", "a reply that nothing asked for"),
    "floods while it takes the body": (flood_during_body, None, "."),
    "takes a byte now and then": (slow_reader, "t", r"(?i)time"),
    "says all byte by byte": (whole_session, "d", "indeed"),
}


def record(body, kind=b"\x16"):
    return kind + b"\x03\x03" + struct.pack(">H", len(body)) + body


def handshake(data, pause_s=0.0, endless=False):
    def run(t):
        t.to("EHLO")
        t.say(b"250-mx\r\n250 STARTTLS\r\n")
        t.hear()
        t.say(b"220 go\r\n")
        t.connection.recv(65536)        # the ClientHello: what comes before it is refused as such
        while True:
            for i in range(0, len(data), 1 if pause_s else len(data)):
                t.say(data[i:i + 1] if pause_s else data)
                time.sleep(pause_s)
            if not endless:
                t.till_gone()
    return run


# What a server says instead of a handshake. None of it may hold the session or let the message out in clear.
HANDSHAKES = {
    "a record a byte a time": handshake(record(b"\x02\0\x3f\xff" + b"x" * 5000), pause_s=0.01),
    "warnings without end": handshake(record(b"\x01\x5a", b"\x15") * 1000, endless=True),
    "requests to begin without end": handshake(record(b"\0\0\0\0") * 1000, endless=True),
    "records of nothing": handshake(record(b"") * 1000, endless=True),
    "a message of 16 MiB": handshake(record(b"\x02\xff\xff\xff" + b"x" * 16000) + record(b"x" * 16000) * 20),
    "data": handshake(record(b"250 ok\r\n", b"\x17")),
    "clear text": handshake(EHLO + OK + OK),
    "nothing": handshake(b""),
}


def record_of(node, domain):
    return [r for r in node.records("d", "b", "t", "tq") if r["rcpt"].endswith("@" + domain) or r["queue"].startswith(domain + "/")]


class Servers(harness.Case):
    def test_no_server_does_harm(self):
        names = {f"s{n}.example": name for n, name in enumerate(SERVERS)}
        servers = {domain: Server(SERVERS[name][0]) for domain, name in names.items()}
        for server in servers.values():
            self.addCleanup(server.stop)
        mx = Receiver()
        self.addCleanup(mx.stop)
        node = self.node("\n".join(f'domain "{domain}" {{ smtp_hosts = "{server.at}", use_starttls = false, {TIMEOUTS} }}' for domain, server in servers.items())
                         + f'\ndomain "good.example" {{ smtp_hosts = "{mx.at}" }}\n')
        before = node.memory_bytes()
        large = b"Subject: x\r\n\r\n" + (b"y" * 70 + b"\r\n") * 30000
        for domain, name in names.items():
            self.send(node, to=f"u@{domain}", body=large if "body" in name or "byte now" in name else b"Subject: x\r\n\r\nz\r\n")
        for n in range(5):
            self.send(node, to="u@good.example")
            self.delivered(mx, n + 1)
        for domain, name in names.items():
            _, wanted, says = SERVERS[name]
            with self.subTest(name):
                record = until(lambda d=domain: record_of(node, d), lambda: f"something becomes of {name}", 30)[0]
                self.assertRegex(record["dsnDiag"], says)
                self.assertIn(record["type"], wanted.split() if wanted else ["d", "t", "tq"], record)
        self.assertEqual([s.taken for s in servers.values() if s.taken], [])
        self.assertLess(node.memory_bytes("VmHWM") - before, GROWTH_MAX)

    def test_no_handshake_holds_a_message(self):
        servers = {f"h{n}.example": Server(script) for n, script in enumerate(HANDSHAKES.values())}
        for server in servers.values():
            self.addCleanup(server.stop)
        node = self.node("\n".join(f'domain "{domain}" {{ smtp_hosts = "{server.at}", require_starttls = true, {TIMEOUTS} }}' for domain, server in servers.items()))
        before = node.memory_bytes()
        for domain in servers:
            self.send(node, to=f"u@{domain}")
        for (domain, server), name in zip(servers.items(), HANDSHAKES):
            with self.subTest(name):
                told = until(lambda d=domain: record_of(node, d), "the queue is held", 20)[0]
                self.assertEqual(told["type"], "tq", told)
                self.assertRegex(told["dsnDiag"], "TLS")
                self.assertEqual([line for line in server.said if line.startswith(b"MAIL")], [])
        self.assertLess(node.memory_bytes("VmHWM") - before, GROWTH_MAX)

    def test_what_is_said_before_tls_is_not_heard_in_it(self):
        """The reply to STARTTLS carries what looks like the EHLO of the session to come (CVE-2011-0411's other direction)."""
        cert, key = harness.Certificates(self.path("ca")).issue("mx.test")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        heard = []

        def inject(t):
            t.to("EHLO")
            t.say(b"250-mx\r\n250 STARTTLS\r\n")
            t.hear()
            t.say(b"220 go\r\n250-mx.evil\r\n250 SIZE 1\r\n250 ok\r\n250 ok\r\n354 go\r\n250 2.0.0 taken in clear\r\n")
            t.connection = context.wrap_socket(t.connection, server_side=True)
            while True:
                heard.append(t.hear())
                t.say(b"250 in tls\r\n")
        server = Server(inject)
        self.addCleanup(server.stop)
        node = self.node(f'domain "*" {{ smtp_hosts = "{server.at}", require_starttls = true, {TIMEOUTS} }}\n')
        self.send(node)
        record, = node.wait_records(1, "d", "b", "t", "tq")
        self.assertIn(record["type"], ("t", "tq"), record)
        self.assertNotIn("taken in clear", record["dsnDiag"])
        self.assertEqual([line for line in server.said if line.startswith((b"MAIL", b"RCPT"))], [])


SMTP_IN_CLEAR = b"EHLO a\r\nMAIL FROM:<evil@sender.example>\r\nRCPT TO:<u@example.com>\r\nDATA\r\nSubject: x\r\n\r\n.\r\n"


def http(c):
    c.send(b"POST / HTTP/1.1\r\nHost: mx\r\nContent-Type: text/plain\r\n\r\n" + SMTP_IN_CLEAR)


def endless(data):
    def run(c):
        end = time.monotonic() + 20 * harness.SLOW
        while time.monotonic() < end:
            c.send(data)
        raise AssertionError("it goes on for ever")
    return run


def never_reads(c):
    """Replies that nobody takes: the node must stop reading, not remember them all."""
    c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    c.socket.settimeout(1.0)
    for _ in range(1000):
        c.send(b"RSET\r\n" * 10000)


def dribbles(pieces):
    def run(c):
        for byte in pieces:
            c.send(bytes([byte]))
            time.sleep(0.02)
    return run


# What it does; whether the node must end the session by itself, and within what time.
CLIENTS = {
    "says a line without end": (endless(b"A" * 65536), True),
    "says commands without end": (endless(b"NOOP\r\n" * 5000), True),
    "says RSET without end": (endless(b"RSET\r\n" * 5000), True),
    "says MAIL and RSET without end": (endless(b"MAIL FROM:<a@b.example>\r\nRSET\r\n" * 2000), True),
    "says NULs without end": (endless(b"\0" * 65536), True),
    "says empty lines without end": (endless(b"\r\n" * 20000), True),
    "says what it is not": (lambda c: c.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 400 + b"\r\n" * 30), True),
    "is a browser": (http, True),
    "names recipients without end": (lambda c: (c.send("MAIL FROM:<a@b.example>\r\n"), endless(b"RCPT TO:<u@example.com>\r\n" * 2000)(c)), True),
    "never reads": (never_reads, True),
    "never says a thing": (lambda c: None, True),
    "says a byte now and then": (dribbles(b"NOOP " + b"x" * 400), True),
    "says a body a byte now and then": (lambda c: (c.envelope("a@b.example", ["u@example.com"]), c.command("DATA"), dribbles(b"x" * 400)(c)), True),
    "leaves in the middle of a body": (lambda c: (c.envelope("a@b.example", ["u@example.com"]), c.command("DATA"), c.send(b"Subject: x\r\n\r\nhalf")), True),
    "leaves in the middle of a chunk": (lambda c: (c.envelope("a@b.example", ["u@example.com"]), c.send(b"BDAT 1000000 LAST\r\nhalf")), True),
    "closes its side at once": (lambda c: c.socket.shutdown(socket.SHUT_WR), True),
    "resets": (lambda c: c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)), False),
    "sends urgent data": (lambda c: [c.socket.send(b"!", socket.MSG_OOB) for _ in range(100)], True),
}


class Clients(harness.Case):
    def test_no_client_does_harm(self):
        node, mx = self.relay(f'command_timeout = "{PATIENCE}", data_timeout = "{PATIENCE}", max_rcpt_per_message = 100')
        before = node.memory_bytes()
        for n, (name, (run, ends)) in enumerate(CLIENTS.items()):
            with self.subTest(name):
                with Client(node.port) as c:
                    try:
                        run(c)
                    except socket.timeout:
                        pass
                    except GONE:
                        continue
                    if ends:
                        c.socket.settimeout(20 * harness.SLOW)
                        self.assertTrue(c.closed(), "the node ends it")
                self.assertEqual(self.send(node, body=b"Subject: good\r\n\r\n").code, 250)
        until(lambda: node.status()["sessions_in"] == 0, "all sessions are over", 20)
        node.wait_empty()
        self.assertEqual([b"Subject: good" in m.data for m in mx.messages], [True] * len(mx.messages))
        self.assertGreater(len(mx.messages), 3)
        self.assertLess(node.memory_bytes("VmHWM") - before, GROWTH_MAX)

    def test_no_handshake_holds_a_session(self):
        cert, key = harness.Certificates(self.path("ca")).issue("node.example")
        node, mx = self.relay(f'tls = {{ certificate = "{cert}", key = "{key}" }}, command_timeout = "{PATIENCE}"')
        rows = {"silence": b"", "half a record": b"\x16\x03\x01\x40\x00\x01", "a record without end": b"\x16\x03\x03\xff\xff" + b"\x01\x00\xff\xff" + b"x" * 70000,
                "records of nothing": b"\x16\x03\x01\x00\x00" * 20000, "clear text": SMTP_IN_CLEAR, "alerts": b"\x15\x03\x01\x00\x02\x01\x00" * 5000}
        for name, said in rows.items():
            with self.subTest(name), Client(node.port) as c:
                self.assertEqual(c.command("STARTTLS").code, 220)
                c.socket.settimeout(20 * harness.SLOW)
                try:
                    c.send(said)
                    self.assertTrue(c.closed(), "the node ends it")
                except GONE:
                    pass
        until(lambda: node.status()["sessions_in"] == 0, "all sessions are over", 20)
        self.assertEqual(node.status()["received"], 0)
        self.assertEqual(self.send(node).code, 250)
        self.delivered(mx)

    def test_byte_by_byte_is_as_good_as_at_once(self):
        node, mx = self.relay()
        with Client(node.port, ehlo=None) as c:
            for line in (b"EHLO client.example\r\n", b"MAIL FROM:<a@sender.example>\r\n", b"RCPT TO:<u@example.com>\r\n", b"DATA\r\n",
                         b"Subject: x\r\n\r\n..\r\n.\r\n"):
                for byte in line:
                    c.send(bytes([byte]))
                self.assertLess(c.reply().code, 400)
        self.assertEqual(self.delivered(mx).body, b".\r\n")

    def connect(self, port, n):
        held = []
        for _ in range(n):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", port))
            held.append(s)
            if len(held) % 500 == 0:
                time.sleep(0.01)        # the backlog has an end
        return held

    def test_ten_thousand_that_say_nothing(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < CONNECTIONS + 500:
            self.skipTest(f"{hard} descriptors are too few")
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        mx = Receiver()
        self.addCleanup(mx.stop)
        node = self.node(f'domain "*" {{ smtp_hosts = "{mx.at}" }}\n', settings=f"max_smtp_in = {CONNECTIONS + 100}")
        before = node.memory_bytes()
        held = self.connect(node.port, CONNECTIONS)
        try:
            until(lambda: node.status()["sessions_in"] >= CONNECTIONS, lambda: f"all are there: {node.status()}", 60)
            started = time.monotonic()
            for n in range(20):
                self.assertEqual(self.send(node).code, 250)
                self.delivered(mx, n + 1)
            self.assertLess(time.monotonic() - started, 5 * harness.SLOW)
            self.assertLess(node.memory_bytes() - before, CONNECTIONS * 24 * 1024)
        finally:
            for s in held:
                s.close()
        until(lambda: node.status()["sessions_in"] == 0, lambda: f"all are gone: {node.status()}", 60)
        self.assertEqual(self.send(node).code, 250)

    def test_a_crowd_beyond_the_limit_is_told_and_does_not_stay(self):
        """421 at once for who is too many; who has a place keeps it, and a place that is left is given again."""
        node, mx = self.relay(listener="max_sessions_per_client = 50")
        held = self.connect(node.port, 2000)
        try:
            until(lambda: node.status()["sessions_in"] == 50, lambda: node.status(), 20)
            with Client(node.port, source="127.0.0.9") as c:
                self.assertEqual(c.message("a@sender.example", ["u@example.com"], b"Subject: x\r\n\r\n").code, 250)
            with Client(node.port, ehlo=None) as c:
                self.assertEqual(c.greeting.code, 421)
            self.delivered(mx)
        finally:
            for s in held:
                s.close()
        until(lambda: node.status()["sessions_in"] == 0, lambda: node.status(), 20)
        self.assertEqual(self.send(node).code, 250)


harness.main()
