# SPDX-License-Identifier: Apache-2.0
"""Settings that only a running node can show: of node, listener, queue, and what a reply at each stage means."""
import json
import os
import signal
import socket
import threading

import harness
from client import Client
from harness import command, free_port, max_in_window, now, until
from receiver import CLOSE, EXTENSIONS, HANG, Receiver

RELAY = 'relay_from = { "127.0.0.0/8" }'
VMTA = 'vmta "default" { source = "any" }\n'
JITTER_S = 0.05 * harness.SLOW


class Settings(harness.Case):
    def receiver(self, **options):
        mx = Receiver(**options)
        self.addCleanup(mx.stop)
        return mx

    def domains(self, receivers, settings=None, **options):
        """A node with a domain for each receiver by name, each with its settings."""
        return self.node("\n".join(f'domain "{name}.example" {{ smtp_hosts = "{mx.at}", {(settings or {}).get(name, "")} }}'
                                   for name, mx in receivers.items()), **options)


class OfTheNode(Settings):
    def test_a_policy_alone_says_where_everything_is(self):
        """No option: spool, control socket, accounting and its records, resolver; from a working folder that is another."""
        mx, port = self.receiver(), free_port()
        names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(names.close)
        names.bind(("127.0.0.1", 0))
        names.settimeout(10 * harness.SLOW)
        policy = self.write("policy.lua", f'''node {{ hostname = "node.example", min_free_space = 0, spool = "kept", resolver = "127.0.0.1:{names.getsockname()[1]}",
  accounting = {{ file = "lines.csv", records = {{ "d" }} }} }}
listener "127.0.0.1:{port}" {{ {RELAY} }}
domain "a.example" {{ smtp_hosts = "{mx.at}" }}
{VMTA}''')
        node = self.keep(harness.Process([harness.SLUICE, "run", policy], self.path("node.log")))
        until(lambda: "\nready\n" in node.log, lambda: node.log)
        node.port = port
        for to in ("u@a.example", "u@asked.example"):
            self.assertEqual(self.send(node, to=to).code, 250)
        self.assertIn(b"\x05asked\x07example", names.recv(1000).lower(), "the resolver that the policy names")
        until(lambda: mx.messages, "it arrives")
        done = command("status", "--json", "--control", self.path("kept", "control.sock"))
        self.assertEqual(json.loads(done.stdout)["received"], 2, done.stderr)
        node.signal(signal.SIGINT)
        self.assertEqual(node.wait(), 0, "SIGINT is an orderly end, too")
        with open(self.path("lines.csv"), encoding="utf-8") as file:
            self.assertEqual([line.split(",")[0] for line in file], ["type", "d"], "received is not asked for")

    def test_max_smtp_in_is_over_all_listeners(self):
        ports = [free_port() for _ in range(2)]
        listeners = "\n".join(f'listener "127.0.0.1:{port}" {{ {RELAY} }}' for port in ports)
        self.node(f'node {{ hostname = "node.example", max_smtp_in = 2 }}\n{listeners}\n', port=ports[0])
        with Client(ports[0]), Client(ports[1]) as second:
            for port in ports:
                with Client(port, ehlo=None) as third:
                    self.assertEqual(third.greeting.code, 421)
            second.command("QUIT")
            second.closed()

            def free_again():
                with Client(ports[0], ehlo=None) as c:
                    return c.greeting.code == 220
            until(free_again, "a freed one is given again")

    def test_memory_limit_refuses_new_mail_and_lets_go_what_is_there(self):
        mx = self.receiver()
        node = self.domains({"a": mx}, {"a": "paused = true"})
        self.send(node, to="u@a.example")
        node.stop()
        node = self.restart(node, change=('min_free_space = "4M",', 'min_free_space = "4M", memory_limit = "1M",'))
        self.send(node, to="u@a.example")

        def refused():
            with Client(node.port) as c:
                reply = c.command("MAIL FROM:<a@sender.example>")
                return (reply.code, reply.enhanced) == (452, "4.3.2")
        until(refused, "new mail is refused")
        # Each shard looks each second; the first one says it.
        until(lambda: "memory_limit is reached" in node.log, "it is told")
        self.assertIn("memory_limit", node.status()["refusing"])
        node.stop()
        node = self.restart(node, change=("paused = true", "paused = false"))
        node.wait_records(1, "d")

    def test_user_is_who_the_node_becomes_once_its_ports_are_bound(self):
        if os.geteuid() != 0 or os.environ.get(harness.NAMESPACE) in (None, "user"):
            self.skipTest("root and a network of its own are needed")
        import pwd
        nobody = pwd.getpwnam("nobody")
        folder = self.path("owned")
        os.mkdir(folder)
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        mx = self.receiver()
        node = self.start(f'node {{ hostname = "node.example", min_free_space = 0, user = "nobody" }}\n'
                          f'listener "127.0.0.1:587" {{ {RELAY} }}\n{VMTA}domain "*" {{ smtp_hosts = "{mx.at}" }}\n', 587, folder=folder)
        with open(f"/proc/{node.popen.pid}/status", encoding="ascii") as status:
            ids = {line.split()[0]: set(line.split()[1:]) for line in status if line.startswith(("Uid", "Gid"))}
        self.assertEqual(ids, {"Uid:": {str(nobody.pw_uid)}, "Gid:": {str(nobody.pw_gid)}})
        self.assertEqual(os.stat(node.spool).st_uid, nobody.pw_uid)
        self.send(node)
        node.wait_records(1, "d")

    def test_equal_seeds_give_hooks_equal_numbers(self):
        def drawn(seed):
            node = self.node("on.rcpt(function() return reject('450 4.2.1 ' .. math.random(1e9)) end)", settings=seed,
                             options=["--workers", "1"])      # of several each has numbers of its own
            with Client(node.port) as c:
                texts = [r.text for r in c.envelope("a@sender.example", ["u@a.example", "v@a.example"])[1:]]
            node.stop()
            return texts
        self.assertEqual(drawn("seed = 7"), drawn("seed = 7"))
        self.assertNotEqual(drawn("seed = 8"), drawn("seed = 7"))
        self.assertNotEqual(drawn(""), drawn(""))

    def test_status_counts_what_is_open_and_what_waits(self):
        held, later = self.receiver(), self.receiver()
        let_go = threading.Event()
        self.addCleanup(let_go.set)
        held.answer("RCPT", lambda event: let_go.wait(20 * harness.SLOW) and None)
        later.answer("RCPT", "450 4.2.1 later")
        node = self.domains({"held": held, "later": later}, {"later": 'idle_timeout = "1s"'})
        with Client(node.port) as c:
            for name in ("held", "later"):
                c.message("", [f"u@{name}.example"], b"Subject: x\r\n\r\n")
            node.wait_records(1, "t")
            keys = ("queued", "deferred", "sessions_in", "received", "delivered", "bounced")
            self.assertEqual([node.status()[k] for k in keys], [2, 1, 1, 2, 0, 0])
            until(lambda: node.status()["sessions_out"] == 1, "one waits, the other is over")
        node.command("bounce", "later.example/*")
        until(lambda: (node.status()["bounced"], node.status()["sessions_in"]) == (1, 0), lambda: node.status())
        let_go.set()
        node.wait_records(1, "d")


