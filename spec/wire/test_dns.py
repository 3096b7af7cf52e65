# SPDX-License-Identifier: Apache-2.0
"""The DNS cases, answered by NSD: which host is asked, in which order, and what has no host at all."""
import subprocess

import harness
from harness import until
from receiver import Receiver

NEEDS_NAMESPACE = True          # receivers stand on 192.0.2.x, port 25: loopback in an answer is refused

ZONE = """
order    MX 10 a.mx
order    MX 20 b.mx
equal    MX 10 a.mx
equal    MX 10 b.mx
gone     MX 10 nosuchhost.mx
gone     MX 20 b.mx
implicit A 192.0.2.12
null     MX 0 .
text     TXT "no address, no exchanger"
alias    CNAME order
mxalias  MX 10 c.mx
six      MX 10 six.mx
both     MX 10 both.mx
loop     MX 10 loop.mx
zero     MX 10 zero.mx
nowhere  MX 10 group.mx
nowhere  MX 20 link.mx
self     MX 10 self.mx
selfs    MX 10 self.mx
selfs    MX 20 b.mx
mixed    MX 10 loop.mx
mixed    MX 20 b.mx
site1    MX 10 z.site.mx
site1    MX 10 a.site.mx
site2    MX 10 a.site.mx
site2    MX 10 z.site.mx
site2    MX 50 b.mx
apart    MX 10 a.site.mx
apart    MX 10 z.site.mx
prov1    MX 10 in1.prov.mx
prov2    MX 10 in2.prov.mx
half     MX 10 in1.prov.mx
half     MX 10 b.mx
UPPER    MX 10 B.MX
a.mx     A 192.0.2.10
b.mx     A 192.0.2.11
c.mx     CNAME b.mx
six.mx   AAAA 2001:db8::10
both.mx  A 192.0.2.11
both.mx  AAAA 2001:db8::10
loop.mx  A 127.0.0.1
loop.mx  AAAA ::1
zero.mx  A 0.0.0.0
group.mx A 224.0.0.5
group.mx A 255.255.255.255
link.mx  A 169.254.169.254
link.mx  AAAA fe80::1
self.mx  A 192.0.2.16
selfmapped MX 10 selfmapped.mx
mapped   MX 10 mapped.mx
compat   MX 10 compat.mx
nat64    MX 10 nat64.mx
sixtofour MX 10 sixtofour.mx
selfmapped.mx AAAA ::ffff:192.0.2.16
mapped.mx AAAA ::ffff:127.0.0.1
compat.mx AAAA ::127.0.0.1
nat64.mx AAAA 64:ff9b::7f00:1
sixtofour.mx AAAA 2002:7f00:1::1
private  A 10.99.0.1
addrs    MX 10 addrs.mx
addrs    MX 20 b.mx
addrs.mx A 192.0.2.10
addrs.mx A 192.0.2.13
*.site.mx A 192.0.2.11
*.prov.mx A 192.0.2.11
best.big.mx A 192.0.2.13
*.big.mx A 192.0.2.19
""" + "".join(f"big MX {10 + i} a-rather-long-name-for-a-host-number-{i}.big.mx\n" for i in range(45)) + "big MX 5 best.big.mx\n"


