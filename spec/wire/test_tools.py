# SPDX-License-Identifier: Apache-2.0
"""`sink` and `inject`, the one against the other, and against Postfix's."""
import json
import signal
import socket
import subprocess

import harness
from harness import Certificates, command, until
from receiver import Receiver


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
