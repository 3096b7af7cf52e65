# SPDX-License-Identifier: Apache-2.0
"""Rates, watched on the wire by receivers that count in sliding windows: never exceeded, at least 90 % used, evenly paced."""
import harness
import queues
from harness import max_in_window, now, until
from queues import JITTER_S

PACED = True


class Limits(queues.Case):
    sender = ""

    def setUp(self):
        super().setUp()
        self.first_in_line()

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


harness.main()