class OfAListener(Settings):
    def test_each_listener_has_a_name_and_clients_of_its_own(self):
        ports, mx = [free_port() for _ in range(2)], self.receiver()
        node = self.node(f'''listener "127.0.0.1:{ports[0]}" {{ {RELAY}, hostname = "front.example" }}
listener "127.0.0.1:{ports[1]}" {{ relay_to = {{ "local.example" }} }}
domain "*" {{ smtp_hosts = "{mx.at}" }}
''', port=ports[0])
        with Client(ports[1]) as c:
            self.assertIn("node.example", c.greeting.text)
            self.assertEqual([r.code for r in c.envelope("a@b.example", ["u@local.example", "u@other.example"])], [250, 250, 550])
        with Client(ports[0]) as c:
            self.assertIn("front.example", c.greeting.text)
        self.send(node)
        until(lambda: mx.messages, "it arrives")
        self.assertRegex(mx.messages[0].headers, rb"\sby front\.example\b")
        self.assertEqual(mx.sessions[0].helo, "node.example", "outbound it is the virtual MTA's")


    def test_each_timeout_is_for_its_own(self):
        for short, body in [("data_timeout", True), ("command_timeout", False)]:
            node = self.node(listener=", ".join(f'{t} = "{"1s" if t == short else "1h"}"' for t in ("data_timeout", "command_timeout")))
            with self.subTest(short), Client(node.port) as talking, Client(node.port) as sending:
                sending.envelope("a@b.example", ["u@a.example"])
                self.assertEqual(sending.command("DATA").code, 354)
                hit, other = (sending, talking) if body else (talking, sending)
                self.assertEqual(hit.reply().enhanced, "4.4.2")
                other.socket.settimeout(0.5)
                self.assertFalse(other.closed(), "the other goes on")


