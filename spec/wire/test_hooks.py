# SPDX-License-Identifier: Apache-2.0
"""Hooks: what they see, what they decide, and that none of them can stop the node."""
import harness
from client import Client
from harness import until
from receiver import Receiver


class Hooks(harness.Case):
    def hooked(self, hooks, **options):
        self.mx = Receiver()
        self.addCleanup(self.mx.stop)
        return self.node(f'domain "*" {{ smtp_hosts = "{self.mx.at}" }}\n{hooks}', **options)

    def test_connect_sees_the_client_and_may_refuse_it(self):
        node = self.hooked('''on.connect(function(session)
  if session.address == "127.0.0.2" then return reject "554 5.7.1 not from there" end
  if session.address == "127.0.0.3" then return reject "421 4.7.0 later" end
  assert(session.local_address == "127.0.0.1" and session.listener:find "^127.0.0.1:%d+$" and session.tls == nil and session.auth == nil)
end)''')
        for source, code in [("127.0.0.1", 220), ("127.0.0.2", 554), ("127.0.0.3", 421)]:
            with Client(node.port, source=source, ehlo=None) as c:
                self.assertEqual(c.greeting.code, code, c.greeting)
                if code == 421:
                    self.assertTrue(c.closed())

    def test_mail_and_rcpt_see_the_address_and_may_refuse_it(self):
        node = self.hooked('''
on.mail(function(session, sender) if sender == "spammer@sender.example" then return reject("550 5.7.1 no " .. session.helo) end end)
on.rcpt(function(session, recipient) if recipient:find "^trap@" then return reject "450 4.2.1 wait" end end)''')
        with Client(node.port) as c:
            reply = c.command("MAIL FROM:<spammer@sender.example>")
            self.assertEqual((reply.code, reply.text), (550, "5.7.1 no client.example"))
            replies = c.envelope("", ["trap@example.com", "user@example.com"])
            self.assertEqual([(r.code, r.enhanced) for r in replies], [(250, "2.1.0"), (450, "4.2.1"), (250, "2.1.5")])

    def test_message_chooses_changes_and_refuses(self):
        node = self.hooked('''
vmta "one" { source = "127.0.0.2" }
vmta "two" { source = "127.0.0.3" }
pool "default" { "one" }
on.message(function(msg)
  if msg.size > 10 * KB then return reject "552 5.3.4 too big for you" end
  msg.vmta = msg:header "X-V"
  msg.job = msg:header "X-Job"
  msg:remove_header "X-V"
end)''')
        self.assertEqual(self.send(node, body=b"X-V: two\r\nX-Job: j1\r\nSubject: s\r\n\r\n").code, 250)
        record, = node.wait_records(1, "d")
        self.assertEqual((record["vmta"], record["jobId"], record["dlvSourceIp"]), ("two", "j1", "127.0.0.3"))
        head = self.mx.messages[0].headers
        self.assertNotIn(b"X-V", head)
        self.assertIn(b"X-Job: j1\r\nSubject: s\r\n", head)
        reply = self.send(node, body=b"Subject: s\r\n\r\n" + b"line of text\r\n" * 1000)
        self.assertEqual((reply.code, reply.text), (552, "5.3.4 too big for you"))
        self.assertEqual(len(self.mx.messages), 1)

    def assert_deferred_and_told(self, hook, said):
        node = self.hooked(hook)
        reply = self.send(node, body=b"Subject: bad\r\n\r\n")
        self.assertEqual((reply.code, reply.enhanced), (451, "4.3.0"))
        self.assertRegex(node.log, said)
        self.assertRegex(node.log, r"stack traceback|policy\.lua:\d+")
        self.assertEqual(self.send(node, body=b"Subject: good\r\n\r\n").code, 250, "the node goes on")
        until(lambda: self.mx.messages, "it arrives")
        self.assertEqual(node.status()["received"], 1)
        node.stop()

    def test_a_hook_that_loops(self):
        for loop in ("while true do end", "local function f() return f() end f()", "local function f() pcall(f) f() end f()",
                     "repeat pcall(error) until false", "while true do pcall(function() while true do end end) end",
                     "local co = coroutine.wrap(function() while true do end end) co()", '("x"):rep(1000):gsub(".", function() while true do end end)'):
            if "pcall(f)" in loop and "tsan" in harness.BUILD:
                continue        # there each pcall costs a thousand times as much
            with self.subTest(loop):
                self.assert_deferred_and_told(f'on.message(function(msg) if msg:header "Subject" == "bad" then {loop} end end)',
                                              r"(?i)budget|instruction|too long|overr")

    def test_a_hook_that_eats_memory(self):
        for eater in ('local t = {} while true do t[#t + 1] = ("x"):rep(100000) .. #t end', 'local s = "x" while true do s = s .. s end',
                      'local s = ("x"):rep(1e9)'):
            with self.subTest(eater):
                self.assert_deferred_and_told(f'on.message(function(msg) if msg:header "Subject" == "bad" then {eater} end end)', r"(?i)memory|budget")

    def test_a_hook_that_errs(self):
        self.assert_deferred_and_told('on.message(function(msg)\n  if msg:header "Subject" == "bad" then local x = nil; x.y = 1 end\nend)',
                                      r"policy\.lua:\d+: .*attempt to index")

    def test_a_hook_that_answers_nonsense(self):
        for answer in ('return reject "999 what"', 'return reject "250 fine"', "return 42", 'return "no"', 'msg.pool = "nosuch"', "msg.colour = 1",
                       'return reject "550 two\\r\\nlines"'):
            with self.subTest(answer):
                self.assert_deferred_and_told(f'on.message(function(msg) if msg:header "Subject" == "bad" then {answer} end end)', r"policy\.lua")

    def test_each_inbound_hook_that_errs_defers(self):
        for hook, stage in [("on.connect(function() error 'no' end)", 0), ("on.mail(function() error 'no' end)", 1),
                            ("on.rcpt(function() error 'no' end)", 2)]:
            with self.subTest(hook):
                node = self.hooked(hook)
                with Client(node.port, ehlo=None) as c:
                    replies = [c.greeting]
                    if c.greeting.code == 220:
                        c.ehlo()
                        replies += c.envelope("a@sender.example", ["u@example.com"])
                    self.assertEqual((replies[stage].code // 100, replies[stage].enhanced), (4, "4.3.0"), replies)
                self.assertIn("traceback", node.log)
                node.stop()

    def test_hooks_can_not_reach_out(self):
        """What the sandbox leaves out is not there at call time either."""
        names = ["io", "ffi", "debug", "package", "dofile", "loadfile", "os.execute", "os.getenv", "os.exit", "string.dump", "jit", "load and load('\\27LJ')"]
        node = self.hooked("on.message(function(msg)\n" + "\n".join(
            f'  local ok, v = pcall(function() return {n} end) assert(not ok or not v, [[{n}]])' for n in names) + "\nend)")
        self.assertEqual(self.send(node).code, 250, node.log)


harness.main()
