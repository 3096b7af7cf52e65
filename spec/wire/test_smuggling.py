# SPDX-License-Identifier: Apache-2.0
"""What means one thing to one server and another to the next: smuggled messages, in and out, and lines that are
slipped into headers, reports, the log, the accounting file and a terminal. Each table: what is sent, what must become of it."""
import csv
import email
import os
import pty
import re
import struct

import harness
from client import Client, Closed
from harness import until
from records import CRC_AT, HEADER, crc32c

SECOND = b"MAIL FROM:<evil@sender.example>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\nSubject: evil\r\n\r\nx\r\n.\r\n"
# Every way to end a message that some server takes for the end, and RFC 5321 does not.
FALSE_ENDINGS = [
    b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r.\n", b"\n.\r", b"\r\n.\r\r\n", b"\r\r\n.\r\r\n", b"\r\n.\n\r\n",
    b"\n\n.\r\n", b"\n\n.\n\n", b"\r\r.\r\r", b"\n\r.\n\r", b"\n\r.\r\n", b"\r\n\n.\n", b"\r\n.\r\r\n.\n", b"\n.\n\r\n", b"\r\n.\n.\r\n",
    b"\0\r\n.\r\n", b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n.\r\0\n", b"\r\0\n.\r\n", b"\n\0.\n", b"\r\n.\0\n", b"\n.\0\r\n", b"\0.\0",
    b"bare\rcr\r\n.\r\n", b"bare\nlf\r\n.\r\n", b"\rcr at the start\r\n.\r\n", b"\r\r\n", b"\n\r\n",
]
HARMLESS = [
    b"\r\n..\r\n", b"\r\n.x\r\n", b"\r\n .\r\n", b"\r\n.\t\r\n", b"\x0b.\x0b", b"\x0c.\x0c", b"\x85.\x85", "\u2028.\u2028".encode(),
    "\u0085.\u0085".encode(), b"\x8d\x8a.\x8d\x8a", b"%0d%0a.%0d%0a", b"\\r\\n.\\r\\n",
]
# Of ASCII, of C1, and what ends a line or turns it round; a line may end.
CONTROLS = "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]"