class Dns(harness.Case):
    def setUp(self):
        super().setUp()
        self.dns = self.keep(harness.Dns(self.folder, {"test": ZONE, "broken": None}))

    def receiver(self, address, **options):
        mx = Receiver(address, 25, **options)
        self.addCleanup(mx.stop)
        return mx

    def started(self, policy=""):
        return self.node('domain "*" { retry_after = "1h", retry_jitter = "0%" }\n' + policy, options=self.dns.option)

    def sent(self, domain, policy="", sender=""):
        node = self.started(policy)
        self.assertEqual(self.send(node, to=f"u@{domain}", sender=sender).code, 250)
        return node

    def delivered_to(self, domain, *receivers):
        """Where one message for the domain ends."""
        node = self.sent(domain)
        record, = node.wait_records(1, "d")
        return record

    def assert_bounced(self, domain, status, policy="", diagnosis="."):
        record, = self.sent(domain, policy).wait_records(1, "b")
        self.assertTrue(record["dsnStatus"].startswith(status + " "), record)
        self.assertRegex(record["dsnDiag"], diagnosis)

    # --- order ---

    def test_the_lowest_preference_is_asked_first(self):
        a, b = self.receiver("192.0.2.10"), self.receiver("192.0.2.11")
        record = self.delivered_to("order.test")
        self.assertEqual((record["dlvDestinationIp"], len(a.sessions), len(b.sessions)), ("192.0.2.10", 1, 0))
        self.assertEqual(record["dsnMta"], "a.mx.test (192.0.2.10)")

    def test_a_refused_first_host_is_followed_by_the_second(self):
        self.receiver("192.0.2.11")
        self.assertEqual(self.delivered_to("order.test")["dlvDestinationIp"], "192.0.2.11")

    def test_a_first_host_that_says_421_is_followed_by_the_second(self):
        a, b = self.receiver("192.0.2.10"), self.receiver("192.0.2.11")
        a.answer("connect", "421 4.3.2 not now")
        self.assertEqual(self.delivered_to("order.test")["dlvDestinationIp"], "192.0.2.11")
        self.assertEqual(len(a.sessions), 1)

    def test_skip_mx_before_mail_leaves_out_the_hosts_other_addresses(self):
        bad = [self.receiver("192.0.2.10"), self.receiver("192.0.2.13")]
        for mx in bad:
            mx.answer("connect", "554 5.7.1 not by this host")
        good = self.receiver("192.0.2.11")
        node = self.sent("addrs.test", 'domain "addrs.test" { backoff = { { "not by this host", skip_mx = true } } }')
        node.wait_records(1, "d")
        self.assertEqual((sum(len(mx.sessions) for mx in bad), len(good.messages)), (1, 1))

    def test_a_reply_to_a_recipient_is_final_for_this_try(self):
        a, b = self.receiver("192.0.2.10"), self.receiver("192.0.2.11")
        a.answer("RCPT", "451 4.7.1 later")
        self.sent("order.test").wait_records(1, "t")
        self.assertEqual(b.sessions, [])

    def test_hosts_of_equal_preference_share_the_load(self):
        a, b = self.receiver("192.0.2.10"), self.receiver("192.0.2.11")
        node = self.started('domain "equal.test" { max_msg_per_connection = 1, max_smtp_out = 2 }')
        self.source(node, count=40, to="u@equal.test")
        node.wait_records(40, "d")
        self.assertGreater(len(a.messages), 4)
        self.assertGreater(len(b.messages), 4)

    def test_a_host_without_an_address_is_passed_by(self):
        self.receiver("192.0.2.11")
        self.assertEqual(self.delivered_to("gone.test")["dlvDestinationIp"], "192.0.2.11")

    def test_mx_connection_attempts_bounds_the_hosts_of_a_cycle(self):
        b = self.receiver("192.0.2.11")
        node = self.sent("order.test", 'domain "order.test" { mx_connection_attempts = 1 }')
        node.wait_records(1, "tq")
        self.assertEqual(b.sessions, [])

    # --- what stands in for an MX ---

    def test_no_mx_but_an_address(self):
        self.receiver("192.0.2.12")
        record = self.delivered_to("implicit.test")
        self.assertEqual(record["dsnMta"], "implicit.test (192.0.2.12)")

    def test_no_mx_bounces_where_the_policy_says_so(self):
        mx = self.receiver("192.0.2.12")
        self.assert_bounced("implicit.test", "5.1.2", 'domain "implicit.test" { bounce_upon_no_mx = true }')
        self.assertEqual(mx.sessions, [])

    def test_an_alias_is_followed(self):
        self.receiver("192.0.2.10")
        self.assertEqual(self.delivered_to("alias.test")["dlvDestinationIp"], "192.0.2.10")

    def test_an_exchanger_that_is_an_alias_is_followed(self):
        self.receiver("192.0.2.11")
        self.assertEqual(self.delivered_to("mxalias.test")["dlvDestinationIp"], "192.0.2.11")

    def test_a_host_with_only_ipv6(self):
        mx = self.receiver("2001:db8::10")
        self.assertEqual(self.delivered_to("six.test")["dlvDestinationIp"], "2001:db8::10")
        self.assertEqual(len(mx.messages), 1)

    def test_a_host_with_both_families_is_reached_by_the_one_that_answers(self):
        self.receiver("192.0.2.11")
        self.assertEqual(self.delivered_to("both.test")["dlvDestinationIp"], "192.0.2.11")

    def test_an_ipv4_source_never_dials_ipv6(self):
        six, four = self.receiver("2001:db8::10"), self.receiver("192.0.2.11")
        node = self.sent("both.test", 'vmta "default" { source = "192.0.2.15" }')
        record, = node.wait_records(1, "d")
        self.assertEqual((record["dlvSourceIp"], record["dlvDestinationIp"]), ("192.0.2.15", "192.0.2.11"))

    def test_an_address_literal_needs_no_dns(self):
        self.receiver("192.0.2.14")
        self.assertEqual(self.delivered_to("[192.0.2.14]")["dlvDestinationIp"], "192.0.2.14")

    def test_an_ipv6_literal_needs_no_dns(self):
        self.receiver("2001:db8::14")
        self.assertEqual(self.delivered_to("[IPv6:2001:db8::14]")["dlvDestinationIp"], "2001:db8::14")

    def test_names_are_compared_without_case(self):
        self.receiver("192.0.2.11")
        self.assertEqual(self.delivered_to("Upper.TEST")["dlvDestinationIp"], "192.0.2.11")

    # --- nothing to send to ---

    def test_the_null_mx(self):
        self.assert_bounced("null.test", "5.1.10", diagnosis="556")

    def test_nxdomain(self):
        self.assert_bounced("nosuchname.test", "5.1.2")

    def test_neither_mx_nor_address(self):
        self.assert_bounced("text.test", "5.1.2")

    def test_only_loopback_or_unspecified_addresses(self):
        self.receiver("127.0.0.1")
        for domain in ("loop.test", "zero.test", "nowhere.test", "mapped.test", "compat.test", "nat64.test", "sixtofour.test", "[127.0.0.1]", "[IPv6:::1]", "[IPv6:::ffff:127.0.0.1]"):
            with self.subTest(domain):
                self.assert_bounced(domain, "5.4.4", diagnosis="leads back here or nowhere")

    def listening_on_25(self, at, source):
        """Whom DNS may send back to itself."""
        port = harness.free_port()
        return self.node(f'''listener "127.0.0.1:{port}" {{ relay_from = {{ "127.0.0.0/8" }} }}
listener "{at}:25" {{ relay_from = {{ "0.0.0.0/0" }} }}
vmta "default" {{ source = {source} }}
domain "*" {{ retry_after = "1h", retry_jitter = "0%" }}
''', port=port, options=self.dns.option)

    def test_a_listener_of_our_own_is_no_mail_exchanger(self):
        for at, source in ("192.0.2.16", '"any"'), ("0.0.0.0", '{ "192.0.2.15", "192.0.2.16" }'), ("0.0.0.0", '"any"'):
            with self.subTest(at):
                node = self.listening_on_25(at, source)
                for n, domain in enumerate(("self.test", "selfmapped.test"), 1):
                    self.send(node, to=f"u@{domain}")
                    record = node.wait_records(n, "b")[-1]
                    self.assertTrue(record["dsnStatus"].startswith("5.4.4 "), record)
                    self.assertEqual(len(node.records("r")), n, "it did not come round")
                node.stop()

    def test_behind_a_listener_of_our_own_the_next_host_is_asked(self):
        self.receiver("192.0.2.11")
        node = self.listening_on_25("192.0.2.16", '"any"')
        self.send(node, to="u@selfs.test")
        record, = node.wait_records(1, "d")
        self.assertEqual(record["dlvDestinationIp"], "192.0.2.11")

    def test_a_message_that_goes_round_ends(self):
        """By smtp_hosts a node may be sent to itself; RFC 5321, 6.3."""
        port = harness.free_port()
        node = self.node(f'domain "*" {{ smtp_hosts = "127.0.0.1:{port}" }}', port=port)
        self.send(node, to="u@round.test", sender="")
        record, = node.wait_records(1, "b", deadline_s=30)
        self.assertRegex(record["dsnDiag"], "too many hops")
        self.assertEqual(len(node.records("r")), 101)

    def test_private_addresses_are_used(self):
        subprocess.run([harness.program("ip"), "address", "replace", "10.99.0.1/32", "dev", "lo"], check=True)
        self.receiver("10.99.0.1")
        self.assertEqual(self.delivered_to("private.test")["dlvDestinationIp"], "10.99.0.1")

    def test_a_refused_address_is_passed_by(self):
        self.receiver("192.0.2.11")
        self.assertEqual(self.delivered_to("mixed.test")["dlvDestinationIp"], "192.0.2.11")

    def test_loopback_that_smtp_hosts_names_is_meant(self):
        mx = Receiver("127.0.0.1", 0)
        self.addCleanup(mx.stop)
        node = self.sent("loop.test", f'domain "loop.test" {{ smtp_hosts = "loop.mx.test:{mx.port}" }}')
        node.wait_records(1, "d")

    def test_smtp_hosts_in_order(self):
        b = self.receiver("192.0.2.11")
        node = self.sent("order.test", 'domain "order.test" { smtp_hosts = "a.mx.test;b.mx.test" }')
        record, = node.wait_records(1, "d")
        self.assertEqual(record["dsnMta"], "b.mx.test (192.0.2.11)")

    # --- failures of the DNS itself ---

    def test_servfail_holds_the_queue_at_the_gate_dns(self):
        node = self.sent("x.broken", 'domain "x.broken" { retry_after_dns_error = "1h" }')
        until(lambda: node.queue("x.broken/default") and node.queue("x.broken/default")["gate"] == "dns",
              lambda: f"the gate dns; {node.command('queues')}")
        why = node.command("why", "x.broken/default")
        self.assertEqual((why["gate"], why["open"], why["queued"]), ("dns", False, 1))
        self.assertGreater(why["until"], 3000)
        self.assertEqual(node.records("b", "d"), [])

    def test_a_name_server_that_recovers_lets_the_mail_go(self):
        b = self.receiver("192.0.2.11")
        node = self.sent("x.broken", 'domain "x.broken" { retry_after_dns_error = "1s" }')
        until(lambda: node.queue("x.broken/default") and node.queue("x.broken/default")["last_error"], "it was tried")
        self.dns.reload("broken", "x MX 10 b.mx.test.\n")
        node.wait_records(1, "d", deadline_s=20)
        self.assertEqual(len(b.messages), 1)

    def test_an_answer_truncated_by_udp_is_asked_again_over_tcp(self):
        best = self.receiver("192.0.2.13")
        self.assertEqual(self.delivered_to("big.test")["dsnMta"], "best.big.mx.test (192.0.2.13)")
        self.assertEqual(len(best.sessions), 1)

    # --- sites ---

    def test_domains_of_one_mx_set_form_one_queue(self):
        mx = self.receiver("192.0.2.11")
        node = self.started('domain "apart.test" { max_smtp_out = 1 }')
        for domain in ("site1.test", "site2.test", "apart.test"):
            self.send(node, to=f"u@{domain}")
        queues = {r["rcpt"]: r["queue"] for r in node.wait_records(3, "d")}
        self.assertEqual(queues, {"u@site1.test": "a.site.mx.test/default", "u@site2.test": "a.site.mx.test/default",
                                  "u@apart.test": "apart.test/default"})

    def test_a_provider_is_known_by_where_the_mx_points(self):
        self.receiver("192.0.2.10")
        self.receiver("192.0.2.11")
        node = self.started('provider "prov" { domains = { "order.test" }, mx = { "*.prov.mx.test" } }')
        for domain in ("prov1.test", "prov2.test", "half.test", "order.test"):
            self.send(node, to=f"u@{domain}")
        queues = {r["rcpt"]: r["queue"] for r in node.wait_records(4, "d")}
        self.assertEqual(queues["u@prov1.test"], "prov/default")
        self.assertEqual(queues["u@prov2.test"], "prov/default")
        self.assertEqual(queues["u@order.test"], "prov/default", "named by its domain")
        self.assertNotEqual(queues["u@half.test"], "prov/default", "every host must match")


harness.main()
