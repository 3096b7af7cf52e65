# SPDX-License-Identifier: Apache-2.0
"""A node of several workers is one node: mail, caps, rates, commands, swaps and crashes, with 1, 2, 4 and 16 of them.

Domains and connections are many, so that each worker has some of both: whose a domain is goes by a hash of its name,
whose a connection is the system chooses.
"""
import collections
import os
import threading

import harness
from client import Client
from harness import max_in_window, peak, until
from load import DOMAINS, Load, each_of
from receiver import Receiver

ALONE = True
WORKERS = [int(n) for n in os.environ.get("WORKERS", "1 2 4 16").split()]
JITTER_S = 0.05 * harness.SLOW
QUICK = 'retry_after = 1, retry_recipients_after = 1, retry_jitter = "0%"'


each_count = each_of(WORKERS)


def slowly():
    threading.Event().wait(0.02)


class Shards(harness.Case):
    def receiver(self, **options):
        mx = Receiver(**options)
        self.addCleanup(mx.stop)
        return mx

    def workers(self, n, policy, **options):
        return self.node(policy, options=["--workers", str(n)], **options)

    def fill(self, node, count, domains=DOMAINS, headers=b"", rcpts=1):
        """To each of the domains, over a new connection each."""
        for i, domain in enumerate(domains):
            with Client(node.port) as c:
                for m in range(count):
                    names = [f"u{i}.{m}.{r}@{domain}" for r in range(rcpts)]
                    self.assertEqual(c.message("", names, headers + b"Subject: x\r\n\r\n").code, 250)

    # --- mail ---

    @each_count
    def test_each_recipient_is_delivered_once(self, n):
        mx = self.receiver()
        node = self.workers(n, f'domain "*" {{ smtp_hosts = "{mx.at}" }}')
        load = Load(node.port)
        until(lambda: len(load.acknowledged) > 2000, "the load flows", 60)
        sent = load.stop()
        node.wait_empty(60)
        got = collections.Counter(mx.recipients())
        self.assertEqual(got, collections.Counter(sent))
        self.assertEqual(len(node.wait_records(len(sent), "d")), len(sent))
        status = node.status()
        self.assertEqual((status["queued"], status["delivered"]), (0, len(sent)))
        until(lambda: node.status()["spool_messages"] == 0, "the spool is empty")

    @each_count
    def test_a_message_to_all_domains_at_once_is_one_message(self, n):
        """Its recipients wait with all workers; one is refused, one put off."""
        mx = self.receiver()
        mx.answer("RCPT", lambda e: "550 5.1.1 no" if "bad" in e.line else None)
        mx.answer("RCPT", "450 4.2.1 later", times=3)
        node = self.workers(n, f'domain "*" {{ smtp_hosts = "{mx.at}", {QUICK} }}')
        for _ in range(30):
            self.send(node, to=[f"u@{d}" for d in DOMAINS] + ["bad@d1.example"], sender="")
        node.wait_records(30, "b", deadline_s=20)
        node.wait_records(30 * len(DOMAINS), "d", deadline_s=20)
        node.wait_empty(20)
        self.assertEqual(collections.Counter(mx.recipients()), {f"u@{d}": 30 for d in DOMAINS})
        until(lambda: node.status()["spool_messages"] == 0, "the spool is empty")

    # --- caps ---

    @each_count
    def test_a_virtual_mtas_cap_holds_over_the_queues_of_many_sites(self, n):
        mx = self.receiver(keep=False)
        mx.answer(".", lambda _: slowly())
        node = self.workers(n, f'vmta "default" {{ source = "any", max_smtp_out = 5 }}\n'
                               f'domain "*" {{ smtp_hosts = "{mx.at}", max_msg_per_connection = 3 }}')
        self.fill(node, 10)
        node.wait_empty(60)
        most = peak(mx.intervals())
        self.assertLessEqual(most, 5)
        self.assertEqual(most, 5, "it is used")
        for domain in DOMAINS:
            self.assertEqual(sum(domain in to for _, to in mx.attempts), 10)

    @each_count
    def test_the_rate_of_a_pool_holds_and_is_used(self, n):
        """A limiter makes up for 50 ms that it was late: so nobody shall be before it and the receiver."""
        self.first_in_line()
        mx = self.receiver(keep=False)
        node = self.workers(n, f'''
vmta "m1" {{ source = "any" }}
vmta "m2" {{ source = "any" }}
pool "default" {{ "m1", "m2", max_msg_rate = "50/2s" }}
domain "*" {{ smtp_hosts = "{mx.at}" }}''', settings='max_smtp_in = 1000', paused=True)
        self.fill(node, 4)
        waited_s = node.waited_seconds()
        node.command("resume", "*")
        until(lambda: len(mx.attempts) >= 4 * len(DOMAINS), "all are sent", 30)
        waited_s = node.waited_seconds() - waited_s
        times = sorted(at for at, _ in mx.attempts)
        self.assertEqual(len(times), 4 * len(DOMAINS))
        self.assertLessEqual(max_in_window(times, 2 - JITTER_S), 50)
        self.assertLessEqual(0.95 * (times[-1] - times[0] - waited_s), (len(times) - 1) * 2 / 50, "it is used")

    @each_count
    def test_no_more_clients_come_in_than_may(self, n):
        node = self.workers(n, "", settings="max_smtp_in = 12",
                            listener="max_sessions = 12, max_sessions_per_client = 8")
        inside, refused = [], collections.Counter()
        for source in ("127.0.0.1", "127.0.0.2"):
            for _ in range(15):
                c = Client(node.port, source=source)
                if c.greeting.code == 220:
                    inside.append((source, c))
                else:
                    refused[source, c.greeting.enhanced] += 1
                    c.socket.close()
        self.assertEqual(collections.Counter(source for source, _ in inside), {"127.0.0.1": 8, "127.0.0.2": 4})
        self.assertEqual(refused, {("127.0.0.1", "4.7.0"): 7, ("127.0.0.2", "4.3.2"): 11})
        self.assertEqual(node.status()["sessions_in"], 12)
        inside.pop(0)[1].socket.close()
        until(lambda: node.status()["sessions_in"] == 11, "one has left")
        with Client(node.port) as c:
            self.assertEqual(c.greeting.code, 220)
        for _, c in inside:
            c.socket.close()

    def test_their_number_is_from_1_to_128(self):
        policy = self.write("p.lua", 'listener "127.0.0.1:0" {}\nvmta "default" { source = "any" }\n')
        for n in ("0", "129", "x"):
            done = harness.command("run", policy, "--workers", n)
            self.assertEqual(done.returncode, 2)
            self.assertIn("--workers is a number from 1 to 128", done.stderr)

    def test_a_policy_that_says_something_else_each_time_runs_with_one_only(self):
        text = 'vmta "default" { source = "any" }\nlocal n = 0\nfor k in next, { a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7 } do n = n * 31 + k:byte() end\n'
        policy = text + 'domain "a.example" { max_smtp_out = 1 + n % 1000000007 }\n'
        self.assertEqual(self.workers(1, policy).stop(), 0)
        node = self.workers(16, policy, wait=False)
        self.assertEqual(node.wait(), 1)
        self.assertIn("it says something else each time it is loaded", node.log)

    def test_the_port_is_one_nodes(self):
        node = self.workers(4, "")
        with open(node.policy, encoding="utf-8") as policy:
            other = self.start(policy.read(), node.port, wait=False, options=["--workers", "4"])
        self.assertEqual(other.wait(), 1)
        self.assertIn("address already in use", other.log)

    # --- commands ---

    @each_count
    def test_commands_see_all_of_it(self, n):
        mx = self.receiver()
        node = self.workers(n, f'domain "*" {{ smtp_hosts = "{mx.at}" }}', paused=True)
        self.fill(node, 2)
        self.fill(node, 3, DOMAINS[:1])
        self.assertEqual([(q["queue"], q["queued"]) for q in node.command("queues")],
                         [("d0.example/default", 5)] + [(f"{d}/default", 2) for d in sorted(DOMAINS[1:])])
        self.assertEqual((node.status()["queued"], node.status()["queues"]), (2 * len(DOMAINS) + 3, len(DOMAINS)))
        for domain in DOMAINS:
            self.assertEqual(node.command("why", f"{domain}/default")["queued"], 2 + 3 * (domain == "d0.example"))
            self.assertEqual(len(node.command("why", f"u{DOMAINS.index(domain)}.0.0@{domain}")), 1 + (domain == "d0.example"))
        refused = harness.command("why", "d99.example/default", "--control", node.control)
        self.assertRegex(refused.stderr, r"no such queue: d99.example/default \(nearest: d\d?9.example/default\)")
        self.assertEqual(node.command("drop", "d1*"), {"queues": 11, "recipients": 22})
        self.assertEqual(node.status()["queued"], 2 * len(DOMAINS) + 3 - 22)
        node.command("resume", "*")
        node.wait_empty(20)
        self.assertEqual(len(mx.messages), 2 * len(DOMAINS) + 3 - 22)

    @each_count
    def test_what_is_held_by_hand_is_held_after_a_crash_by_another_number_of_workers(self, n):
        mx = self.receiver()
        policy = f'domain "*" {{ smtp_hosts = "{mx.at}" }}'
        node = self.workers(n, policy)
        node.command("pause", "d1*")
        node.command("suspend", "d2.example/*", "1h")
        self.fill(node, 2)
        node.wait_records(2 * (len(DOMAINS) - 12), "d")
        node.kill()
        again = self.restart(node, options=["--workers", str(3 if n != 3 else 2)])
        until(lambda: again.status()["queued"] == 24, "what was held is there")
        self.send(again, to="new@d1.example")
        self.send(again, to="new@d3.example")
        until(lambda: "new@d3.example" in mx.recipients(), "the others go")
        self.assertNotIn("new@d1.example", mx.recipients())
        self.assertEqual(again.queue("d2.example/default")["mode"], "suspended")
        again.command("resume", "d1*")
        again.command("lift", "d2.example/*")
        again.wait_empty(20)
        self.assertEqual(len(mx.messages), 2 * len(DOMAINS) + 2)

    @each_count
    def test_a_trace_hears_all_workers(self, n):
        mx = self.receiver()
        node = self.workers(n, f'domain "*" {{ smtp_hosts = "{mx.at}" }}')
        trace = self.keep(harness.Process([harness.SLUICE, "trace", "--json", "--control", node.control], self.path(f"trace{n}")))
        until(lambda: self.heard(node, trace), "it listens")
        self.fill(node, 2)
        node.wait_empty(20)
        until(lambda: all(f"@{d}>" in trace.log for d in DOMAINS), "all are heard")
        trace.stop()

    def heard(self, node, trace):
        with Client(node.port) as c:
            c.command("NOOP")
        return "NOOP" in trace.log

    # --- swaps and crashes ---

    @each_count
    def test_a_policy_is_swapped_under_load(self, n):
        mx = self.receiver()
        node = self.workers(n, f'domain "*" {{ smtp_hosts = "{mx.at}", max_smtp_out = 2 }}')
        load = Load(node.port)
        with open(node.policy, encoding="utf-8") as file:
            text = file.read()
        for generation in range(2, 8):
            seen = len(load.acknowledged)
            until(lambda: len(load.acknowledged) > seen + 100, "the load flows", 30)
            with open(node.policy, "w", encoding="utf-8") as file:
                file.write(text.replace("max_smtp_out = 2", f"max_smtp_out = {generation + 1}"))
            self.assertEqual(node.command("swap")["generation"], generation)
            for domain in DOMAINS[:6]:
                done = harness.command("why", f"{domain}/default", "--control", node.control, "--json")
                self.assertIn(done.returncode, (0, 1))
        sent = load.stop()
        node.wait_empty(60)
        self.assertEqual(collections.Counter(mx.recipients()), collections.Counter(sent))

    @each_count
    def test_kill_9_under_load_and_another_number_of_workers(self, n):
        mx = self.receiver()
        node = self.workers(n, f'domain "*" {{ smtp_hosts = "{mx.at}", max_smtp_out = 5, {QUICK} }}')
        load = Load(node.port)
        for other in (3, 1, n):
            seen = len(load.acknowledged)
            until(lambda: len(load.acknowledged) >= seen + 300, "the load flows", 30)
            node.kill()
            node = self.restart(node, options=["--workers", str(other)])
        sent = load.stop()
        node.wait_empty(60)
        missing = set(sent) - set(mx.recipients())
        self.assertEqual(missing, set(), f"{len(missing)} of {len(sent)} acknowledged recipients were lost")

    @each_count
    def test_an_orderly_stop_under_load_loses_nothing_and_sends_nothing_twice(self, n):
        mx = self.receiver()
        node = self.workers(n, f'domain "*" {{ smtp_hosts = "{mx.at}", {QUICK} }}')
        load = Load(node.port)
        for other in (2, n):
            seen = len(load.acknowledged)
            until(lambda: len(load.acknowledged) >= seen + 300, "the load flows", 30)
            self.assertEqual(node.stop(20), 0)
            node = self.restart(node, options=["--workers", str(other)])
        sent = load.stop()
        node.wait_empty(60)
        got = collections.Counter(mx.recipients())
        self.assertEqual({name: got[name] for name in sent if got[name] != 1}, {})


harness.main()
