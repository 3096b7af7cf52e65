# SPDX-License-Identifier: Apache-2.0
"""Caps, watched on the wire by receivers that count in sliding windows: never exceeded, at least 90 % used, evenly paced.

The receiver's clock is read after the kernel and the scheduler had their say, so an event may seem up to JITTER_S
nearer to its neighbour than it left the node; the windows here are shorter by that.
"""
import harness
from client import Client
from harness import max_in_window, now, peak, until
from receiver import Receiver

ALONE = True
JITTER_S = 0.05 * harness.SLOW


class Limits(harness.Case):
    def setUp(self):
        super().setUp()
        self.first_in_line()

    def receiver(self, **options):
        mx = Receiver(keep=False, **options)
        self.addCleanup(mx.stop)
        return mx

    def fill(self, node, count, *domains, rcpts=1, headers=b""):
        with Client(node.port) as c:
            for i in range(count):
                for domain in domains:
                    reply = c.message("", [f"u{i}.{n}@{domain}" for n in range(rcpts)], headers + b"Subject: x\r\n\r\n")
                    self.assertEqual(reply.code, 250, reply)

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

    # --- rates ---

    def test_rates_are_kept_used_and_paced(self):
        """Four queues of one node at once, each with a rate of its own."""
        connects, messages, rcpts, burst = (self.receiver() for _ in range(4))
        node = self.node(f'''
domain "connects.example" {{ smtp_hosts = "{connects.at}", max_connect_rate = "10/2s", max_msg_per_connection = 1 }}
domain "messages.example" {{ smtp_hosts = "{messages.at}", max_msg_rate = "40/4s" }}
domain "rcpts.example"    {{ smtp_hosts = "{rcpts.at}", max_msg_rate = "20/2s" }}
domain "burst.example"    {{ smtp_hosts = "{burst.at}", max_msg_rate = {{ "40/4s", burst = 10 }} }}''', paused=True)
        self.fill(node, 40, "connects.example")
        self.fill(node, 80, "messages.example", "burst.example")
        self.fill(node, 20, "rcpts.example", rcpts=4)
        for queue, gate in [("connects", "max_connect_rate"), ("messages", "max_msg_rate")]:
            why = node.command("why", f"{queue}.example/default")
            entry = next(g for g in why["gates"] if g["gate"] == gate)
            self.assertRegex(entry["declared_at"], r"policy\.lua:\d+$")
        node.command("resume", "*")
        node.wait_records(40 + 80 + 80 + 80, "d", deadline_s=25)
        self.assert_paced(connects.connected_at(), 10, 2, "max_connect_rate")
        self.assert_paced([at for at, _ in messages.attempts], 40, 4, "max_msg_rate")

        times = [at for at, _ in rcpts.attempts]
        self.assertEqual(len(times), 80)
        self.assertLessEqual(max_in_window(times, 2 - JITTER_S), 20, "recipients are what counts")
        self.assertLessEqual(times[-1] - times[0], 8 / 0.9 + JITTER_S)

        times = [at for at, _ in burst.attempts]
        self.assertLessEqual(max_in_window(times, 4 - JITTER_S), 40, "with a burst the promise still holds")
        self.assertGreaterEqual(max_in_window(times, 0.5 * harness.SLOW), 10, "the burst is given")

    def test_refusals_count_as_attempts(self):
        mx = self.receiver()
        mx.answer("RCPT", "550 5.1.1 no")
        node = self.node(f'domain "a.example" {{ smtp_hosts = "{mx.at}", max_msg_rate = "20/2s" }}', paused=True)
        self.fill(node, 50, "a.example")
        node.command("resume", "*")
        node.wait_records(50, "b")
        self.assert_paced([at for at, _ in mx.attempts], 20, 2, "max_msg_rate")

    def test_failed_connects_count_as_connects(self):
        mx = self.receiver()
        mx.answer("connect", "421 4.7.0 no")
        node = self.node(f'domain "a.example" {{ smtp_hosts = "{mx.at}", max_connect_rate = "5/1s", retry_after = 1, retry_jitter = "0%" }}')
        self.fill(node, 1, "a.example")
        started = now()
        until(lambda: now() - started > 4, "four seconds of trying")
        self.assertGreater(len(mx.sessions), 1)
        self.assertLessEqual(max_in_window(mx.connected_at(), 1 - JITTER_S), 5)

    def test_a_rate_is_kept_across_a_crash(self):
        mx = self.receiver()
        node = self.node(f'domain "a.example" {{ smtp_hosts = "{mx.at}", max_msg_rate = "20/4s" }}')
        self.fill(node, 60, "a.example")
        until(lambda: len(mx.attempts) >= 20, "it is under way")
        node.kill()
        again = self.restart(node)
        until(lambda: len(mx.attempts) >= 45, "it goes on", 20)
        self.assertLessEqual(max_in_window([at for at, _ in mx.attempts], 4 - JITTER_S), 20)
        self.assertEqual(again.records("b"), [])

    def test_wider_rates_hold_as_well(self):
        """A virtual MTA's, a pool's and the node's rate over two domains each."""
        mx = {name: self.receiver() for name in ("v1", "v2", "p1", "p2")}
        hosts = "\n".join(f'domain "{name}.example" {{ smtp_hosts = "{r.at}" }}' for name, r in mx.items())
        node = self.node(f'''
vmta "default" {{ source = "any", max_msg_rate = "20/2s" }}
vmta "m1" {{ source = "any" }}
vmta "m2" {{ source = "any" }}
pool "pooled" {{ "m1", "m2", max_msg_rate = "20/2s" }}
on.message(function(msg) if msg:header "X-Pool" then msg.pool = "pooled" end end)
{hosts}''', paused=True)
        self.fill(node, 30, "v1.example", "v2.example")
        self.fill(node, 30, "p1.example", "p2.example", headers=b"X-Pool: yes\r\n")
        node.command("resume", "*")
        node.wait_records(120, "d", deadline_s=25)
        for what, names in [("vmta.max_msg_rate", ("v1", "v2")), ("pool.max_msg_rate", ("p1", "p2"))]:
            self.assert_paced([at for n in names for at, _ in mx[n].attempts], 20, 2, what)

    def test_the_nodes_rate_holds(self):
        a, b = self.receiver(), self.receiver()
        node = self.node(f'domain "a.example" {{ smtp_hosts = "{a.at}" }}\ndomain "b.example" {{ smtp_hosts = "{b.at}" }}',
                         settings='max_msg_rate = "20/2s"', paused=True)
        self.fill(node, 30, "a.example", "b.example")
        node.command("resume", "*")
        node.wait_records(60, "d", deadline_s=20)
        self.assert_paced([at for mx in (a, b) for at, _ in mx.attempts], 20, 2, "node.max_msg_rate")

    # --- sessions ---

    def hold(self, *receivers):
        """Each final reply waits until somebody lets it go, so that sessions pile up as far as the caps allow."""
        import threading
        gate = threading.Event()
        self.addCleanup(gate.set)

        def wait(event):
            gate.wait(20 * harness.SLOW)
        for mx in receivers:
            mx.answer(".", wait)
        return gate

    def assert_peak(self, node, receivers, cap, messages, gate_name, queue):
        gate = self.hold(*receivers)
        busy = lambda: sum(1 for mx in receivers for s in mx.sessions if s.closed is None and any(c[1] == "DATA" for c in s.commands))
        node.command("resume", "*")
        until(lambda: busy() >= cap, lambda: f"{cap} sessions are open; {busy()}; {node.command('queues')}")
        why = node.command("why", queue)
        self.assertEqual((why["gate"], why["open"]), (gate_name, False), why)
        entry = next(g for g in why["gates"] if g["gate"] == gate_name)
        self.assertEqual((entry["limit"], entry["in_use"]), (cap, cap))
        self.assertRegex(entry["declared_at"], r"policy\.lua:\d+$")
        gate.set()
        node.wait_records(messages, "d", deadline_s=20)
        self.assertEqual(peak([i for mx in receivers for i in mx.intervals()]), cap)

    def test_max_smtp_out(self):
        mx = self.receiver()
        node = self.node(f'domain "a.example" {{ smtp_hosts = "{mx.at}", max_smtp_out = 3, max_msg_per_connection = 2 }}', paused=True)
        self.fill(node, 30, "a.example")
        self.assert_peak(node, [mx], 3, 30, "max_smtp_out", "a.example/default")
        self.assertLessEqual(max(s.messages for s in mx.sessions), 2)

    def test_total_max_smtp_out_over_two_virtual_mtas(self):
        mx = self.receiver()
        node = self.node(f'''
vmta "one" {{ source = "127.0.0.2" }}
vmta "two" {{ source = "127.0.0.3" }}
pool "default" {{ "one", "two" }}
on.message(function(msg) msg.vmta = msg:header "X-V" end)
domain "a.example" {{ smtp_hosts = "{mx.at}", max_smtp_out = 3, total_max_smtp_out = 4, max_msg_per_connection = 2 }}''', paused=True)
        for name in (b"one", b"two"):
            self.fill(node, 20, "a.example", headers=b"X-V: " + name + b"\r\n")
        gate = self.hold(mx)
        node.command("resume", "*")
        until(lambda: len(mx.sessions) >= 4, "four sessions are open")
        gates = {node.command("why", f"a.example/{v}")["gate"] for v in ("one", "two")}
        self.assertIn("total_max_smtp_out", gates)
        gate.set()
        node.wait_records(40, "d", deadline_s=20)
        self.assertEqual(peak(mx.intervals()), 4)
        for source in ("127.0.0.2", "127.0.0.3"):
            sessions = [(s.opened, s.closed) for s in mx.sessions if s.peer[0] == source]
            self.assertLessEqual(peak(sessions), 3)
            self.assertGreater(len(sessions), 2, "neither starves")

    def two_domains(self, vmtas, settings=""):
        a, b = self.receiver(), self.receiver()
        node = self.node(f'''{vmtas}
domain "a.example" {{ smtp_hosts = "{a.at}", max_msg_per_connection = 2 }}
domain "b.example" {{ smtp_hosts = "{b.at}", max_msg_per_connection = 2 }}''', settings=settings, paused=True)
        self.fill(node, 15, "a.example", "b.example")
        return node, [a, b]

    def test_vmta_max_smtp_out(self):
        node, receivers = self.two_domains('vmta "default" { source = "any", max_smtp_out = 3 }')
        self.assert_peak(node, receivers, 3, 30, "vmta.max_smtp_out", "a.example/default")

    def test_pool_max_smtp_out(self):
        node, receivers = self.two_domains('vmta "m" { source = "any" }\npool "default" { "m", max_smtp_out = 3 }')
        self.assert_peak(node, receivers, 3, 30, "pool.max_smtp_out", "a.example/m")

    def test_node_max_smtp_out(self):
        node, receivers = self.two_domains("", settings="max_smtp_out = 3")
        self.assert_peak(node, receivers, 3, 30, "node.max_smtp_out", "a.example/default")

    def assert_one_at_a_time(self, mx, node, sessions):
        until(lambda: len(mx.sessions) >= sessions, lambda: f"{len(mx.sessions)} sessions", 20)
        self.assertEqual(peak([i for i in mx.intervals() if i[1] is not None]), 1, node.log[-500:])

    def test_the_cap_holds_for_a_receiver_that_takes_its_time_to_close(self):
        """It has refused us, and counts the connection until it has closed."""
        for stage, reply in [("MAIL", "421 4.7.0 go away"), ("connect", "421 4.7.0 go away"), ("connect", "554 no"), ("EHLO", "421 no"),
                             ("EHLO", "451 no")]:
            with self.subTest(stage=stage, reply=reply):
                mx = self.receiver(linger_s=0.2)
                mx.answer(stage, reply)
                hosts = ";".join([mx.at] * 3)
                node = self.node(f'domain "a.example" {{ smtp_hosts = "{hosts}", max_smtp_out = 1, max_attempts = 100 }}')
                self.fill(node, 5, "a.example")
                self.assert_one_at_a_time(mx, node, 3)

    def test_a_scarce_session_is_shared_and_nobody_starves(self):
        """Two queues that wait for one session of the virtual MTA are both served before either is empty."""
        node, (a, b) = self.two_domains('vmta "default" { source = "any", max_smtp_out = 1 }')
        node.command("resume", "*")
        node.wait_records(30, "d", deadline_s=20)
        order = [r["queue"] for r in node.records("d")]
        self.assertLess(order.index("a.example/default"), 15)
        self.assertLess(order.index("b.example/default"), 15)


harness.main()
