# SPDX-License-Identifier: Apache-2.0
"""Reactions on the wire: what a receiver's reply does to the queue, for how long, and how it ends."""
import harness
import queues
from harness import now, until


class Reactions(queues.Case):
    # --- overlays ---

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

    def test_a_percent_cuts_once_a_wave_and_recovers_in_steps(self):
        node = self.one_queue('{ "rate limit", lasts = "2s", max_smtp_out = "50%", recover = "+2/1s" },',
                              "max_smtp_out = 8, retry_recipients_after = 1", paused=True)
        # Eight sessions that were open get one 421 each: one cut.
        refused, began = set(), []

        def once(event):
            began.append(harness.now())
            if event.session.opened <= began[0] and id(event.session) not in refused:
                refused.add(id(event.session))
                return "421 4.7.0 rate limit"
            return None
        self.mx.answer("DATA", once)
        self.fill(node, 40)
        node.command("resume", "*")
        until(lambda: self.why(node)["overlays"], "it is cut")
        cap = lambda: next(g for g in self.why(node)["gates"] if g["gate"] == "max_smtp_out")["limit"]
        seen = []

        def recovered():
            if not seen or seen[-1] != cap():
                seen.append(cap())
            return not self.why(node)["overlays"]
        until(recovered, lambda: f"it recovers; {seen}", 12)
        recovered()                             # the last step may have come between the two questions
        self.assertEqual(seen[0], 4, "half, once")
        self.assertEqual(seen[-1], 8)
        self.assertIn(6, seen)
        self.assertEqual(seen, sorted(seen))
        node.wait_records(40, "d")

    def test_a_threshold_counts_over_its_window(self):
        node = self.one_queue('{ "TSS05", after = "3/10s", lasts = "30s", max_smtp_out = 1 },', "retry_recipients_after = 1")
        self.mx.answer("RCPT", "451 4.7.0 [TSS05]", times=2)
        self.fill(node, 1)
        node.wait_records(1, "d")
        self.assertEqual(len(node.records("t")), 2)
        self.assertEqual(node.command("queues", "a.example/*")[0]["mode"], "normal")
        self.mx.answer("RCPT", "451 4.7.0 [TSS05]", times=1)
        self.fill(node, 1)
        until(lambda: self.overlay(node, "TSS05"), "the third lays it")

    def test_recipient_scope_is_a_floor_of_that_recipient_only(self):
        node = self.one_queue('{ "mailbox full", retry_recipients_after = "3s", scope = "recipient" },', "retry_recipients_after = 1")
        self.mx.answer("RCPT", "452 4.2.2 mailbox full", times=1, when=lambda e: "u0.0" in e.line)
        self.mx.answer("RCPT", "450 4.2.1 busy", times=1, when=lambda e: "u0.1" in e.line)
        self.fill(node, 1, rcpts=2)
        node.wait_records(2, "d")
        tries = lambda who: [at for at, line in self.mx.attempts if who in line]
        slow, quick = tries("u0.0"), tries("u0.1")
        self.assertGreater(slow[1] - slow[0], 2.9)
        self.assertLess(quick[1] - quick[0], 2.5)
        self.assertEqual(self.why(node)["overlays"], [])

    def test_recipient_scope_keeps_its_floor_past_hosts_that_do_not_answer(self):
        first, second = self.receiver(), self.receiver()
        first.answer("RCPT", "452 4.2.2 mailbox full", times=1)
        node = self.one_queue('{ "mailbox full", retry_recipients_after = "4s", scope = "recipient", skip_mx = true },',
                              "retry_recipients_after = 1, retry_after = 1", receivers=[first, second])
        second.stop()
        self.fill(node, 1)
        node.wait_records(1, "d")
        tries = [at for at, _ in first.attempts]
        self.assertGreater(tries[1] - tries[0], 3.9)

    def test_retry_settings_are_tightened_as_well(self):
        node = self.one_queue('{ "slow down", lasts = "1m", retry_recipients_after = "3s", max_msg_per_connection = 1 },',
                              "retry_recipients_after = 1, max_smtp_out = 1")
        self.mx.answer("RCPT", "450 4.7.1 slow down", times=1)
        self.fill(node, 5)
        node.wait_records(5, "d")
        first = [at for at, line in self.mx.attempts if "u0.0" in line]
        self.assertGreater(first[1] - first[0], 2.9)
        self.assertEqual([s.messages for s in self.mx.sessions[1:]], [1] * (len(self.mx.sessions) - 1), "one message a connection")

    # --- scopes ---

    def two_domains(self, rules):
        self.a, self.b = self.receiver(), self.receiver()
        return self.node(f'''
vmta "one" {{ source = "127.0.0.2" }}
vmta "two" {{ source = "127.0.0.3" }}
pool "default" {{ "one", "two" }}
on.message(function(msg) msg.vmta = msg:header "X-V" end)
domain "*" {{ retry_jitter = "0%", retry_recipients_after = 1, backoff = {{ {rules} }} }}
domain "a.example" {{ smtp_hosts = "{self.a.at}" }}
domain "b.example" {{ smtp_hosts = "{self.b.at}" }}''', paused=True)

    def test_a_sites_overlay_tightens_its_total_and_holds_all_its_queues(self):
        node = self.two_domains('{ "busy", scope = "site", lasts = "30s", max_smtp_out = 1, retry_recipients_after = "2s" },')
        for v in (b"one", b"two"):
            self.fill(node, 10, headers=b"X-V: " + v + b"\r\n")
        self.fill(node, 5, "b.example", headers=b"X-V: one\r\n")
        self.a.answer("RCPT", "450 4.7.1 busy", times=1)
        node.command("resume", "*")
        until(lambda: self.overlay(node, "busy", "a.example/one"), "it lies on the site")
        for queue in ("a.example/one", "a.example/two"):
            gate = next(g for g in self.why(node, queue)["gates"] if g["gate"] == "total_max_smtp_out")
            self.assertEqual(gate["limit"], 1)
            self.assertEqual(self.overlay(node, "busy", queue)["scope"], "site")
        self.assertEqual(self.why(node, "b.example/one")["overlays"], [])
        node.wait_records(25, "d", deadline_s=20)

    def test_a_percent_of_nothing_lays_nothing_and_is_told_once(self):
        node = self.one_queue('{ "421 a", lasts = "1h", scope = "site", max_smtp_out = "50%" }', "retry_recipients_after = 1")
        self.mx.answer("MAIL", "421 a", times=2)
        self.fill(node, 1)
        node.wait_records(1, "d")
        self.assertEqual(self.why(node)["overlays"], [])
        self.assertEqual(node.log.count("lays nothing"), 1, node.log)

    def test_a_virtual_mtas_overlay_tightens_it_everywhere(self):
        node = self.two_domains('{ "your address", scope = "vmta", lasts = "2s", suspend = true, max_msg_rate = "10/1s" },')
        for domain in ("a.example", "b.example"):
            for v in (b"one", b"two"):
                self.fill(node, 3, domain, headers=b"X-V: " + v + b"\r\n")
        self.a.answer("RCPT", "450 4.7.1 your address is bad", times=1, when=lambda e: e.session.peer[0] == "127.0.0.2")
        node.command("resume", "a.example/one")
        until(lambda: self.overlay(node, "your address", "b.example/one"), "it lies on the other queue of that virtual MTA too")
        node.command("resume", "*")
        self.assertEqual(self.why(node, "b.example/one")["gate"], "suspended")
        self.assertEqual(next(g for g in self.why(node, "b.example/one")["gates"] if g["gate"] == "vmta.max_msg_rate")["limit"], "10/s")
        self.assertEqual(self.why(node, "b.example/two")["overlays"], [])
        node.wait_records(12, "d")
        self.assertEqual({s.peer[0] for s in self.b.sessions}, {"127.0.0.2", "127.0.0.3"})

    # --- what happens to the recipient and the session ---

    def test_bounce_recipient_bounces_a_4xx(self):
        node = self.one_queue('{ "over quota", bounce = "recipient" },')
        self.mx.answer("RCPT", "452 4.2.2 over quota", when=lambda e: "u0.0" in e.line)
        self.fill(node, 2)
        record, = node.wait_records(1, "b")
        self.assertEqual((record["rcpt"], record["dsnDiag"]), ("u0.0@a.example", "smtp;452 4.2.2 over quota"))
        node.wait_records(1, "d")

    def test_bounce_queue_bounces_all_that_wait(self):
        node = self.one_queue('{ "no such domain here", bounce = "queue" },', "max_smtp_out = 1", paused=True)
        self.mx.answer("RCPT", "550 5.1.2 no such domain here")
        self.fill(node, 8)
        node.command("resume", "*")
        records = node.wait_records(8, "b")
        self.assertEqual({r["dsnDiag"] for r in records if r["queue"] == "a.example/default"}, {"smtp;550 5.1.2 no such domain here"})
        self.assertEqual(len(self.mx.attempts), 1, "one reply for all of them")

    def test_skip_mx_goes_to_the_next_host_even_for_a_5xx(self):
        first, second = self.receiver(), self.receiver()
        first.answer("RCPT", "550 5.7.1 not by this host")
        node = self.one_queue('{ "not by this host", skip_mx = true },', "retry_recipients_after = 1", receivers=[first, second])
        self.fill(node, 2, rcpts=2)
        node.wait_records(4, "d")
        self.assertEqual(sorted(second.recipients()), ["u0.0@a.example", "u0.1@a.example", "u1.0@a.example", "u1.1@a.example"])
        self.assertEqual(node.records("b", "t"), [])

    def test_skip_mx_without_a_further_host_defers(self):
        node = self.one_queue('{ "not by this host", skip_mx = true },', "retry_recipients_after = 1")
        self.mx.answer("RCPT", "550 5.7.1 not by this host", times=1)
        self.fill(node, 1)
        node.wait_records(1, "d")
        self.assertEqual(([r["dsnDiag"] for r in node.records("t")], node.records("b")), (["smtp;550 5.7.1 not by this host"], []))

    def test_close_ends_the_session_after_this_reply(self):
        node = self.one_queue('{ "go away", close = true },', "max_smtp_out = 1", paused=True)
        self.mx.answer("RCPT", "550 5.1.1 go away", when=lambda e: "u0.0" in e.line)
        self.fill(node, 3)
        node.command("resume", "*")
        node.wait_records(2, "d")
        self.assertEqual([s.messages for s in self.mx.sessions], [0, 2])

    def test_defer_puts_the_queue_into_retry_and_steps(self):
        node = self.one_queue('{ "come back later", defer = true },', "max_smtp_out = 1, retry_after = { 1, 3 }, retry_recipients_after = 1")
        self.mx.answer("RCPT", "450 4.7.1 come back later", times=2)
        self.fill(node, 3)
        until(lambda: self.why(node)["gate"] == "retry_after", "it is in retry")
        node.wait_records(3, "d", deadline_s=15)
        opened = self.mx.connected_at()
        self.assertGreater(opened[1] - opened[0], 0.95)
        self.assertGreater(opened[2] - opened[1], 2.95, "the second failure in a row waits longer")
        self.assertGreaterEqual(len(node.records("tq")), 2)

    def test_a_name_that_cannot_be_looked_up_is_a_local_failure(self):
        """The resolver does not answer; the rule's `defer` is told of the failure that it makes itself."""
        node = self.node('''domain "*" { retry_jitter = "0%", retry_after_dns_error = 2, retry_after = 2,
backoff = { { at = "connect", "^400 ", name = "dns", lasts = "1m", retry_after_dns_error = "5s", defer = true } } }''')
        self.fill(node, 1, "nowhere.example")
        until(lambda: self.overlay(node, "dns", "nowhere.example/default"), "it lies there", 20)
        self.assertEqual(self.overlay(node, "dns", "nowhere.example/default")["changes"], {"retry_after_dns_error": 5})

    def test_connect_rules_see_local_failures_and_greetings(self):
        mx = self.receiver()
        mx.answer("connect", "421 4.7.0 too many connections", times=1)
        node = self.one_queue('''{ at = "connect", "^400 .*[Rr]efused", name = "refused", lasts = "30s", max_smtp_out = 7 },
            { at = "connect", "too many connections", name = "many", lasts = "30s", max_smtp_out = 9 },
            { "[Rr]efused", name = "any stage", lasts = "30s", max_smtp_out = 3 },''', "retry_after = 1", receivers=[mx])
        self.fill(node, 1)
        node.wait_records(1, "d")
        self.fill(node, 1)
        node.wait_records(2, "d")
        self.assertTrue(self.overlay(node, "many"))
        mx.stop()
        self.fill(node, 1)
        until(lambda: self.overlay(node, "refused"), lambda: f"a refused connection is a reply; {self.why(node)}")
        self.assertIsNone(self.overlay(node, "any stage"), "rules without `at` see no failures of our own")

    def test_a_receivers_own_400_is_no_failure_of_ours(self):
        node = self.one_queue('''{ at = "connect", "odd", name = "local", lasts = "30s", max_smtp_out = 9 },
            { "odd", name = "any", lasts = "30s", max_smtp_out = 8 }, { at = "rcpt", "odd", name = "rcpt", lasts = "30s", max_smtp_out = 7 },''')
        self.mx.answer("RCPT", "400 4.4.2 odd", times=1)
        self.fill(node, 1)
        node.wait_records(1, "t")
        self.assertEqual(sorted(o["name"] for o in self.why(node)["overlays"]), ["any", "rcpt"])

    def test_stop_inherit_and_notify(self):
        mx = self.mx = self.receiver()
        mx.answer("RCPT", "450 4.7.1 first second third", times=1)
        node = self.node(f'''
domain "a.example" {{ smtp_hosts = "{mx.at}", retry_recipients_after = 1, backoff = {{ inherit = true,
  {{ "first", lasts = "30s", max_smtp_out = 9, notify = true }} }} }}
domain "*" {{ backoff = {{ {{ "second", lasts = "30s", max_smtp_out = 8, stop = true }},
  {{ "third", lasts = "30s", max_smtp_out = 7 }} }} }}''')
        self.fill(node, 1)
        node.wait_records(1, "t")
        self.assertEqual([o["name"] for o in self.why(node)["overlays"]], ["first", "second"])
        self.assertRegex(node.log, r'warning.*a\.example/default.*"first" .*policy\.lua:\d+.*450 4\.7\.1 first second third')

    def test_stop_under_its_threshold_lets_the_rules_behind_it_apply(self):
        node = self.one_queue('''{ "421 a", name = "many", after = "2/1h", lasts = "30s", max_smtp_out = 3, stop = true },
            { "421 (a|b)", name = "one", lasts = "30s", max_smtp_out = 7 }, { "421 a", name = "last", after = "2/1h", lasts = "30s", max_smtp_out = 5 }''',
                              "retry_recipients_after = 1, max_smtp_out = 9")
        self.mx.answer("MAIL", "421 a", times=2)
        self.fill(node, 1)
        node.wait_records(1, "d")
        self.assertEqual(sorted(o["name"] for o in self.why(node)["overlays"]), ["many", "one"], "the first time the one, then the other, and no more")

    def test_a_function_decides_by_itself(self):
        node = self.one_queue('''{ "S3140", function(reply, queue)
    assert(reply.code == 451 and reply.enhanced == "4.7.650" and reply.stage == "rcpt" and reply.line == "451 4.7.650 S3140 x")
    assert(queue:recent("S3140", "1h") >= 1)
    if queue:recent("S3140", "1h") == 1 then queue:limit { max_smtp_out = 3, lasts = "30m" } end
    if queue:recent("S3140", "1h") == 2 then queue:lift() queue:suspend "2s" end
  end },''', "retry_recipients_after = 1")
        self.mx.answer("RCPT", "451 4.7.650 S3140 x", times=2)
        self.fill(node, 1)
        until(lambda: self.overlay(node, "S3140"), lambda: f"it limits; {node.log[-1500:]}")
        first = self.overlay(node, "S3140")
        self.assertEqual(first["changes"], {"max_smtp_out": 3})
        self.assertRegex(first["declared_at"], r"policy\.lua:\d+$")
        until(lambda: self.why(node)["gate"] == "suspended", lambda: f"it suspends; {node.log[-1500:]}")
        self.assertEqual([o["changes"] for o in self.why(node)["overlays"]], [{"suspend": True}])
        node.wait_records(1, "d")

    def test_outbound_hooks(self):
        node = self.one_queue("", "retry_recipients_after = 1", rest='''
local seen = {}
on.reply(function(reply, queue) if reply.line:find "later" then queue:limit { max_smtp_out = 2, lasts = "1m" } end end)
on.delivered(function(attempt) log("delivered " .. attempt.recipient .. " by " .. attempt.queue) end)
on.bounced(function(attempt) log("bounced " .. attempt.recipient .. " " .. attempt.reply.line) end)
on.every("1s", function() log "tick" end)
'''.replace("log(", "error(").replace('log "', 'error "'))
        self.mx.answer("RCPT", "450 4.7.1 later", times=1, when=lambda e: "u0.0" in e.line)
        self.mx.answer("RCPT", "550 5.1.1 nobody", when=lambda e: "u1.0" in e.line)
        self.fill(node, 2)
        node.wait_records(1, "d")
        node.wait_records(1, "b")
        # An error is the only voice that a hook has; it changes nothing else.
        until(lambda: "delivered u0.0@a.example by a.example/default" in node.log, lambda: node.log[-2000:])
        until(lambda: "bounced u1.0@a.example 550 5.1.1 nobody" in node.log, lambda: node.log[-2000:])
        until(lambda: node.log.count("tick") >= 2, "every second", 5)

    # --- other ways ---

    def test_reroute_sends_by_the_other_virtual_mta_and_comes_back(self):
        node = self.one_queue('{ "spamhaus", lasts = "4s", reroute = "clean" },', "max_smtp_out = 1, retry_recipients_after = 1", paused=True,
                              rest='''
vmta "default" { source = "127.0.0.2" }
vmta "c1" { source = "127.0.0.3" }
vmta "c2" { source = "127.0.0.4" }
pool "clean" { "c1", "c2" }''')
        self.mx.answer("RCPT", "550 5.7.1 blocked by spamhaus", times=1)
        self.fill(node, 20)
        node.command("resume", "*")
        node.wait_records(20, "d")
        self.assertEqual(node.records("b"), [], "a 5xx that is rerouted does not bounce")
        by = {}
        for s in self.mx.sessions:
            by[s.peer[0]] = by.get(s.peer[0], 0) + s.messages
        self.assertEqual((by["127.0.0.2"], by["127.0.0.3"] + by["127.0.0.4"]), (0, 20))
        self.assertGreater(min(by["127.0.0.3"], by["127.0.0.4"]), 0, "both members of the pool")
        self.assertEqual({r["vmta"] for r in node.records("d")}, {"c1", "c2"})
        # What waits elsewhere when it ends comes back.
        node.command("pause", "a.example/c*")
        self.fill(node, 6)
        until(lambda: sum(q["queued"] for q in node.command("queues", "a.example/c*")) == 6, "they wait by the others")
        node.wait_records(26, "d")
        self.assertEqual({r["vmta"] for r in node.records("d")[20:]}, {"default"})

    def test_disable_source_leaves_one_address_out_and_then_holds(self):
        node = self.one_queue('{ "your ip", lasts = "4s", disable_source = true },', "max_smtp_out = 2, retry_recipients_after = 1",
                              rest='vmta "default" { source = { "127.0.0.2", "127.0.0.3" } }', paused=True)
        self.mx.answer("MAIL", "421 4.7.0 your ip is bad", times=1, when=lambda e: e.session.peer[0] == "127.0.0.2")
        self.fill(node, 10)
        node.command("resume", "*")
        node.wait_records(10, "d")
        n = 10

        def refused():
            return next((at for s in self.mx.sessions for at, line in s.commands
                         if s.peer[0] == "127.0.0.2" and line.startswith("MAIL")), None)
        while refused() is None:        # the other one was quicker, and took it all
            self.fill(node, 5)
            n += 5
            node.wait_records(n, "d")
        off = refused()
        self.assertEqual([s for s in self.mx.sessions if s.peer[0] == "127.0.0.2" and s.opened > off + 0.2], [])
        self.assertEqual(self.overlay(node, "your ip")["changes"], {"disable_source": "127.0.0.2"})
        self.mx.answer("MAIL", "421 4.7.0 your ip is bad", times=1, when=lambda e: e.session.peer[0] == "127.0.0.3")
        self.fill(node, 5)
        until(lambda: self.why(node)["gate"] == "source_disabled", lambda: f"none is left; {self.why(node)}")
        why = self.why(node)
        self.assertLess(why["until"], 4)
        self.assertRegex(why["declared_at"], r"policy\.lua:\d+$")
        node.wait_records(n + 5, "d", deadline_s=15)

    # --- by hand, and across restarts ---

    def test_overlays_and_counts_survive_a_restart_and_a_crash(self):
        rules = '''{ "421 RP-001", lasts = "10m", max_smtp_out = 5, suspend = true, reroute = "other" },
            { "TSS05", after = "2/1h", lasts = "1h", max_smtp_out = 4 },'''
        node = self.one_queue(rules, "retry_recipients_after = 600", rest='vmta "default" { source = "any" }\nvmta "other" { source = "any" }')
        self.mx.answer("RCPT", "450 4.7.0 TSS05", times=1)
        self.fill(node, 1)
        node.wait_records(1, "t")
        self.mx.answer("RCPT", "421 RP-001 wait", times=1)
        node.command("pause", "a.example/other")
        self.fill(node, 1)
        until(lambda: self.overlay(node, "421 RP-001"), "it lies there")
        before = self.overlay(node, "421 RP-001")
        for end in (node.stop, None):
            if end:
                end()
            else:
                until(lambda: node.command("status")["uptime"] > 1.5, "a checkpoint was written")
                node.kill()
            node = self.restart(node)
            after = self.overlay(node, "421 RP-001")
            self.assertEqual({k: after[k] for k in ("name", "pattern", "reply", "changes", "declared_at")},
                             {k: before[k] for k in ("name", "pattern", "reply", "changes", "declared_at")})
            self.assertLess(after["until"], before["until"])
            self.assertGreaterEqual(after["since"], before["since"])
        # The first match of the threshold was two processes ago.
        node.command("lift", "a.example/default", "421 RP-001")
        self.mx.answer("RCPT", "450 4.7.0 TSS05", times=1)
        self.fill(node, 1)
        until(lambda: self.overlay(node, "TSS05"), lambda: f"the count goes on; {self.why(node)}")

    def test_lift_takes_away_one_or_all(self):
        node = self.one_queue('''{ "one", lasts = "1h", max_smtp_out = 5 }, { "two", lasts = "forever", max_smtp_out = 4 },
            { "two", name = "three", scope = "site", lasts = "1h", max_smtp_out = 3 },''', "retry_recipients_after = 600")
        self.mx.answer("RCPT", "450 4.7.1 one two", times=1)
        self.fill(node, 1)
        until(lambda: len(self.why(node)["overlays"]) == 3, "all lie there")
        self.assertEqual(self.overlay(node, "two")["until"], None)
        self.assertEqual(node.command("lift", "a.example/*", "one"), {"queues": 1, "recipients": 1})
        self.assertEqual({o["name"] for o in self.why(node)["overlays"]}, {"two", "three"})
        self.assertEqual(node.command("lift", "*", "nobody"), {"queues": 0, "recipients": 0})
        node.command("lift", "a.example/default")
        self.assertEqual(self.why(node)["overlays"], [])
        self.assertEqual(next(g for g in self.why(node)["gates"] if g["gate"] == "max_smtp_out")["limit"], 20)

    def test_suspend_by_hand_holds_what_comes_later_and_ends_by_itself(self):
        node = self.one_queue("")
        self.assertEqual(node.command("suspend", "a.example/*", "3s"), {"queues": 0, "recipients": 0})
        self.fill(node, 2)
        until(lambda: self.why(node)["gate"] == "suspended", "it is held")
        why = self.why(node)
        self.assertEqual((why["declared_at"], why["overlays"][0]["name"], why["overlays"][0]["pattern"]), (None, "by hand", None))
        self.assertEqual(len(self.mx.sessions), 0)
        node.wait_records(2, "d")
        node.command("suspend", "a.example/default", "1h")
        self.fill(node, 1)
        until(lambda: self.why(node)["gate"] == "suspended", "it is held again")
        node.command("lift", "a.example/default", "by hand")
        node.wait_records(3, "d")
        done = harness.command("suspend", "a.example/default", "soon", "--control", node.control)
        self.assertEqual(done.returncode, 1)
        self.assertIn("suspend", done.stderr)


harness.main()