class OfAPool(Settings):
    def picked(self, seed):
        mx = self.receiver()
        node = self.node(f'''vmta "one" {{ source = "127.0.0.2" }}
vmta "two" {{ source = "127.0.0.3" }}
pool "default" {{ "one", {{ "two", weight = 3 }} }}
pool "other" {{ "one" }}
on.message(function(msg) msg.pool = msg:header "X-P" end)
domain "*" {{ smtp_hosts = "{mx.at}", idle_timeout = 0.1 }}''', settings=f"seed = {seed}, workers = 1")
        with Client(node.port) as c:
            for i, pool in enumerate(["default"] * 40 + ["other"]):
                self.assertEqual(c.message("", [f"u{i:02}@a.example"], f"X-P: {pool}\r\n\r\n".encode()).code, 250)
        records = sorted(node.wait_records(41, "d"), key=lambda r: r["rcpt"])
        node.stop()
        return [(r["vmtaPool"], r["queue"]) for r in records]

    def test_members_are_picked_by_weight_and_one_in_two_pools_has_one_queue(self):
        picks = self.picked(1)
        self.assertEqual(set(picks), {("default", "a.example/one"), ("default", "a.example/two"), ("other", "a.example/one")})
        self.assertTrue(20 < picks.count(("default", "a.example/two")) < 38, picks)
        self.assertEqual(picks, self.picked(1), "equal seeds pick alike")