class In(harness.Case):
    def data_is_refused(self, node, body, send):
        with Client(node.port) as c:
            c.envelope("a@sender.example", ["u@example.com"])
            try:
                send(c, b"Subject: first\r\n\r\nbody" + body)
                reply = c.reply()
                self.assertEqual(reply.code // 100, 5, reply)
                c.closed()
                self.assertEqual(c.buffer, b"", "not a word after the refusal")
            except (ConnectionResetError, BrokenPipeError):
                pass

    def by_data(self, c, body):
        self.assertEqual(c.command("DATA").code, 354)
        c.send(body + SECOND)

    def by_bdat(self, c, body):
        c.send(b"BDAT %d LAST\r\n" % len(body) + body + SECOND)

    def by_bdat_in_two(self, c, body):
        c.send(b"BDAT %d\r\n" % (len(body) - 2) + body[:-2])
        reply = c.reply()
        if reply.code == 250:
            c.send(b"BDAT 2 LAST\r\n" + body[-2:] + SECOND)
        else:
            c.buffer = "\r\n".join(reply.lines).encode() + b"\r\n" + c.buffer

    def test_no_false_ending_ends_a_message(self):
        node, mx = self.relay()
        for ending in FALSE_ENDINGS:
            for send in self.by_data, self.by_bdat, self.by_bdat_in_two:
                with self.subTest(ending=ending, by=send.__name__):
                    self.data_is_refused(node, ending + (b"" if send == self.by_data else b"x\r\n"), send)
        self.assertEqual(self.send(node, body=b"Subject: good\r\n\r\n").code, 250)
        self.delivered(mx)
        node.wait_empty()
        self.assertEqual([b"Subject: good" in m.data for m in mx.messages], [True], "the good one, and it alone")
        self.assertEqual(node.status()["received"], 1)

    def test_what_only_looks_like_one_is_content(self):
        node, mx = self.relay()
        for n, content in enumerate(HARMLESS, 1):
            with self.subTest(content=content), Client(node.port) as c:
                c.envelope("a@sender.example", ["u@example.com"])
                self.assertEqual(c.command("DATA").code, 354)
                c.send(b"Subject: x\r\n\r\nbody" + content + SECOND.replace(b".\r\n", b"", 1) + b"\r\n.\r\n")
                self.assertEqual(c.reply().code, 250)
                got = self.delivered(mx, n).body
                self.assertIn(content.replace(b"\r\n..", b"\r\n.").replace(b"\r\n.x", b"\r\nx").replace(b"\r\n.\t", b"\r\n\t"), got)
                self.assertIn(b"victim@example.com", got, "commands in it are content")
        self.assertEqual(node.status()["received"], len(HARMLESS))

    def test_a_bare_line_end_among_commands_ends_the_session(self):
        node, _ = self.relay()
        for bad in [b"NOOP\n", b"NO\rOP\r\n", b"MAIL FROM:<a@b.example>\nRCPT TO:<c@example.com>\r\n", b"NOOP\r\r\n", b"\n", b"\r\r\n",
                    b"MAIL FROM:<a@b.example>\rRCPT TO:<c@example.com>\r\n", b"EHLO a\0b\r\n"]:
            with self.subTest(bad=bad), Client(node.port) as c:
                try:
                    c.send(bad + b"NOOP\r\n")
                    self.assertEqual(c.reply().code // 100, 5)
                    self.assertTrue(c.closed() if b"\0" not in bad else True)
                except ConnectionResetError:
                    pass

    def test_a_body_that_was_not_asked_for_is_not_taken_for_commands(self):
        """The client does not wait for the reply to DATA, and somebody else wrote the message."""
        node, mx = self.relay()
        for refused in b"RCPT TO:<bad@@example.com>\r\n", b"":
            with self.subTest(refused), Client(node.port) as c:
                c.send(b"MAIL FROM:<a@sender.example>\r\n" + refused + b"DATA\r\nSubject: first\r\n\r\nRSET\r\n" + SECOND)
                self.assertTrue(c.closed())
                self.assertRegex(c.buffer, rb"(?s)^250 .*\r\n554 [^\n]*\r\n500 [^\n]*\r\n$")
        self.assertEqual((node.status()["received"], mx.messages), (0, []))

    def test_what_is_too_large_as_a_chunk_is_not_taken_for_commands(self):
        node, mx = self.relay('max_message_size = "1K"')
        with Client(node.port) as c:
            c.envelope("a@sender.example", ["u@example.com"])
            c.send(b"BDAT 2000 LAST\r\n" + (SECOND * 30)[:2000] + b"QUIT\r\n")
            self.assertEqual(c.reply().code, 552)
            self.assertEqual(c.reply().code, 221)
        for size in (b"-1", b"18446744073709551616", b"99999999999999999999999", b"0x10", b"1e3", b"+5", b"5 FIRST", b"", b"5;LAST"):
            with self.subTest(size=size), Client(node.port) as c:
                c.envelope("a@sender.example", ["u@example.com"])
                c.send(b"BDAT " + size + b"\r\n" + SECOND)
                self.assertEqual(c.reply().code // 100, 5)
                self.assertTrue(c.closed(), "where the chunk ends nobody knows")
                self.assertEqual(c.buffer, b"")
        self.assertEqual(mx.messages, [])


class Out(harness.Case):
    def change(self, node, old, new):
        """In the spool of a node that does not run, with sums that are right: as a bug in some version would have stored it."""
        changed = 0
        for base, _, names in os.walk(node.spool):
            for name in names:
                with open(os.path.join(base, name), "r+b") as file:
                    data = bytearray(file.read())
                    at = 0
                    while data[at:at + 4] == b"SOPL":
                        size, = struct.unpack_from("<I", data, at + 8)
                        begin, end = at + HEADER, at + HEADER + size
                        payload = bytes(data[begin:end]).replace(old, new)
                        if payload != data[begin:end]:
                            changed += 1
                            data[begin:end] = payload
                            struct.pack_into("<I", data, at + CRC_AT, crc32c(bytes(data[at:at + CRC_AT]) + payload))
                        at = end
                    file.seek(0)
                    file.write(data)
        self.assertEqual(changed, 1)

    def test_a_false_ending_that_is_stored_does_not_leave(self):
        node, mx = self.relay(settings='retry_recipients_after = "1h"')
        node.command("pause", "*")
        bad = [ending for ending in FALSE_ENDINGS if len(ending) > 2] + [b"\r\n.\r\n"]
        for n, ending in enumerate(bad):
            self.send(node, to=f"u{n}@example.com", body=b"Subject: x\r\n\r\nbody<%03d>%s\r\n" % (n, b"-" * len(ending)) + SECOND[:-5] + b"\r\n")
        self.send(node, to="good@example.com")
        node.stop()
        for n, ending in enumerate(bad):
            self.change(node, b"<%03d>%s" % (n, b"-" * len(ending)), b"<%03d>%s" % (n, ending))
        node = self.restart(node)
        node.command("resume", "*")
        node.wait_records(len(bad), "t", deadline_s=20)
        self.delivered(mx)
        self.assertEqual(mx.recipients(), ["good@example.com"])
        self.assertEqual(len(re.findall(r"error .* bare CR, LF or dot", node.log)), len(bad))
        self.assertEqual([line for line in mx.commands() if "victim" in line], [])


class Header(harness.Case):
    def fields(self, message):
        return [line.split(b":")[0].decode("latin-1") for line in message.headers.split(b"\r\n") if line and line[:1] not in b" \t"]

    def test_a_name_at_ehlo_adds_nothing_to_received(self):
        node, mx = self.relay()
        wanted = 0
        for name in ["a.example (evil", "a.example\tX-Evil: 1", "[127.0.0.1] X: y", "[IPv6:::1\n]", "a" * 400, "<b.example>", "a.example;", 'a"b"',
                     "b\u00fccher.example", "\u2028X-Evil", "a\u0085X-Evil: 1", "a\x7fb", "(comment)", "a.example) by evil (", "..", "-", "_dmarc.example"]:
            with self.subTest(name=name), Client(node.port, ehlo=None) as c:
                code = c.command(f"EHLO {name}").code
                if code != 250:
                    self.assertEqual(code // 100, 5)
                    continue
                self.assertEqual(c.message("a@sender.example", ["u@example.com"], b"Subject: x\r\n\r\n").code, 250)
                wanted += 1
                self.assertEqual(self.fields(self.delivered(mx, wanted)), ["Received", "Subject"])
        self.assertLess(wanted, 8)

    def test_an_envelope_adds_no_command_and_no_field(self):
        node, mx = self.relay()
        good = 0
        for line in ['MAIL FROM:<"a\\\rRCPT"@b.example>', 'MAIL FROM:<"a\x00b"@b.example>', "MAIL FROM:<a@b.example> AUTH=<>\tX", "MAIL FROM:<a@b.example> ENVID=a\tb",
                     "MAIL FROM:<a@b.example> ENVID=a=b", "MAIL FROM:<a@b.example> ENVID=a+zz", "MAIL FROM:<a@b.example> ENVID=" + "x" * 101,
                     "MAIL FROM:<a@b.example> RET=HDRS RET=FULL", "MAIL FROM:<a@b.example> SIZE=99999999999999999999", "MAIL FROM:<a@b.example> SIZE=-1",
                     "MAIL FROM:<a\u2028@b.example> SMTPUTF8", "MAIL FROM:<a\u0085X@b.example> SMTPUTF8", "MAIL FROM:<a@b\u2028.example> SMTPUTF8",
                     "MAIL FROM:<a@b.example> BODY=8BITMIME\x0bX", "MAIL FROM:<a@[127.0.0.1\t]>", "MAIL FROM:<a@b.example>> X"]:
            with self.subTest(line=line), Client(node.port) as c:
                try:
                    c.send(line.encode() + b"\r\n")
                    reply = c.reply()
                    if reply.code != 250:
                        self.assertEqual(reply.code // 100, 5)
                        continue
                    self.assertEqual(c.command("RCPT TO:<u@example.com>").code, 250)
                    self.assertEqual(c.command("DATA").code, 354)
                    c.send(b"Subject: x\r\n\r\n.\r\n")
                    c.reply()
                except ConnectionResetError:
                    continue
                good += 1
                message = self.delivered(mx, good)
                self.assertEqual(self.fields(message), ["Received", "Subject"])
                self.assertNotRegex(message.mail, r"[\x00-\x1f\x7f]")
        self.assertLess(good, 5)

    def test_a_first_line_that_begins_with_a_blank_adds_nothing_to_received(self):
        node, mx = self.relay()
        for n, line in enumerate([b" by evil.example; Mon, 1 Jan 2001 00:00:00 +0000\r\n", b"\tX-Evil: 1\r\nX-Evil: 2\r\n", b" \r\n", b"\t\r\n\r\n"], 1):
            with self.subTest(line=line):
                self.assertEqual(self.send(node, body=line + b"Subject: x\r\n\r\nbody\r\n").code, 250)
                message = self.delivered(mx, n)
                self.assertEqual(self.fields(message), ["Received"])
                self.assertTrue(message.headers.endswith(b" +0000\r\n"), message.headers)
                self.assertEqual(message.body, line + b"Subject: x\r\n\r\nbody\r\n", "it is whole, and body")

    def test_dsn_parameters_add_no_line_to_a_report(self):
        """xtext can hold anything: it goes on as xtext, and is shown in a report as one line."""
        node, mx = self.relay()
        mx.answer("RCPT", "550-5.1.1 who?\r\n550-5.1.1 X-Evil: 1\r\n550 5.1.1 \x0bX-Evil: 2\x1b[31m", when=lambda event: "nobody" in event.line)
        with Client(node.port) as c:
            self.assertEqual(c.command("MAIL FROM:<a@sender.example> ENVID=id+0D+0AX-Evil:+201 RET=HDRS").code, 250)
            self.assertEqual(c.command("RCPT TO:<nobody@example.com> ORCPT=rfc822;x+0D+0A+0D+0AX-Evil:+202 NOTIFY=FAILURE").code, 250)
            c.command("DATA")
            c.send(b"Subject: x\r\nX-Mine: y\r\n\r\n--\r\n.\r\n")
            self.assertEqual(c.reply().code, 250)
        report = self.delivered(mx).data
        self.assertNotRegex(report, rb"(?m)^\s*X-Evil")
        self.assertNotRegex(report.replace(b"\r\n", b""), rb"[\x00-\x08\x0b-\x1f\x7f]")
        parts = list(email.message_from_bytes(report).walk())
        self.assertEqual([p.get_content_type() for p in parts if p.get_content_maintype() != "text" or p.get_content_type() == "text/rfc822-headers"][:2],
                         ["multipart/report", "message/delivery-status"])

    def test_a_hook_adds_no_second_field(self):
        node, mx = self.relay(extra='on.message(function(msg) msg:add_header("X-Note", msg:header "Subject" .. "\\r\\nX-Evil: 1") end)')
        self.assertEqual(self.send(node).code, 451)
        self.assertEqual(mx.messages, [])


class Lines(harness.Case):
    """What a peer says ends up in the log, in accounting and in a terminal."""
    SAID = ["\x1b[31mred", "\x1b]0;title\x07", "\u009b31m", "\u2028second line", "tab\there", "del\x7f", "nul\x00", "a\rb", "\u202egnp.exe",
            "\x85", "=cmd|'/C calc'!A0", '"quoted", and more', "+1+1", "-2+3", "@SUM(1)", "%n%s", "x" * 3000]

    def test_no_reply_forges_a_line(self):
        node, mx = self.relay(settings='retry_recipients_after = "1h", retry_after = "1h", backoff = { { "slow", notify = true, max_smtp_out = 3, lasts = "1h" } }',
                              extra='on.reply(function(reply) print(reply.line) end)\n')
        for n, said in enumerate(self.SAID):
            with self.subTest(said=said[:40]):
                mx.answer("RCPT", f"450 4.2.0 slow {said}", times=1)
                self.send(node, to=f"u{n}@example.com")
                node.wait_records(n + 1, "t", "tq")
                for command in ("queues",), ("why", "example.com/default"):
                    text = node.command(*command, json_out=False)
                    self.assertIn("450 4.2.0 slow", text)
                    self.assertNotRegex(text, CONTROLS)
                node.command("retry", "*")
        for line in node.log.splitlines():
            self.assertRegex(line, r"^(\d{4}-\d\d-\d\dT[\d:.]+Z (info|warning|error) |ready$)")
        self.assertNotRegex(node.log, CONTROLS)
        self.one_record_a_line(node)

    def test_no_dialogue_drives_a_terminal(self):
        node, _ = self.relay()
        for options in (), ("--json",):
            with self.subTest(options=options):
                master, slave = pty.openpty()
                self.addCleanup(os.close, master)
                self.keep(harness.Process([harness.SLUICE, "trace", "--control", node.control, *options], f"/proc/self/fd/{slave}", env={"NO_COLOR": "1"}))
                os.close(slave)
                os.set_blocking(master, False)
                self.seen = ""
                self.until_seen(node, master, "NOOP it has begun")
                for said in self.SAID:
                    with Client(node.port) as c:
                        c.send(f"NOOP {said}\r\n")
                        try:
                            c.reply()
                        except (Closed, ConnectionResetError):
                            pass
                self.until_seen(node, master, "NOOP it is over")
                self.assertIn("gnp.exe", self.seen)
                # JSON leaves DEL as it is; no terminal does anything at it.
                self.assertEqual(re.findall(CONTROLS, self.seen.replace("\r\n", "\n").replace("\x7f", "" if options else "\x7f")), [])

    def until_seen(self, node, master, words):
        def seen():
            with Client(node.port) as c:
                c.command(words)
            try:
                self.seen += os.read(master, 1 << 20).decode("utf-8", "replace")
            except BlockingIOError:
                pass
            return words in self.seen
        until(seen, "the trace tells it")

    def one_record_a_line(self, node):
        node.stop()
        with open(node.accounting, "rb") as file:
            raw = file.read()
        self.assertNotRegex(raw.replace(b"\r\n", b"\n"), rb"[\x00-\x09\x0b-\x1f\x7f]")
        rows = list(csv.reader(raw.decode().splitlines(keepends=True), strict=True))
        self.assertEqual(len(rows), raw.count(b"\n"))
        self.assertEqual({len(row) for row in rows}, {len(rows[0])})
        return rows

    def test_no_name_forges_a_record(self):
        """A formula stays what it is: accounting is data, and whoever opens it in a spreadsheet imports it as text."""
        node, mx = self.relay(extra='on.message(function(msg) msg.job = msg:header "X-Job" end)')
        jobs = ["=cmd|'/C calc'!A0", '"', '""', 'a"b,c', "a,b", "'", ";", "+1", "@x", " blank ", "\u00fc"]
        for n, job in enumerate(jobs):
            self.assertEqual(self.send(node, body=f"X-Job: {job}\r\n\r\n".encode(), mail=" ENVID=a+22,b+0D+0Ad" if n % 2 else "").code, 250, job)
        with Client(node.port) as c:
            for to in ('"a,b"@example.com', '"=1+1"@example.com', "=1+1@example.com", '"a\\"b"@example.com'):
                self.assertEqual(c.message("a@sender.example", [to], b"Subject: x\r\n\r\n").code, 250)
        self.delivered(mx, len(jobs) + 4)
        node.wait_empty()
        self.one_record_a_line(node)
        self.assertEqual(sorted(r["jobId"] for r in node.records("d"))[4:], sorted(jobs))
        self.assertIn('"a\\"b"@example.com', [r["rcpt"] for r in node.records("d")])


harness.main()
