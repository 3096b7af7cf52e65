# SPDX-License-Identifier: Apache-2.0
"""Jobs on the wire: what is held for one of them alone; and that neither a large job nor a large queue starves the others."""
import harness
import queues
from harness import until


class Jobs(queues.Case):
    def jobs(self, settings="max_smtp_out = 1", **options):
        return self.one_queue("", settings, rest='''on.message(function(msg)
  msg.job = msg:header "X-Job"
  msg.priority = tonumber(msg:header "X-Priority" or 50)
end)''', **options)

    def test_a_paused_job_is_held_and_the_rest_goes_on(self):
        node = self.jobs()
        self.assertEqual(node.command("pause", "*", "--job", "bulk"), {"queues": 0, "recipients": 0})
        for job in (b"bulk", b"other"):
            self.fill(node, 5, headers=b"X-Job: " + job + b"\r\n")
        node.wait_records(5, "d")
        self.assertEqual({r["jobId"] for r in node.records("d")}, {"other"})
        queue = node.queue("a.example/default")
        self.assertEqual((queue["queued"], queue["ready"]), (5, 0))
        self.assertEqual(self.why(node)["gate"], "paused")
        node.stop()
        node = self.restart(node)
        self.fill(node, 1, headers=b"X-Job: other\r\n")
        node.wait_records(6, "d")
        self.assertEqual(node.queue("a.example/default")["queued"], 5)
        self.assertEqual(node.command("drop", "a.example/default", "--job", "other")["recipients"], 0)
        self.assertEqual(node.command("resume", "*", "--job", "nobody"), {"queues": 1, "recipients": 0})
        self.assertEqual(node.queue("a.example/default")["queued"], 5)
        self.assertEqual(node.command("resume", "*", "--job", "bulk"), {"queues": 1, "recipients": 5})
        node.wait_records(11, "d")

    def test_a_suspended_job_is_held_for_its_time(self):
        node = self.jobs()
        self.assertEqual(node.command("suspend", "*", "1h", "--job", "bulk"), {"queues": 0, "recipients": 0})
        for job in (b"bulk", b"other"):
            self.fill(node, 2, headers=b"X-Job: " + job + b"\r\n")
        node.wait_records(2, "d")
        until(lambda: self.why(node)["gate"] == "suspended", "the session has ended, and the job holds the queue")
        why = self.why(node)
        self.assertTrue(3500 < why["until"] <= 3600, why["until"])
        self.assertEqual(node.command("lift", "a.example/*", "--job", "bulk"), {"queues": 1, "recipients": 2})
        node.wait_records(4, "d")
        node.command("suspend", "*", "1s", "--job", "bulk")
        self.fill(node, 1, headers=b"X-Job: bulk\r\n")
        node.wait_records(5, "d")

    def test_pausing_a_job_that_is_ready_and_bouncing_it(self):
        node = self.jobs(paused=True)
        for job in (b"bulk", b"other"):
            self.fill(node, 5, headers=b"X-Job: " + job + b"\r\n")
        self.assertEqual(node.command("pause", "a.example/default", "--job", "bulk")["recipients"], 5)
        self.assertEqual(node.queue("a.example/default")["ready"], 5)
        self.assertEqual(node.command("bounce", "*", "--job", "bulk")["recipients"], 5)
        node.wait_records(5, "b")
        node.command("resume", "*")
        node.wait_records(5, "d")

    # --- fairness ---

    def test_urgent_mail_behind_a_large_job_leaves_within_the_next_slots(self):
        node = self.jobs(settings='max_smtp_out = 2, max_msg_rate = "100/2s"', paused=True)
        self.fill(node, 400, headers=b"X-Job: bulk\r\nX-Priority: 20\r\n")
        node.command("resume", "*")
        until(lambda: len(node.records("d")) > 20, "the bulk is under way")
        self.fill(node, 20, headers=b"X-Job: urgent\r\nX-Priority: 100\r\n")
        at = len(node.records("d"))
        until(lambda: sum(1 for r in node.records("d") if r["jobId"] == "urgent") == 20, "they have left", 20)
        order = [r["jobId"] for r in node.records("d")]
        last = max(i for i, job in enumerate(order) if job == "urgent")
        self.assertLess(last - at, 20 * 2, "of the next slots they have most")
        self.assertLess(len(order), 300, "long before the bulk is through")

    def test_a_shared_rate_starves_nobody(self):
        """One large queue and four small ones share a virtual MTA's message rate and its only session."""
        receivers = {name: self.receiver() for name in ("big", "s1", "s2", "s3", "s4")}
        hosts = "\n".join(f'domain "{name}.example" {{ smtp_hosts = "{mx.at}" }}' for name, mx in receivers.items())
        node = self.node(f'vmta "default" {{ source = "any", max_smtp_out = 2, max_msg_rate = "60/2s" }}\n{hosts}', paused=True)
        self.fill(node, 200, "big.example")
        for name in ("s1", "s2", "s3", "s4"):
            self.fill(node, 10, f"{name}.example")
        node.command("resume", "*")
        node.wait_records(240, "d", deadline_s=30)
        order = [r["queue"] for r in node.records("d")]
        for name in ("s1", "s2", "s3", "s4"):
            last = max(i for i, q in enumerate(order) if q.startswith(name))
            self.assertLess(last, 200, f"{name} did not wait for the large one")


harness.main()