class OfAQueue(Settings):
    def test_each_timeout_is_of_its_stage_alone(self):
        stages = {"connect": "greeting_timeout", "EHLO": "command_timeout", "MAIL": "command_timeout", "RCPT": "command_timeout",
                  "DATA": "data_timeout", ".": "final_timeout"}
        receivers, settings = {}, {}
        for i, (stage, short) in enumerate(stages.items()):
            mx = receivers[f"d{i}"] = self.receiver()
            mx.answer(stage, HANG)
            settings[f"d{i}"] = ", ".join(f'{t} = "{"1s" if t == short else "1h"}"' for t in
                                          ("greeting_timeout", "command_timeout", "data_timeout", "final_timeout"))
        node = self.domains(receivers, settings)
        for name in receivers:
            self.send(node, to=f"u@{name}.example")
        for record in node.wait_records(len(stages), "t", "tq"):
            self.assertIn("timed out", record["dsnDiag"])

    def test_what_a_reply_at_each_stage_means(self):
        """4xx and 5xx: before MAIL they are the connection's, later the recipient's; a session goes on after them."""
        cases = {f"{'tf'[code == '5']}{i}": (stage, code) for i, stage in enumerate(["connect", "EHLO", "MAIL", "RCPT", "DATA", "."]) for code in "45"}
        receivers = {name: self.receiver() for name in cases}
        for name, (stage, code) in cases.items():
            receivers[name].answer(stage, f"{code}50 {code}.7.1 because")
            if stage == "EHLO":
                receivers[name].answer("HELO", f"{code}50 {code}.7.1 because")
        node = self.domains(receivers, {name: 'retry_after = "1h", retry_recipients_after = "1h", max_smtp_out = 1' for name in cases}, paused=True)
        for name in cases:
            for who in "uv":
                self.send(node, to=f"{who}@{name}.example", sender="")
        node.command("resume", "*")
        node.wait_records(4 + 16, "t", "tq", "b")
        for name, (stage, code) in cases.items():
            with self.subTest(stage=stage, code=code):
                records = [r for r in node.records("t", "tq", "b") if r["queue"] == f"{name}.example/default"]
                early = stage in ("connect", "EHLO")
                self.assertEqual({r["type"] for r in records}, {"tq" if early else "t" if code == "4" else "b"})
                self.assertIn(f"{code}50 {code}.7.1 because", records[0]["dsnDiag"])
                if early:
                    self.assertEqual(node.queue(f"{name}.example/default")["gate"], "retry_after")
                else:
                    self.assertEqual((len(records), len(receivers[name].sessions)), (2, 1))

    def test_a_421_ends_the_session_at_each_stage_but_only_that(self):
        receivers = {f"d{i}": self.receiver() for i in range(4)}
        for mx, stage in zip(receivers.values(), ["MAIL", "RCPT", "DATA", "."]):
            mx.answer(stage, "421 4.7.0 enough", times=1)
        node = self.domains(receivers, {name: 'retry_recipients_after = "1h", max_smtp_out = 1' for name in receivers}, paused=True)
        for name in receivers:
            for who in "uv":
                self.send(node, to=f"{who}@{name}.example", sender="")
        node.command("resume", "*")
        node.wait_records(4, "d")
        self.assertEqual(len(node.records("t")), 4)
        self.assertEqual([len(mx.sessions) for mx in receivers.values()], [2] * 4)

    def test_a_break_after_mail_defers_the_recipients_in_it_and_no_others(self):
        mx = self.receiver()
        mx.answer("DATA", CLOSE, times=1)
        node = self.domains({"a": mx}, {"a": 'retry_recipients_after = "1h", max_smtp_out = 1'}, paused=True)
        self.send(node, to=["u@a.example", "v@a.example"])
        self.send(node, to="w@a.example")
        node.command("resume", "*")
        record, = node.wait_records(1, "d")
        self.assertEqual(record["rcpt"], "w@a.example")
        self.assertEqual(sorted(r["rcpt"] for r in node.records("t")), ["u@a.example", "v@a.example"])

    def test_smtp_port_is_for_hosts_that_name_none(self):
        mx, other = self.receiver(), self.receiver()
        node = self.node(f'domain "a.example" {{ smtp_hosts = "[127.0.0.1]", smtp_port = {mx.port} }}\n'
                         f'domain "b.example" {{ smtp_hosts = "{other.at}", smtp_port = {mx.port} }}')
        for name in "ab":
            self.send(node, to=f"u@{name}.example")
        node.wait_records(2, "d")
        self.assertEqual((mx.recipients(), other.recipients()), (["u@a.example"], ["u@b.example"]))

    def test_max_msg_per_connection_counts_messages_not_recipients(self):
        mx = self.receiver()
        node = self.domains({"a": mx}, {"a": "max_smtp_out = 1, max_msg_per_connection = 2"}, paused=True)
        for i in range(4):
            self.send(node, to=[f"u{i}.{n}@a.example" for n in range(3)])
        node.command("resume", "*")
        node.wait_records(12, "d")
        self.assertEqual([s.messages for s in mx.sessions], [2, 2])

    def test_a_session_that_a_rate_keeps_waiting_is_not_idle(self):
        mx = self.receiver()
        node = self.domains({"a": mx}, {"a": 'max_msg_rate = "2/3s", idle_timeout = 0.5'}, paused=True)
        for i in range(3):
            self.send(node, to=f"u{i}@a.example")
        node.command("resume", "*")
        node.wait_records(3, "d")
        until(lambda: mx.sessions[0].closed, "then it is idle, and goes")
        self.assertEqual((len(mx.sessions), mx.commands()[-1]), (1, "QUIT"))

    def test_bounce_after_ends_a_wait_wherever_it_is(self):
        """In a paused queue, behind a host that refuses, and as a recipient that was deferred."""
        later = self.receiver()
        later.answer("RCPT", "450 4.2.1 later")
        age = 'bounce_after = "2s"'
        node = self.node(f'domain "paused.example" {{ smtp_hosts = "[127.0.0.1]:9", paused = true, {age} }}\n'
                         f'domain "refused.example" {{ smtp_hosts = "[127.0.0.1]:9", {age} }}\n'
                         f'domain "later.example" {{ smtp_hosts = "{later.at}", {age} }}\n'
                         'domain "kept.example" { smtp_hosts = "[127.0.0.1]:9" }')
        for name in ("paused", "refused", "later", "kept"):
            self.send(node, to=f"u@{name}.example", sender="")
        records = node.wait_records(3, "b", deadline_s=15)
        self.assertEqual({r["rcpt"] for r in records}, {"u@paused.example", "u@refused.example", "u@later.example"})
        self.assertEqual({r["dsnStatus"].split()[0] for r in records} - {"4.4.7", "5.4.7"}, set())

    def test_rates_over_a_site_and_connects_of_a_virtual_mta_and_a_pool(self):
        self.first_in_line()
        receivers = {name: self.receiver(keep=False) for name in ("site", "total", "v1", "v2", "p1", "p2")}
        hosts = "\n".join(f'domain "{name}.example" {{ smtp_hosts = "{mx.at}", max_msg_per_connection = {500 if name == "total" else 1}'
                          + {"site": ', total_max_connect_rate = "8/2s"', "total": ', total_max_msg_rate = "8/2s"'}.get(name, "") + " }"
                          for name, mx in receivers.items())
        node = self.node(f'''vmta "one" {{ source = "127.0.0.2" }}
vmta "two" {{ source = "127.0.0.3" }}
vmta "slow" {{ source = "127.0.0.4", max_connect_rate = "8/2s" }}
vmta "member" {{ source = "127.0.0.5" }}
pool "default" {{ "one", "two" }}
pool "pooled" {{ "member", max_connect_rate = "8/2s" }}
on.message(function(msg) msg.vmta = msg:header "X-V" end)
{hosts}''', paused=True)
        with Client(node.port) as c:
            for by, names in [("one", ("site", "total")), ("two", ("site", "total")), ("slow", ("v1", "v2")), ("member", ("p1", "p2"))]:
                for name in names:
                    for i in range(8):
                        self.assertEqual(c.message("", [f"u{i}@{name}.example"], f"X-V: {by}\r\n\r\n".encode()).code, 250)
        node.command("resume", "*")
        for queue, gate in [("site.example/one", "total_max_connect_rate"), ("total.example/two", "total_max_msg_rate")]:
            entry = next(g for g in node.command("why", queue)["gates"] if g["gate"] == gate)
            self.assertEqual(entry["limit"], "8/2s")
            ceiling = node.command("why", queue)["ceiling"]
            self.assertEqual((ceiling["bound_by"].split()[0], ceiling["msgs_per_hour"]), (gate, 14400), ceiling)
            self.assertRegex(entry["declared_at"], r"policy\.lua:\d+$")
        node.wait_records(64, "d", deadline_s=20)
        for what, times in [("total_max_connect_rate", receivers["site"].connected_at()),
                            ("total_max_msg_rate", [at for at, _ in receivers["total"].attempts]),
                            ("vmta.max_connect_rate", receivers["v1"].connected_at() + receivers["v2"].connected_at()),
                            ("pool.max_connect_rate", receivers["p1"].connected_at() + receivers["p2"].connected_at())]:
            with self.subTest(what):
                self.assertEqual(len(times), 16)
                self.assertLessEqual(max_in_window(times, 2 - JITTER_S), 8)


