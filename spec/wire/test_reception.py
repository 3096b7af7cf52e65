# SPDX-License-Identifier: Apache-2.0
"""What a client meets: keywords, addresses, limits, and the ways to be refused."""
import re
import signal
import socket
import time

import harness
from client import Client, Closed
from harness import until
from receiver import Receiver


class Reception(harness.Case):
    # --- the dialogue ---

    def test_ehlo_names_what_the_node_can_do(self):
        node, _ = self.relay('max_message_size = "1M"')
        with Client(node.port) as c:
            self.assertEqual(c.greeting.code, 220)
            self.assertIn("node.example", c.greeting.text)
            for keyword in ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN", "CHUNKING"):
                self.assertIn(keyword, c.extensions)
            self.assertEqual(c.extensions["SIZE"], str(1 << 20))
            self.assertNotIn("STARTTLS", c.extensions)

    def test_helo_is_answered_without_extensions(self):
        node, _ = self.relay()
        with Client(node.port, ehlo=None) as c:
            reply = c.command("HELO client.example")
            self.assertEqual((reply.code, len(reply.lines)), (250, 1))
            self.assertEqual(c.message("a@sender.example", ["b@example.com"], b"x: y\r\n\r\n").code, 250)

    def test_pipelined_commands_are_answered_in_order(self):
        node, mx = self.relay()
        with Client(node.port) as c:
            c.send("MAIL FROM:<a@sender.example>\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<not an address>\r\n"
                   "RCPT TO:<c@example.com>\r\nDATA\r\n")
            self.assertEqual([c.reply().code // 100 for _ in range(5)], [2, 2, 5, 2, 3])
            c.send("Subject: one\r\n\r\n.\r\nMAIL FROM:<d@sender.example>\r\nRCPT TO:<e@example.com>\r\nDATA\r\n")
            self.assertEqual([c.reply().code for _ in range(4)], [250, 250, 250, 354])
            c.send("Subject: two\r\n\r\n.\r\nQUIT\r\n")
            self.assertEqual([c.reply().code for _ in range(2)], [250, 221])
            self.assertTrue(c.closed())
        until(lambda: sorted(mx.recipients()) == ["b@example.com", "c@example.com", "e@example.com"], "all three arrive")

    def test_commands_in_the_wrong_place_are_refused(self):
        node, _ = self.relay("max_errors = 50")
        for before, line, code in [
            ([], "MAIL FROM:<a@b.example>", 503),                                   # before EHLO
            (["EHLO x.example"], "RCPT TO:<a@b.example>", 503),
            (["EHLO x.example"], "DATA", 503),
            (["EHLO x.example", "MAIL FROM:<a@b.example>"], "MAIL FROM:<a@b.example>", 503),
            (["EHLO x.example", "MAIL FROM:<a@b.example>"], "DATA", 554),
            (["EHLO x.example"], "BLURB", 500),
            (["EHLO x.example"], "MAIL FROM:a@b.example x", 501),
            (["EHLO x.example"], "MAIL FROM:<a@b.example> COLOUR=red", 555),
            (["EHLO x.example"], "MAIL FROM:<a@b.example> SIZE=abc", 501),
            (["EHLO x.example", "MAIL FROM:<a@b.example>"], "RCPT TO:<>", 501),
            (["EHLO x.example"], "STARTTLS", 502),                                  # not offered
        ]:
            with self.subTest(line=line), Client(node.port, ehlo=None) as c:
                for step in before:
                    self.assertEqual(c.command(step).code, 250)
                reply = c.command(line)
                self.assertEqual(reply.code // 100, 5, reply)
                if code not in (501, 502):      # where the RFC leaves a choice, the class is enough
                    self.assertEqual(reply.code, code, reply)

    def test_small_commands_are_answered(self):
        node, _ = self.relay()
        with Client(node.port) as c:
            self.assertEqual(c.command("NOOP").code, 250)
            self.assertEqual(c.command("noop with words").code, 250)
            self.assertEqual(c.command("VRFY somebody").code, 252)
            self.assertEqual(c.command("MAIL FROM:<a@b.example>").code, 250)
            self.assertEqual(c.command("RSET").code, 250)
            self.assertEqual(c.command("RCPT TO:<a@b.example>").code, 503, "RSET forgot the sender")
            self.assertEqual(c.command("QUIT").code, 221)
            self.assertTrue(c.closed())

    def test_a_message_gets_a_received_header(self):
        node, mx = self.relay()
        self.assertEqual(self.send(node).code, 250)
        head = self.delivered(mx).headers.decode()
        self.assertRegex(head, r"^Received: from client\.example \(.*\[?127\.0\.0\.1\]?.*\)")
        received = re.match(r"Received:.*?\r\n(?=\S)", head, re.S).group(0)
        self.assertRegex(received, r"by node\.example")
        self.assertRegex(received, r"with ESMTP\b")
        self.assertRegex(received, r";\s+\w{3}, [ \d]?\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}")
        self.assertIn("\r\nSubject: test\r\n", head)

    # --- addresses ---

    def test_addresses_of_every_form_are_taken_and_passed_on_unchanged(self):
        node, mx = self.relay()
        for i, (sender, to) in enumerate([
            ("", "user@example.com"),                               # null sender
            ("plain@sender.example", '"john doe"@example.com'),
            ("plain@sender.example", '"a\\"b@c"@example.com'),
            ('"q q"@sender.example', "user+tag=x@example.com"),
            ("user@[192.0.2.99]", "u@xn--bcher-kva.example.com"),
            ("user@[IPv6:2001:db8::99]", "postmaster@example.com"),
        ], 1):
            with self.subTest(sender=sender, to=to):
                self.assertEqual(self.send(node, to=to, sender=sender).code, 250)
                message = self.delivered(mx, i)
                self.assertIn(f"<{sender}>", message.mail)
                self.assertIn(f"<{to}>", message.rcpts[0])

    def test_a_source_route_is_taken_off(self):
        node, mx = self.relay()
        self.assertEqual(self.send(node, to="@relay.example,@other.example:user@example.com").code, 250)
        self.assertEqual(self.delivered(mx).recipients, ["user@example.com"])

    def test_utf8_addresses_need_smtputf8_and_pass_with_it(self):
        node, mx = self.relay(extra='domain "xn--hxajbheg2az3al.example" { smtp_hosts = "[127.0.0.1]:1", paused = true }')
        with Client(node.port) as c:
            refused = c.command("MAIL FROM:<δοκιμή@sender.example>")
            self.assertEqual(refused.code // 100, 5, refused)
        to = "δοκιμή@bücher.example"
        self.assertEqual(self.send(node, to=to, sender="用户@例え.example", mail=" SMTPUTF8").code, 250)
        message = self.delivered(mx)
        self.assertIn("SMTPUTF8", message.mail)
        self.assertIn("<用户@例え.example>", message.mail)
        self.assertIn(f"<{to}>", message.rcpts[0])
        # An IDN domain is the same site whether written in U-labels or in A-labels.
        self.assertEqual(self.send(node, to="δοκιμή@παράδειγμα.example", mail=" SMTPUTF8").code, 250)
        self.assertEqual(self.send(node, to="user@xn--hxajbheg2az3al.example").code, 250)
        until(lambda: node.queue("xn--hxajbheg2az3al.example/default"), lambda: f"its queue exists: {node.command('queues')}")
        self.assertEqual(node.queue("xn--hxajbheg2az3al.example/default")["queued"], 2)

    def test_a_sender_that_no_report_could_reach_is_refused(self):
        node = self.node()
        with Client(node.port) as c:
            reply = c.command("MAIL FROM:<a@\u2603\u0300\u0640.example> SMTPUTF8")
            self.assertEqual((reply.code, reply.enhanced), (553, "5.1.7"))
            for sender in ("", "a@[192.0.2.1]", "a@[IPv6:2001:db8::1]", "a@sender.example"):
                self.assertEqual(c.command(f"MAIL FROM:<{sender}>").code, 250, sender)
                c.command("RSET")

    def test_bad_addresses_are_refused(self):
        node, _ = self.relay("max_errors = 100")
        with Client(node.port) as c:
            c.command("MAIL FROM:<a@sender.example>")
            for to in ["user", "user@", "@example.com", "a b@example.com", "user@exa mple.com", "user@-.example..com",
                       "user@[192.0.2.999]", "user@[IPv6:zz]", "<user@example.com>", "us\x01er@example.com",
                       "u@" + "a" * 64 + ".example", "u" * 250 + "@example.com"]:
                with self.subTest(to=to):
                    reply = c.command(f"RCPT TO:<{to}>")
                    self.assertEqual(reply.code // 100, 5, reply)

    # --- who may relay ---

    def test_nobody_relays_from_outside_relay_from(self):
        mx = Receiver()
        self.addCleanup(mx.stop)
        port = harness.free_port()
        node = self.node(f'listener "127.0.0.1:{port}" {{ relay_from = {{ "127.0.0.1/32" }}, relay_to = {{ "local.example", "[*.]sub.example" }} }}\n'
                         f'domain "*" {{ smtp_hosts = "{mx.at}" }}', port=port)
        with Client(node.port, source="127.0.0.2") as outside:
            self.assertEqual(outside.command("MAIL FROM:<a@local.example>").code, 250)
            for to, code in [("x@example.com", 5), ("x@local.example", 2), ("x@LOCAL.example", 2), ("x@a.sub.example", 2),
                             ("x@sub.example", 2), ("x@notsub.example", 5), ("x@a.local.example", 5),
                             ('"x@local.example"@example.com', 5), ("x%example.com@other.example", 5)]:
                with self.subTest(to=to):
                    reply = outside.command(f"RCPT TO:<{to}>")
                    self.assertEqual(reply.code // 100, code, reply)
                    if code == 5:
                        self.assertIn(reply.code, (550, 554))
                        self.assertEqual(reply.enhanced, "5.7.1")
        with Client(node.port, source="127.0.0.1") as inside:
            self.assertEqual(inside.envelope("a@b.example", ["x@example.com"])[1].code, 250)

    def test_ipv6_clients_are_told_apart_as_well(self):
        port = harness.free_port("::1")
        node = self.node(f'listener "[::1]:{port}" {{ relay_from = {{ "127.0.0.0/8" }} }}\n', port=port)
        with Client(node.port, host="::1") as c:
            self.assertEqual(c.envelope("a@b.example", ["x@example.com"])[1].enhanced, "5.7.1")

    # --- limits ---

    def test_max_sessions_and_a_freed_one_is_given_again(self):
        node, _ = self.relay("max_sessions = 2")
        with Client(node.port) as a, Client(node.port):
            with Client(node.port, ehlo=None) as third:
                self.assertEqual(third.greeting.code, 421, third.greeting)
                self.assertTrue(third.closed())
            a.command("QUIT")
            a.closed()

            def free_again():
                with Client(node.port, ehlo=None) as next_one:
                    return next_one.greeting.code == 220
            until(free_again, "a freed session is given again")

    def test_max_sessions_per_client(self):
        node, _ = self.relay("max_sessions_per_client = 1")
        with Client(node.port, source="127.0.0.1"):
            with Client(node.port, source="127.0.0.1", ehlo=None) as second:
                self.assertEqual(second.greeting.code, 421)
            with Client(node.port, source="127.0.0.3", ehlo=None) as other:
                self.assertEqual(other.greeting.code, 220)

    def test_a_recipient_too_many_is_452_and_no_error_of_the_client(self):
        node, mx = self.relay("max_rcpt_per_message = 2, max_errors = 3")
        with Client(node.port) as c:
            replies = c.envelope("a@sender.example", [f"u{i}@example.com" for i in range(12)])
            self.assertEqual([r.code for r in replies], [250, 250, 250] + [452] * 10)
            self.assertEqual(replies[-1].enhanced, "4.5.3")
            self.assertEqual(c.command("DATA").code, 354)
            c.send("x: y\r\n\r\n.\r\n")
            self.assertEqual(c.reply().code, 250)
        self.assertEqual(sorted(self.delivered(mx).recipients), ["u0@example.com", "u1@example.com"])

    def test_max_errors_ends_the_session(self):
        node, _ = self.relay("max_errors = 3")
        with Client(node.port) as c:
            codes = []
            try:
                for _ in range(6):
                    codes.append(c.command("NONSENSE").code)
            except (Closed, BrokenPipeError, ConnectionResetError):
                pass
            self.assertIn(codes[-1], (421, 500), codes)
            self.assertLessEqual(len(codes), 4, codes)
            self.assertIn(421, codes)
            self.assertTrue(c.closed())

    def test_max_messages_per_connection(self):
        node, _ = self.relay("max_messages_per_connection = 2")
        with Client(node.port) as c:
            for _ in range(2):
                self.assertEqual(c.message("a@sender.example", ["u@example.com"], b"x: y\r\n\r\n").code, 250)
            try:
                self.assertEqual(c.command("MAIL FROM:<a@sender.example>").code, 421)
            except Closed:
                pass

    def test_size_is_refused_when_declared_and_when_found(self):
        node, mx = self.relay('max_message_size = "64K"')
        with Client(node.port) as c:
            reply = c.command("MAIL FROM:<a@sender.example> SIZE=65537")
            self.assertEqual((reply.code, reply.enhanced), (552, "5.3.4"))
            self.assertEqual(c.command("MAIL FROM:<a@sender.example> SIZE=65536").code, 250)
            c.command("RSET")
            reply = c.message("a@sender.example", ["u@example.com"], b"x: y\r\n\r\n" + b"line of text\r\n" * 8000)
            self.assertEqual((reply.code, reply.enhanced), (552, "5.3.4"))
            reply = c.message("a@sender.example", ["u@example.com"], b"x: y\r\n\r\nsmall\r\n")
            self.assertEqual(reply.code, 250, "the session goes on")
        self.assertEqual(self.delivered(mx).body, b"small\r\n")
        self.assertEqual(len(mx.messages), 1)

    def test_a_command_line_too_long_is_refused(self):
        node, _ = self.relay()
        with Client(node.port) as c:
            c.send("MAIL FROM:<a@sender.example>" + " " * 6000 + "\r\n")
            self.assertEqual(c.reply().code // 100, 5)
        with Client(node.port) as c:        # one that never ends
            try:
                for _ in range(200):
                    c.send("X" * 65536)
                self.assertEqual(c.reply().code // 100, 5)
            except (BrokenPipeError, ConnectionResetError, Closed):
                pass
        self.assertLess(node.memory_bytes(), (800 if harness.SANITIZED else 60) << 20)
        self.assertEqual(self.send(node).code, 250)

    # --- the body ---

    def test_long_lines_and_eight_bits_pass_unchanged(self):
        node, mx = self.relay()
        lines = [b"a" * n for n in (0, 1, 997, 998, 999, 1000, 4096, 16384, 32000)]
        lines += [b".", b"..", b".leading", bytes(range(128, 256)), "äöü€".encode(), b"trailing blanks  \t"]
        body = b"Subject: lines\r\n\r\n" + b"".join(l + b"\r\n" for l in lines)
        self.assertEqual(self.send(node, body=body, mail=" BODY=8BITMIME").code, 250)
        message = self.delivered(mx)
        self.assertEqual(message.body, body.split(b"\r\n\r\n", 1)[1])
        self.assertIn("BODY=8BITMIME", message.mail)

    def test_a_line_over_32_kib_is_refused(self):
        node, mx = self.relay()
        reply = self.send(node, body=b"Subject: x\r\n\r\n" + b"a" * 40000 + b"\r\n")
        self.assertEqual(reply.code // 100, 5, reply)
        self.assertEqual(mx.messages, [])

    def test_bdat(self):
        node, mx = self.relay()
        with Client(node.port) as c:
            c.envelope("a@sender.example", ["u@example.com"])
            for chunk, last in [(b"Subject: chunks\r\n\r\n.dot\r\n..two", False), (b"\r\n.\r\nend", True)]:
                c.send(b"BDAT %d%s\r\n" % (len(chunk), b" LAST" if last else b"") + chunk)
                self.assertEqual(c.reply().code, 250)
            self.assertEqual(self.delivered(mx).body, b".dot\r\n..two\r\n.\r\nend\r\n")
            c.envelope("a@sender.example", ["u@example.com"])       # an empty last chunk; commands pipelined behind
            c.send(b"BDAT 20\r\nSubject: two\r\n\r\nbodyBDAT 0 LAST\r\nNOOP\r\n")
            self.assertEqual([c.reply().code for _ in range(3)], [250, 250, 250])
            self.assertEqual(self.delivered(mx, 2).body, b"body\r\n")
            c.envelope("a@sender.example", ["u@example.com"])
            c.command("RSET")
            c.send(b"BDAT 4 LAST\r\nabcd")      # nobody to send it to: refused, and the chunk is not taken for commands
            self.assertEqual(c.reply().code, 503)
            self.assertEqual(c.command("NOOP").code, 250)
            self.assertEqual(c.command("BDAT x LAST").code // 100, 5)
            self.assertTrue(c.closed(), "where a chunk ends nobody knows")

    # --- time ---

    def test_a_silent_client_is_told_and_closed(self):
        node, _ = self.relay('command_timeout = "1s", data_timeout = "1s"')
        for what, steps in [("after the greeting", []), ("after EHLO", ["EHLO x.example"]),
                            ("in the body", ["EHLO x.example", "MAIL FROM:<a@b.example>", "RCPT TO:<c@example.com>", "DATA"])]:
            with self.subTest(what), Client(node.port, ehlo=None) as c:
                for step in steps:
                    c.command(step)
                started = time.monotonic()
                reply = c.reply()
                self.assertEqual((reply.code, reply.enhanced), (421, "4.4.2"))
                self.assertTrue(c.closed())
                self.assertGreater(time.monotonic() - started, 0.8)

    def test_drops_in_an_ocean_do_not_hold_a_session(self):
        """One byte now and then is no sign of life: the timeout is a command's, not a byte's."""
        node, _ = self.relay('command_timeout = "1s"')
        with Client(node.port) as c:
            c.socket.settimeout(0.2)
            end, said = harness.now() + 6 * harness.SLOW, b""
            while harness.now() < end and b"421" not in said:
                try:
                    c.send("N")
                    said += c.socket.recv(1000)
                except socket.timeout:
                    pass
                except OSError:
                    break
            self.assertLess(harness.now(), end, "the session was ended")

    # --- the end ---

    def test_idle_clients_are_told_421_when_the_node_stops(self):
        node, _ = self.relay()
        with Client(node.port) as c:
            node.signal(signal.SIGTERM)
            reply = c.reply()
            self.assertEqual(reply.code, 421)
            self.assertTrue(c.closed())
        self.assertEqual(node.wait(), 0)

    def test_a_transaction_in_flight_is_finished_before_the_node_stops(self):
        node, mx = self.relay(settings="paused = true")
        with Client(node.port) as c:
            c.envelope("a@sender.example", ["u@example.com"])
            self.assertEqual(c.command("DATA").code, 354)
            c.send("Subject: last\r\n\r\nhalf")
            node.signal(signal.SIGTERM)
            until(lambda: not harness.answers("127.0.0.1", node.port), "it listens no more")
            c.send(" and half\r\n.\r\n")
            self.assertEqual(c.reply().code, 250)
        self.assertEqual(node.wait(), 0)
        again = self.restart(node)
        until(lambda: again.status()["queued"] == 1, "it is there again")


harness.main()
