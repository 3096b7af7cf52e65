# SPDX-License-Identifier: Apache-2.0
"""What a receiver meets: transactions, bytes, retries, bounces, and every way to break off."""
import email
import hashlib
import re
import signal
import socket
import threading
import time

import harness
from client import Client
from harness import until
from receiver import CLOSE, EXTENSIONS, HANG, RESET, Receiver

QUICK = 'retry_after = "1s", retry_recipients_after = "1s", retry_jitter = "0%"'


class Delivery(harness.Case):
    def relay(self, settings="", mx=None, listener="", domain="*", extra="", paused=False, **options):
        mx = mx or Receiver(**options)
        self.addCleanup(mx.stop)
        node = self.node(f'domain "{domain}" {{ smtp_hosts = "{mx.at}", {settings} }}\n{extra}', listener=listener, paused=paused)
        return node, mx

    # --- the plain case, and many of them ---

    def test_ten_thousand_messages_are_each_accounted_once(self):
        port = self.sink("-c")
        node = self.node(f'domain "*" {{ smtp_hosts = "[127.0.0.1]:{port}", max_smtp_out = 20 }}')
        self.source(node, count=10000, sessions=20, extra=["-N"])
        self.assertEqual(node.status()["received"], 10000)
        node.wait_empty(60)
        delivered = [r["rcpt"] for r in node.wait_records(10000, "d")]
        self.assertEqual(len(delivered), 10000)
        self.assertEqual(len(set(delivered)), 10000)
        self.assertEqual(len(node.records("r")), 10000)
        self.assertEqual([r for r in node.records("b", "t", "tq")], [])
        status = node.status()
        self.assertEqual((status["delivered"], status["bounced"], status["deferred"]), (10000, 0, 0))

    def test_a_delivery_is_accounted_in_full(self):
        node, mx = self.relay(domain="example.com")
        self.send(node, mail=" ENVID=env+2B1", rcpt=" ORCPT=rfc822;first@example.com")
        record, = node.wait_records(1, "d")
        until(lambda: mx.messages, "it arrived")
        for field, value in {"orig": "sender@sender.example", "rcpt": "user@example.com", "dsnAction": "relayed", "srcType": "smtp",
                             "dlvType": "smtp", "dlvSourceIp": "127.0.0.1", "dlvDestinationIp": "127.0.0.1", "vmta": "default",
                             "queue": "example.com/default", "vmtaPool": "", "bounceCat": ""}.items():
            self.assertEqual(record[field], value, field)
        self.assertRegex(record["dsnStatus"], r"^2\.0\.0 \(success\)$")
        self.assertEqual(record["dsnDiag"], "smtp;250 2.0.0 taken")
        self.assertRegex(record["dsnMta"], r"^\S+ \(127\.0\.0\.1\)$")
        self.assertIn("first@example.com", record["orcpt"])
        self.assertIn("PIPELINING", record["dlvEsmtpAvailable"])
        self.assertGreater(int(record["dlvSize"]), 20)
        with open(node.accounting, encoding="utf-8") as file:
            header = file.readline()
        self.assertTrue(header.startswith("type,timeLogged,timeQueued,orig,rcpt,orcpt,dsnAction,dsnStatus,dsnDiag,dsnMta,bounceCat,srcType,"
                                          "srcMta,dlvType,dlvSourceIp,dlvDestinationIp,dlvEsmtpAvailable,dlvSize,vmta,jobId,envId,queue,vmtaPool"))

    def test_recipients_of_one_message_share_a_transaction(self):
        node, mx = self.relay(domain="example.com")
        self.assertEqual(self.send(node, to=[f"u{i}@example.com" for i in range(7)]).code, 250)
        node.wait_records(7, "d")
        self.assertEqual(len(mx.messages), 1)
        self.assertEqual(len(mx.messages[0].rcpts), 7)

    def test_max_rcpt_per_message_splits(self):
        node, mx = self.relay("max_rcpt_per_message = 3", domain="example.com")
        self.assertEqual(self.send(node, to=[f"u{i}@example.com" for i in range(8)]).code, 250)
        node.wait_records(8, "d")
        self.assertEqual(sorted(len(m.rcpts) for m in mx.messages), [2, 3, 3])
        self.assertEqual(len(set(mx.recipients())), 8)

    def test_a_connection_is_used_again(self):
        node, mx = self.relay("max_smtp_out = 1")
        with Client(node.port) as c:
            for i in range(20):
                self.assertEqual(c.message("a@sender.example", ["u@example.com"], b"Subject: %d\r\n\r\n" % i).code, 250)
        node.wait_records(20, "d")
        self.assertEqual(len(mx.sessions), 1)

    def test_max_msg_per_connection_says_quit_and_comes_again(self):
        node, mx = self.relay('max_smtp_out = 2, max_msg_per_connection = 3, idle_timeout = "1s"')
        self.source(node, count=20)
        node.wait_records(20, "d")
        self.assertLessEqual(max(s.messages for s in mx.sessions), 3)
        until(lambda: all(s.closed for s in mx.sessions), "all sessions end")
        self.assertTrue(all(s.commands[-1][1] == "QUIT" for s in mx.sessions))

    def test_an_idle_session_says_quit(self):
        node, mx = self.relay('idle_timeout = "1s"')
        self.send(node)
        until(lambda: mx.sessions and mx.sessions[0].closed, "the session ends")
        self.assertEqual(mx.commands()[-1], "QUIT")

    # --- bytes ---

    def test_the_body_arrives_byte_for_byte(self):
        node, mx = self.relay()
        lines = [b".", b"..", b".x", b"", b"a." * 3000, bytes(range(128, 256)), b"tab\tend ", b"\x01\x7f\x1b", b".", b"x" * 30000]
        body = b"\r\n".join(lines) + b"\r\n"
        for form in (body, b"", b".\r\n", b"\r\n"):
            self.assertEqual(self.send(node, body=b"Subject: bytes\r\n\r\n" + form, mail=" BODY=8BITMIME").code, 250)
        until(lambda: len(mx.messages) == 4, "all arrive")
        self.assertEqual(sorted(m.body for m in mx.messages), sorted([body, b"", b".\r\n", b"\r\n"]))

    def assert_grew_little(self, node, before):
        """Bodies of over 30 MiB; what of one is on its way to the disk is 1 MiB, and to the receiver 256 KiB."""
        if not harness.SANITIZED:       # a sanitizer keeps what was freed
            self.assertLess(node.memory_bytes("VmHWM") - before, 8 << 20)

    def test_a_large_body_streams_and_is_never_whole_in_memory(self):
        node, mx = self.relay('data_timeout = "60s"', listener='max_message_size = "40M"')
        self.send(node)
        node.wait_records(1, "d")
        before = node.memory_bytes("VmHWM")
        body = b"".join(b"%08d %s\r\n" % (i, b"." * (i % 90)) for i in range(600000))
        self.assertGreater(len(body), 30 << 20)
        self.assertEqual(self.send(node, body=b"Subject: large\r\n\r\n" + body).code, 250)
        node.wait_records(2, "d", deadline_s=60)
        self.assertEqual(hashlib.sha256(mx.messages[1].body).hexdigest(), hashlib.sha256(body).hexdigest())
        self.assert_grew_little(node, before)

    def test_a_receiver_that_reads_nothing_costs_no_memory(self):
        node, mx = self.relay('data_timeout = "2s", retry_recipients_after = "1h"', listener='max_message_size = "40M"')
        self.send(node)
        node.wait_records(1, "d")
        before = node.memory_bytes("VmHWM")
        mx.answer("body", HANG)
        self.assertEqual(self.send(node, body=b"Subject: large\r\n\r\n" + b"0123456789abcdef0123456789abcd\r\n" * 900000).code, 250)
        record, = node.wait_records(1, "t", deadline_s=30)
        self.assertRegex(record["dsnDiag"], "timed out")
        self.assert_grew_little(node, before)

    # --- extensions ---

    def test_dsn_parameters_are_passed_on(self):
        node, mx = self.relay()
        self.assertEqual(self.send(node, mail=" RET=HDRS ENVID=QQ314159", rcpt=" NOTIFY=SUCCESS,DELAY ORCPT=rfc822;u+2Bx@example.com").code, 250)
        until(lambda: mx.messages, "it arrives")
        self.assertIn("RET=HDRS", mx.messages[0].mail)
        self.assertIn("ENVID=QQ314159", mx.messages[0].mail)
        self.assertRegex(mx.messages[0].rcpts[0], "NOTIFY=(SUCCESS,DELAY|DELAY,SUCCESS)")
        self.assertIn("ORCPT=rfc822;u+2Bx@example.com", mx.messages[0].rcpts[0])

    def test_a_receiver_without_extensions_gets_plain_smtp(self):
        node, mx = self.relay(extensions=())
        self.assertEqual(self.send(node, to=["u@example.com", "v@example.com"], mail=" RET=HDRS ENVID=Q", rcpt=" NOTIFY=FAILURE").code, 250)
        node.wait_records(2, "d")
        self.assertEqual(mx.messages[0].mail, "MAIL FROM:<sender@sender.example>")
        self.assertEqual(sorted(mx.messages[0].rcpts), ["RCPT TO:<u@example.com>", "RCPT TO:<v@example.com>"])
        self.assertFalse(mx.messages[0].session.pipelined)

    def test_a_receiver_that_offers_pipelining_gets_it(self):
        node, mx = self.relay()
        self.send(node, to=["u@example.com", "v@example.com"])
        node.wait_records(2, "d")
        self.assertTrue(mx.messages[0].session.pipelined)
        self.assertIn(" SIZE=", mx.messages[0].mail)

    def test_ehlo_refused_is_followed_by_helo(self):
        node, mx = self.relay()
        mx.answer("EHLO", "502 5.5.1 what?")
        self.send(node)
        node.wait_records(1, "d")
        self.assertEqual(mx.commands()[1], "HELO node.example")

    def test_what_the_receiver_can_not_take_bounces_without_a_word(self):
        for extensions, parameters, status in [
            ([e for e in EXTENSIONS if e != "SMTPUTF8"], dict(to="δ@example.com", mail=" SMTPUTF8"), "5.6.7"),
            ([e for e in EXTENSIONS if e != "8BITMIME"], dict(mail=" BODY=8BITMIME", body=b"Subject: x\r\n\r\n\xff\r\n"), "5.6.3"),
            (["SIZE 1000", "8BITMIME"], dict(body=b"Subject: x\r\n\r\n" + b"line\r\n" * 400), "5.3.4"),
        ]:
            with self.subTest(status):
                node, mx = self.relay(extensions=extensions)
                self.assertEqual(self.send(node, sender="", **parameters).code, 250)
                record, = node.wait_records(1, "b")
                self.assertTrue(record["dsnStatus"].startswith(status), record)
                self.assertEqual(mx.commands("MAIL"), [])
                node.stop()

    # --- replies ---

    def test_a_4xx_defers_that_recipient_and_its_retry_comes_in_time(self):
        node, mx = self.relay('retry_recipients_after = "2s", retry_jitter = "0%"')
        mx.answer("RCPT", "450 4.2.1 busy", times=1, when=lambda e: "slow" in e.line)
        self.send(node, to=["slow@example.com", "quick@example.com"])
        deferral, = node.wait_records(1, "t")
        self.assertEqual((deferral["rcpt"], deferral["dsnAction"]), ("slow@example.com", "delayed"))
        self.assertRegex(deferral["dsnStatus"], r"^4\.2\.1 \(")
        self.assertEqual(deferral["dsnDiag"], "smtp;450 4.2.1 busy")
        node.wait_records(2, "d")
        first, second = [at for at, line in mx.attempts if "slow" in line]
        self.assertGreaterEqual(second - first, 1.95)
        self.assertLess(second - first, 4 * harness.SLOW)

    def test_a_5xx_bounces_with_a_report_to_the_sender(self):
        node, mx = self.relay()
        mx.answer("RCPT", "550 5.1.1 nobody here", when=lambda e: "nobody" in e.line)
        self.send(node, to=["nobody@example.com", "user@example.com"], mail=" ENVID=E1",
                  body=b"Subject: what it was\r\nX-Secret: 1\r\n\r\nthe body\r\n")
        record, = node.wait_records(1, "b")
        self.assertEqual((record["rcpt"], record["dsnAction"], record["dsnDiag"]),
                         ("nobody@example.com", "failed", "smtp;550 5.1.1 nobody here"))
        self.assertRegex(record["dsnStatus"], r"^5\.1\.1 \(")
        until(lambda: any(m.sender == "" for m in mx.messages), "the report arrives")
        report = next(m for m in mx.messages if m.sender == "")
        self.assertEqual(report.recipients, ["sender@sender.example"])
        message = email.message_from_bytes(report.data)
        self.assertEqual(message.get_content_type(), "multipart/report")
        self.assertEqual(message.get_param("report-type"), "delivery-status")
        parts = message.get_payload()
        self.assertEqual(parts[1].get_content_type(), "message/delivery-status")
        self.assertIn(parts[2].get_content_type(), ("message/rfc822", "text/rfc822-headers"))
        status = "\n".join(str(p) for p in parts[1].get_payload())
        self.assertRegex(status, r"(?m)^Reporting-MTA: dns; ?node\.example$")
        self.assertRegex(status, r"(?m)^Final-Recipient: rfc822; ?nobody@example\.com$")
        self.assertRegex(status, r"(?m)^Action: failed$")
        self.assertRegex(status, r"(?m)^Status: 5\.1\.1$")
        self.assertRegex(status, r"(?m)^Diagnostic-Code: smtp; ?550 5\.1\.1 nobody here$")
        self.assertRegex(status, r"(?m)^Original-Envelope-Id: E1$")
        self.assertIn("what it was", report.data.decode())

    def test_no_report_for_a_null_sender_nor_where_it_was_not_wanted(self):
        node, mx = self.relay()
        mx.answer("RCPT", "550 5.1.1 nobody here", when=lambda e: "nobody" in e.line)
        self.send(node, to="nobody@example.com", sender="")
        self.send(node, to="nobody@example.com", rcpt=" NOTIFY=NEVER")
        self.send(node, to="nobody@example.com", rcpt=" NOTIFY=SUCCESS")
        node.wait_records(3, "b")
        node.wait_empty()
        self.send(node, to="last@example.com")
        until(lambda: "last@example.com" in mx.recipients(), "the last one arrives")
        self.assertEqual([m.sender for m in mx.messages], ["sender@sender.example"])

    def test_a_report_that_can_not_be_delivered_is_not_reported(self):
        node, mx = self.relay()
        mx.answer("RCPT", "550 5.1.1 nobody at all")
        self.send(node, to="nobody@example.com")
        bounces = node.wait_records(2, "b")
        node.wait_empty()
        self.assertEqual([(b["orig"], b["rcpt"]) for b in bounces],
                         [("sender@sender.example", "nobody@example.com"), ("", "sender@sender.example")])
        self.assertEqual(len(node.records("b")), 2)

    def test_max_attempts_bounces_in_the_end(self):
        node, mx = self.relay(QUICK + ", max_attempts = 2")
        mx.answer("RCPT", "451 4.7.1 never")
        self.send(node, sender="")
        record, = node.wait_records(1, "b")
        self.assertEqual(len(mx.attempts), 2)
        self.assertRegex(record["dsnDiag"], "451 4.7.1 never")
        self.assertRegex(record["dsnStatus"], r"^4\.4\.7 ")
        self.assertEqual(record["bounceCat"], "policy-related", "what the receiver said is the better reason")

    def test_max_errors_per_connection_ends_the_session(self):
        node, mx = self.relay("max_errors_per_connection = 2, max_smtp_out = 1", domain="example.com", paused=True)
        mx.answer("RCPT", "550 5.1.1 no")
        for _ in range(6):
            self.send(node, sender="")
        node.command("resume", "*")
        node.wait_records(6, "b")
        self.assertGreaterEqual(len(mx.sessions), 3)

    # --- breaking off: where, and what it means ---

    STAGES = [("connect", "tq"), ("EHLO", "tq"), ("MAIL", "t"), ("RCPT", "t"), ("DATA", "t"), (".", "t")]

    def one_each(self, receivers, settings):
        """A node with a domain for each of the receivers, d0.example and so on, and one message for each."""
        for mx in receivers:
            self.addCleanup(mx.stop)
        node = self.node("\n".join(f'domain "d{i}.example" {{ smtp_hosts = "{mx.at}", {settings} }}' for i, mx in enumerate(receivers)))
        for i in range(len(receivers)):
            self.send(node, to=f"u@d{i}.example")
        return node

    def assert_comes_again(self, how, **settings):
        """Whatever happens at a stage happens once; the message is kept, accounted, and delivered by the retry."""
        stages = self.STAGES + ([("body", "t")] if how == CLOSE else [])
        receivers = [Receiver() for _ in stages]
        for mx, (stage, _) in zip(receivers, stages):
            mx.answer(stage, how, times=1)
        node = self.one_each(receivers, ", ".join([QUICK, *(f'{k} = "{v}"' for k, v in settings.items())]))
        node.wait_records(len(stages), "d")
        failures = {r["queue"]: r for r in node.records("t", "tq")}
        for i, (stage, kind) in enumerate(stages):
            with self.subTest(stage=stage):
                record = failures[f"d{i}.example/default"]
                self.assertEqual(record["type"], kind, record)
                self.assertRegex(record["dsnStatus"], r"^4\.\d+\.\d+")
                if how.startswith("421"):
                    self.assertIn("421 4.7.0 go away", record["dsnDiag"])
                if how == HANG:
                    self.assertIn("timed out", record["dsnDiag"])
                self.assertEqual((len(receivers[i].messages), len(receivers[i].sessions)), (1, 2))

    def test_421_at_each_stage(self):
        self.assert_comes_again("421 4.7.0 go away")

    def test_a_peer_that_closes_at_each_stage(self):
        self.assert_comes_again(CLOSE)

    def test_a_peer_that_resets_at_each_stage(self):
        self.assert_comes_again(RESET)

    def test_a_peer_that_hangs_at_each_stage(self):
        self.assert_comes_again(HANG, greeting_timeout="1s", command_timeout="1s", data_timeout="1s", final_timeout="1s")

    def dribbling(self, verb, before=b""):
        """A receiver that answers that command (or QUIT) by a byte now and then, without end; (port, connections open)."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        opened, closed = [], []
        answers = {b"EHLO": b"250 mx.example\r\n", b"MAIL": b"250 ok\r\n", b"RCPT": b"250 ok\r\n", b"DATA": b"354 go\r\n",
                   b".\r\n": b"250 taken\r\n"}

        def serve(connection):
            try:
                with connection, connection.makefile("rb") as lines:
                    connection.sendall(b"220 mx.example\r\n")
                    for line in lines:
                        if line[:4].upper() == verb:
                            connection.sendall(before)
                            while True:
                                connection.sendall(b"250-x\r\n")
                                time.sleep(0.2)
                        if line[:4].upper() in answers:
                            connection.sendall(answers[line[:4].upper()])
            except OSError:
                pass
            closed.append(harness.now())

        def accept():
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                opened.append(harness.now())
                threading.Thread(target=serve, args=(connection,), daemon=True).start()
        threading.Thread(target=accept, daemon=True).start()
        return listening.getsockname()[1], opened, closed

    def test_a_reply_that_dribbles_without_end_times_out(self):
        for verb in (b"EHLO", b"MAIL", b"RCPT"):
            with self.subTest(verb=verb):
                port, opened, closed = self.dribbling(verb)
                node = self.node(f'domain "*" {{ smtp_hosts = "[127.0.0.1]:{port}", command_timeout = "1s" }}')
                self.send(node)
                until(lambda closed=closed: closed, "it is left", 6)
                self.assertLess(closed[0] - opened[0], 4 * harness.SLOW)

    def test_a_peer_that_goes_on_after_quit_is_left(self):
        port, opened, closed = self.dribbling(b"QUIT", b"221 bye\r\n")
        node = self.node(f'domain "*" {{ smtp_hosts = "[127.0.0.1]:{port}", idle_timeout = "1s" }}')
        self.send(node)
        node.wait_records(1, "d")
        until(lambda: node.status()["sessions_out"] == 0, "its place is free", 6)
        until(lambda: closed, "it is left", 6)

    # --- the node's own end ---

    def test_a_stop_waits_for_the_reply_to_a_message_sent_whole(self):
        node, mx = self.relay()
        mx.answer(".", lambda event: time.sleep(7))
        self.send(node)
        until(lambda: mx.commands("DATA"), "it is sent")
        time.sleep(0.3)
        self.assertEqual(node.stop(10), 0)
        self.assertEqual((len(node.records("d")), len(mx.messages)), (1, 1))

    def test_a_stop_does_not_wait_for_ever_for_the_reply_to_a_message_sent_whole(self):
        """What had no reply is queued: the receiver may have it already, and gets it again."""
        node, mx = self.relay()
        mx.answer(".", HANG, times=1)
        self.send(node)
        until(lambda: node.status()["sessions_out"] == 1 and mx.commands("DATA"), "it is sent")
        time.sleep(0.3)
        self.assertEqual(node.stop(10), 0)
        self.assertEqual(node.records(), [r for r in node.records() if r["type"] == "r"])
        again = self.restart(node)
        again.wait_records(1, "d")
        again.wait_empty()

    def test_a_stop_is_no_attempt(self):
        node, mx = self.relay("max_attempts = 1, " + QUICK)
        mx.answer("RCPT", HANG, times=1)
        self.send(node)
        until(lambda: mx.commands("RCPT"), "a transaction is under way")
        node.signal(signal.SIGTERM)
        until(lambda: "stopping" in node.log, "it stops")
        node.signal(signal.SIGTERM)
        self.assertEqual(node.wait(), 0)
        self.assertEqual(node.records("b", "t"), [])
        again = self.restart(node)
        again.wait_records(1, "d")
        self.assertEqual(again.records("b", "t"), [])

    def test_a_connect_that_hangs(self):
        with socket.socket() as silent, socket.socket() as one, socket.socket() as two:
            silent.bind(("127.0.0.1", 0))
            silent.listen(0)
            for filler in (one, two):           # the backlog is full: further SYNs are dropped
                filler.setblocking(False)
                filler.connect_ex(silent.getsockname())
            node = self.node(f'domain "*" {{ smtp_hosts = "[127.0.0.1]:{silent.getsockname()[1]}", connect_timeout = "1s", retry_after = "1h" }}')
            self.send(node, to="u@example.com")
            record, = node.wait_records(1, "tq")
            self.assertIn("timed out", record["dsnDiag"])
            self.assertEqual(node.queue("example.com/default")["gate"], "retry_after")

    def test_a_refused_connect_holds_the_queue_and_retry_lets_it_go(self):
        port = harness.free_port()
        node = self.node(f'domain "example.com" {{ smtp_hosts = "[127.0.0.1]:{port}", retry_after = "1h" }}')
        self.send(node)
        record, = node.wait_records(1, "tq")
        self.assertIn("refused", record["dsnDiag"])
        queue = node.queue("example.com/default")
        self.assertEqual((queue["gate"], queue["queued"]), ("retry_after", 1))
        self.assertIn("refused", queue["last_error"])
        mx = Receiver(port=port)
        self.addCleanup(mx.stop)
        node.command("retry", "example.com/default")
        node.wait_records(1, "d")

    def test_nonsense_instead_of_smtp_is_a_failure_like_any_other(self):
        nonsense = ["hello there", "SSH-2.0-OpenSSH_9.2", "220", "999 what", "220-never ends\r\n221 other", "2" * 5000]
        receivers = [Receiver() for _ in nonsense]
        for mx, text in zip(receivers, nonsense):
            mx.answer("connect", lambda e, mx=mx, text=text: text if len(mx.sessions) == 1 else None)
        node = self.one_each(receivers, 'retry_after = "1s", retry_jitter = "0%", greeting_timeout = "2s"')
        node.wait_records(len(nonsense), "d")
        failed = {r["queue"] for r in node.records("tq")}
        # "220" alone is a greeting, if a laconic one, and two codes in one reply may be overlooked.
        self.assertLessEqual({f"d{i}.example/default" for i, text in enumerate(nonsense) if not text.startswith("220")}, failed)

    def test_a_5xx_greeting_is_connection_level_and_bounces_nothing(self):
        node, mx = self.relay(QUICK)
        mx.answer("connect", "554 5.7.1 not you", times=1)
        self.send(node)
        record = node.wait_records(1, "tq")[0]
        self.assertIn("554 5.7.1 not you", record["dsnDiag"])
        node.wait_records(1, "d")
        self.assertEqual(node.records("b"), [])

    # --- who sends ---

    def vmta_node(self, vmtas, mx, extra=""):
        return self.node(f'{vmtas}\ndomain "*" {{ smtp_hosts = "{mx.at}", max_smtp_out = 1, max_msg_per_connection = 1 }}\n{extra}')

    def test_a_virtual_mta_binds_its_source_and_says_its_name(self):
        mx = Receiver()
        self.addCleanup(mx.stop)
        node = self.vmta_node('vmta "one" { source = "127.0.0.2", hostname = "one.example" }\n'
                              'vmta "two" { source = "127.0.0.3" }\n'
                              'pool "default" { "one" }', mx,
                              'on.message(function(msg) msg.vmta = msg:header "X-V" end)')
        for v in ("one", "two"):
            self.send(node, body=f"X-V: {v}\r\n\r\n".encode())
        records = {r["vmta"]: r for r in node.wait_records(2, "d")}
        self.assertEqual(records["one"]["dlvSourceIp"], "127.0.0.2")
        self.assertEqual(records["two"]["dlvSourceIp"], "127.0.0.3")
        self.assertEqual({(s.peer[0], s.helo) for s in mx.sessions}, {("127.0.0.2", "one.example"), ("127.0.0.3", "node.example")})

    def test_a_list_of_sources_is_used_in_turn(self):
        mx = Receiver()
        self.addCleanup(mx.stop)
        node = self.vmta_node('vmta "default" { source = { "127.0.0.4", "127.0.0.5" } }', mx)
        self.source(node, count=8)
        node.wait_records(8, "d")
        used = [s.peer[0] for s in mx.sessions]
        self.assertEqual({used.count("127.0.0.4"), used.count("127.0.0.5")}, {4})

    def test_a_source_this_machine_has_not_sends_nothing_from_elsewhere(self):
        mx = Receiver()
        self.addCleanup(mx.stop)
        node = self.vmta_node('vmta "default" { source = "203.0.113.77" }', mx)
        self.send(node)
        until(lambda: (node.queue("example.com/default") or {}).get("last_error"), "the queue says what is wrong")
        self.assertIn("203.0.113.77", node.queue("example.com/default")["last_error"])
        self.assertEqual(mx.sessions, [])
        self.assertEqual(node.status()["queued"], 1)

    def test_a_message_that_no_virtual_mta_was_chosen_for_is_refused(self):
        mx = Receiver()
        self.addCleanup(mx.stop)
        node = self.vmta_node('vmta "only" { source = "any" }', mx)
        reply = self.send(node)
        self.assertIn(reply.code // 100, (4, 5), reply)
        self.assertEqual(node.status()["queued"], 0)


harness.main()