class OfReactions(Settings):
    def test_at_names_the_stage(self):
        """One rule a stage, and each queue's receiver says the same at another."""
        stages = {"greeting": "connect", "ehlo": "EHLO", "starttls": "STARTTLS", "mail": "MAIL", "rcpt": "RCPT", "data": "DATA", "final": "."}
        receivers = {at: self.receiver(extensions=[*EXTENSIONS, "STARTTLS"]) for at in stages}
        for at, stage in stages.items():
            receivers[at].answer(stage, "450 4.7.0 busy")
            if at == "ehlo":
                receivers[at].answer("HELO", "450 4.7.0 busy")
        rules = ", ".join(f'{{ "BUSY", at = "{at}", name = "{at}", lasts = "1h", max_smtp_out = 5 }}' for at in [*stages, "connect", "auth"])
        settings = f'require_starttls = true, retry_after = "1h", retry_recipients_after = "1h", backoff = {{ {rules} }}'
        node = self.domains(receivers, {at: settings if at in ("starttls", "greeting", "ehlo") else settings.replace("require_starttls = true", "use_starttls = false")
                                        for at in stages})
        for at in stages:
            self.send(node, to=f"u@{at}.example")
        node.wait_records(len(stages), "t", "tq")
        for at in stages:
            with self.subTest(at):
                self.assertEqual({o["name"] for o in node.command("why", f"{at}.example/default")["overlays"]},
                                 {"greeting", "connect"} if at == "greeting" else {at})

    def test_local_failures_are_replies_at_connect(self):
        silent = socket.socket()
        self.addCleanup(silent.close)
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        for _ in range(2):                      # the backlog is full: further SYNs are dropped
            filler = socket.socket()
            self.addCleanup(filler.close)
            filler.setblocking(False)
            filler.connect_ex(silent.getsockname())
        rules = '''backoff = { { "^400 connect timed out", at = "connect", name = "timeout", lasts = "1h", max_smtp_out = 5 },
  { "^400 connection refused", at = "connect", name = "refused", lasts = "1h", max_smtp_out = 4 },
  { "^400 dns", at = "connect", name = "dns", lasts = "1h", max_smtp_out = 3 } }'''
        node = self.node(f'''domain "slow.example" {{ smtp_hosts = "[127.0.0.1]:{silent.getsockname()[1]}", connect_timeout = "1s" }}
domain "down.example" {{ smtp_hosts = "[127.0.0.1]:{free_port()}" }}
domain "nohost.example" {{ smtp_hosts = "a.host.example" }}
domain "*" {{ {rules} }}''')
        for name, expected in [("slow", "timeout"), ("down", "refused"), ("nohost", "dns"), ("nomx", "dns")]:
            with self.subTest(name):
                self.send(node, to=f"u@{name}.example")
                until(lambda: (node.queue(f"{name}.example/default") or {}).get("last_error"), "it was tried")
                why = node.command("why", f"{name}.example/default")
                self.assertEqual({o["name"] for o in why["overlays"]}, {expected}, why["last_error"])
                self.assertTrue(all(o["reply"].startswith("400 ") for o in why["overlays"]), why["overlays"])

    def test_a_reply_counts_once_though_it_may_speak_of_dns(self):
        mx = self.receiver()
        mx.answer("EHLO", "451 4.4.3 temporary server error")
        rules = ", ".join(f'{{ "4\\\\.4\\\\.3", name = "{at}", at = "{at}", after = "{n}/1h", lasts = "1h", max_smtp_out = 5 }}'
                          for at, n in [("ehlo", 1), ("ehlo", 2), ("connect", 1)])
        node = self.domains({"a": mx}, {"a": f'retry_after = "1h", backoff = {{ {rules} }}'})
        self.send(node, to="u@a.example")
        node.wait_records(1, "tq")
        self.assertEqual([o["name"] for o in node.command("why", "a.example/default")["overlays"]], ["ehlo"])

    def test_a_function_defers_its_queue_and_sees_the_reply(self):
        mx = self.receiver()
        mx.answer("MAIL", "450 4.7.1 come later", times=1)
        node = self.domains({"a": mx}, {"a": '''retry_after = "1h", backoff = {
  { "come later", function(reply, queue)
      assert(reply.code == 450 and reply.text:find "come later" and reply.stage == "mail")
      queue:defer()
    end } }'''})
        self.send(node, to="u@a.example")
        until(lambda: (node.queue("a.example/default") or {}).get("gate") == "retry_after", lambda: node.log[-1000:])

    def test_a_percent_stops_at_its_floor(self):
        mx = self.receiver()
        mx.answer("RCPT", "450 4.7.1 too much")
        node = self.domains({"a": mx}, {"a": '''max_smtp_out = 16, max_msg_per_connection = 1, retry_recipients_after = "1h",
  backoff = { { "too much", lasts = "1h", max_smtp_out = "50%", floor = 3 } }'''})
        seen = []
        for i in range(4):
            self.send(node, to=f"u{i}@a.example")
            node.wait_records(i + 1, "t")
            seen.append(next(g["limit"] for g in node.command("why", "a.example/default")["gates"] if g["gate"] == "max_smtp_out"))
        self.assertEqual(seen, [8, 4, 3, 3])


