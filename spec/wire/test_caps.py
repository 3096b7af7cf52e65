# SPDX-License-Identifier: Apache-2.0
"""Caps that hold for more than one queue, of sessions, and by the rules of a receiver's replies; counted on the wire."""
import harness
import queues
from harness import max_in_window, now, peak, until
from queues import JITTER_S

PACED = True

SEEDS = '''
  { "421 RP-001", lasts = "8s", max_smtp_out = 5, max_msg_rate = "40/2s" },
  { "421 4\\\\.3\\\\.2", lasts = "4s", max_smtp_out = 2, max_msg_rate = "20/2s" },
'''


class Caps(queues.Case):
    sender = ""

    def setUp(self):
        super().setUp()
        self.first_in_line()

    # --- rates ---

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

    # --- by rules ---

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


harness.main()
