# SPDX-License-Identifier: Apache-2.0
"""Cases about queues: what fills them, what they say of themselves, at which pace they are served.

A receiver's clock is read after the kernel and the scheduler had their say, so an event may seem up to JITTER_S
nearer to its neighbour than it left the node; the windows here are shorter by that.
"""
import harness
from client import Client
from harness import max_in_window
from receiver import Receiver

JITTER_S = 0.05 * harness.SLOW


class Case(harness.Case):
    sender = "s@sender.example"

    def receiver(self, **options):
        mx = Receiver(keep=False, **options)
        self.addCleanup(mx.stop)
        return mx

    def fill(self, node, count, *domains, rcpts=1, headers=b""):
        """So many messages to each of the domains (a.example)."""
        with Client(node.port) as c:
            for i in range(count):
                for domain in domains or ("a.example",):
                    reply = c.message(self.sender, [f"u{i}.{n}@{domain}" for n in range(rcpts)], headers + b"Subject: x\r\n\r\n")
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

    def assert_paced(self, times, n, window_s, what):
        """At most n in any window; nine in ten used; and spread, not in heaps."""
        times = sorted(times)
        self.assertLessEqual(max_in_window(times, window_s - JITTER_S), n, f"{what}: in any window")
        interval = window_s / n
        ideal = (len(times) - 1) * interval
        self.assertLessEqual(times[-1] - times[0], ideal / 0.9 + JITTER_S, f"{what}: at least 90 % used")
        gaps = sorted(b - a for a, b in zip(times, times[1:]))
        self.assertGreater(gaps[len(gaps) // 10], interval * 0.5, f"{what}: evenly paced; gaps {gaps[:10]}")
        self.assertLess(gaps[-1 - len(gaps) // 10], interval * 1.6 + JITTER_S, f"{what}: evenly paced; gaps {gaps[-10:]}")