class OfAccounting(Settings):
    def test_who_follows_the_file_is_not_far_behind(self):
        mx = self.receiver()
        node = self.domains({"a": mx})
        behind = []
        for n in range(5):
            self.send(node, to="u@a.example")
            self.delivered(mx, n + 1)
            at = now()
            node.wait_records(n + 1, "d")
            behind.append(now() - at)
        self.assertLess(sorted(behind)[2], 0.5 * harness.SLOW, behind)

    def test_fields_that_not_every_delivery_fills(self):
        mx = self.receiver()
        mx.answer("RCPT", "552 5.2.2 mailbox is over quota", when=lambda e: "full@" in e.line)
        port = free_port()
        node = self.node(f'''vmta "v" {{ source = "127.0.0.2" }}
pool "default" {{ "v" }}
on.message(function(msg) msg.job = "j1" end)
domain "a.example" {{ smtp_hosts = "{mx.at}" }}
domain "down.example" {{ smtp_hosts = "[127.0.0.1]:{port}" }}''')
        for to in (["u@a.example", "full@a.example"], "u@down.example"):
            self.send(node, to=to, mail=" ENVID=E+2B1")

        def ours():             # the bounce's report has records of its own
            records = {r["type"]: r for r in node.records() if r["orig"] or r["queue"] == "down.example/v"}
            return {"d", "b", "tq", "r"} <= set(records) and records

        records = until(ours, node.records)
        for kind in ("d", "b", "r"):
            record = records[kind]
            stamp = r"^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d"
            self.assertRegex(record["timeLogged"], stamp)
            self.assertRegex(record["timeQueued"], stamp)
            self.assertLessEqual(record["timeQueued"], record["timeLogged"])
            self.assertEqual((record["vmta"], record["vmtaPool"], record["jobId"], record["envId"].replace("+2B", "+")), ("v", "default", "j1", "E+1"), kind)
            self.assertIn("127.0.0.1", record["srcMta"], kind)
        self.assertEqual((records["b"]["bounceCat"], records["d"]["bounceCat"]), ("quota-issues", ""))
        self.assertEqual((records["tq"]["queue"], records["tq"]["rcpt"]), ("down.example/v", ""))
        self.assertRegex(records["tq"]["dsnDiag"], "refused")
        self.assertEqual(records["b"]["queue"], "a.example/v")


harness.main()
