# SPDX-License-Identifier: Apache-2.0
"""Reactions on the wire: what a receiver's reply does to the queue, for how long, and how it ends."""
import harness
from client import Client
from harness import max_in_window, now, peak, until
from receiver import Receiver

ALONE = True
JITTER_S = 0.05 * harness.SLOW

SEEDS = '''
  { "421 RP-001", lasts = "8s", max_smtp_out = 5, max_msg_rate = "40/2s" },
  { "421 4\\\\.3\\\\.2", lasts = "4s", max_smtp_out = 2, max_msg_rate = "20/2s" },
'''


class Reactions(harness.Case):
    def receiver(self, **options):
        mx = Receiver(keep=False, **options)
        self.addCleanup(mx.stop)
        return mx

    def fill(self, node, count, domain="a.example", headers=b"", rcpts=1):
        with Client(node.port) as c:
            for i in range(count):
                reply = c.message("s@sender.example", [f"u{i}.{n}@{domain}" for n in range(rcpts)], headers + b"Subject: x\r\n\r\n")
                self.assertEqual(reply.code, 250, reply)

    def one_queue(self, rules, settings="", receivers=None, rest="", **options):
        """A node whose one queue has the rules; its receiver is self.mx."""
        self.mx = self.receiver() if receivers is None else receivers[0]
        hosts = ";".join(r.at for r in receivers) if receivers else self.mx.at
        return self.node(f'''{rest}
domain "a.example" {{ smtp_hosts = "{hosts}", retry_jitter = "0%", {settings + ("," if settings else "")}
backoff = {{
{rules}
}} }}''', **options)

    def why(self, node, queue="a.example/default"):
        return node.command("why", queue)

    def overlay(self, node, name, queue="a.example/default"):
        return next((o for o in self.why(node, queue)["overlays"] if o["name"] == name), None)

    # --- overlays ---

    def test_the_seeds_rules_both_at_once_each_with_its_own_limits_and_end(self):
        node = self.one_queue(SEEDS, "max_smtp_out = 12, retry_after = 1, retry_recipients_after = 1", paused=True)
        self.mx.answer("MAIL", "421 RP-001 (BAY) unfortunately some messages", times=1)
        self.mx.answer("MAIL", "421 4.3.2 the service is not available", times=1)
        self.fill(node, 300)
        node.command("resume", "*")
        until(lambda: len(self.why(node)["overlays"]) == 2, lambda: f"both lie there; {self.why(node)}")
        started = now()
        why = self.why(node)
        both = {o["name"]: o for o in why["overlays"]}
        self.assertEqual(both["421 RP-001"]["changes"], {"max_smtp_out": 5, "max_msg_rate": "40/2s"})
        self.assertEqual(both[r"421 4\.3\.2"]["changes"], {"max_smtp_out": 2, "max_msg_rate": "20/2s"})
        self.assertEqual(both["421 RP-001"]["reply"], "421 RP-001 (BAY) unfortunately some messages")
        for overlay in both.values():
            self.assertRegex(overlay["declared_at"], r"policy\.lua:\d+$")
        gates = {g["gate"]: g for g in why["gates"]}
        self.assertEqual((gates["max_smtp_out"]["limit"], gates["max_msg_rate"]["limit"]), (2, "20/2s"))
        self.assertEqual(gates["max_smtp_out"]["declared_at"], both[r"421 4\.3\.2"]["declared_at"])
        self.assertEqual(node.queue("a.example/default")["mode"], "backoff")
        until(lambda: self.overlay(node, r"421 4\.3\.2") is None, "the shorter one is over", 8)
        first_over = now()
        gates = {g["gate"]: g for g in self.why(node)["gates"]}
        self.assertEqual((gates["max_smtp_out"]["limit"], gates["max_msg_rate"]["limit"]), (5, "40/2s"))
        self.assertEqual(gates["max_msg_rate"]["declared_at"], both["421 RP-001"]["declared_at"])
        until(lambda: not self.why(node)["overlays"], "the longer one is over", 12)
        second_over = now()
        self.assertEqual(node.queue("a.example/default")["mode"], "normal")
        node.wait_records(300, "d", deadline_s=20)
        times = [at for at, _ in self.mx.attempts]
        inside = [t for t in times if started + 0.3 < t < first_over - 0.3]
        between = [t for t in times if first_over + 0.1 < t < second_over - 0.3]
        self.assertGreater(len(inside), 10, "backoff is no stop")
        self.assertLessEqual(max_in_window(inside, 2 - JITTER_S), 20)
        self.assertGreater(max_in_window(between, 2), 22, "and the looser rule holds afterwards")
        self.assertLessEqual(max_in_window(between, 2 - JITTER_S), 40)
        opened = [(s.opened, s.closed) for s in self.mx.sessions if s.opened > started + 0.5]
        self.assertLessEqual(peak([i for i in opened if i[0] < first_over - 0.2]), 2)

    def test_suspend_holds_and_ends(self):
        node = self.one_queue('{ "TSS04", lasts = "3s", suspend = true },', "retry_recipients_after = 1, max_smtp_out = 1")
        self.mx.answer("RCPT", "421 4.7.0 [TSS04] deferred", times=1)
        self.fill(node, 5)
        until(lambda: self.why(node)["gate"] == "suspended", "it is suspended")
        why = self.why(node)
        self.assertLessEqual(why["until"], 3)
        self.assertRegex(why["declared_at"], r"policy\.lua:\d+$")
        self.assertEqual(node.queue("a.example/default")["mode"], "suspended")
        seen, at = len(self.mx.sessions), now()
        node.wait_records(5, "d", deadline_s=10)
        self.assertGreater(self.mx.sessions[seen].opened - at, 1.5, "nothing was opened meanwhile")


harness.main()
