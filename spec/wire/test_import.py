# SPDX-License-Identifier: Apache-2.0
"""import-pmta: the verdict of each line of each seed configuration, policies that load, and input that is wrong."""
import glob
import json
import os
import subprocess
import time

import harness
from harness import command
from receiver import Receiver

CORPUS = os.path.join(harness.ROOT, "spec/corpus/import")
K, A, D, N, U, E = "known", "alias", "deprecated", "not-powermta", "unsupported", "error"

HOTMAIL = [(1, "domain", K, 'domain "hotmail.com" { … }'), (2, "max-smtp-out", K, "max_smtp_out = 4"),
           (3, "max-connect-rate", K, 'max_connect_rate = "20/h"'), (4, "max-msg-per-connection", K, "max_msg_per_connection = 10"),
           (5, "max-msg-rate", K, 'max_msg_rate = "400/h"'), (6, "retry-after", K, 'retry_after = "1h"'),
           (7, "retry-recipients-after", K, 'retry_recipients_after = "30m"')]
LOW_RISK = [(1, "domain", K, 'domain "hotmail.com" { … }'), (2, "max-smtp-out", K, "max_smtp_out = 2"),
            (3, "max-connect-rate", K, 'max_connect_rate = "12/h"'), (4, "max-msg-per-connection", K, "max_msg_per_connection = 5"),
            (5, "max-msg-rate", K, 'max_msg_rate = "120/h"'), (6, "retry-after", K, 'retry_after = "1h"'),
            (7, "retry-recipients-after", K, 'retry_recipients_after = "1h"')]
CAP_AND_RATE = [(1, "domain", K, 'domain "example-receiver.com" { … }'), (2, "max-smtp-out", K, "max_smtp_out = 30"),
                (3, "max-connect-rate", K, 'max_connect_rate = "5/m"')]
EXAMPLE = [(1, "max-smtp-out", K, "max_smtp_out = 10"), (2, "max-msg-per-connection", K, "max_msg_per_connection = 10"),
           (3, "max-msg-rate", K, 'max_msg_rate = "1000/h"'), (4, "max-connect-rate", K, 'max_connect_rate = "50/h"')]
DEFAULT = [(2, "domain", A, 'domain "*" { … }'), (3, "max-msg-rate", K, 'max_msg_rate = "200/s"'), (4, "max-smtp-out", K, "max_smtp_out = 50"),
           (5, "bounce-after", K, 'bounce_after = "4d"'), (6, "retry-after", K, 'retry_after = "30m"')]
POOLS = [(4, "virtual-mta-pool", K, 'pool "high-rep-pool" { … }'), (5, "max-smtp-out", K, "max_smtp_out = 8"),
         (6, "mx-rollup", A, "provider = { google = { … } }"),
         (10, "virtual-mta-pool", K, 'pool "recovering-pool" { … }'), (11, "max-smtp-out", K, "max_smtp_out = 4"),
         (12, "retry-after", K, 'retry_after = "20m"'), (13, "mx-rollup", A, "provider = { google = { … } }"),
         (17, "virtual-mta-pool", K, 'pool "warming-pool" { … }'), (18, "max-smtp-out", K, "max_smtp_out = 2"),
         (19, "max-msg-rate", K, 'max_msg_rate = "50/h"'), (20, "retry-after", K, 'retry_after = "30m"'),
         (21, "mx-rollup", A, "provider = { google = { … } }")]
# In the file without tags a block ends where the next begins: its lines stand higher up.
BARE_POOLS = [(line - shift, *rest) for (line, *rest), shift in zip(POOLS, [0] * 3 + [1] * 4 + [2] * 5)]
TEMPLATE = [(6, "queue-to", K, None), (7, "retry-interval", A, 'retry_after = "30m"'), (8, "max-retry-time", A, 'bounce_after = "4d"'),
            (11, "max-smtp-out", K, "max_smtp_out = 20"), (12, "max-msg-per-connection", K, "max_msg_per_connection = 100"),
            (13, "max-errors-per-connection", K, "max_errors_per_connection = 5"), (16, "max-msg-per-hour", D, 'max_msg_rate = "5000/h"'),
            (17, "min-retry-interval", A, 'retry_recipients_after = "15m"'), (20, "bounce-on-4xx-status", N, ""),
            (21, "log-delivery-failures", N, ""), (22, "log-fallback-failures", N, ""),
            (26, "421 RP-001", A, '{ "421 RP-001", lasts = "1h", max_smtp_out = 5, max_msg_rate = "1000/h" }'),
            (27, "421 4.3.2", A, '{ "421 4\\\\.3\\\\.2", lasts = "45m", max_smtp_out = 2, max_msg_rate = "500/h" }'),
            (30, "use-starttls", K, "use_starttls = true"), (31, "require-starttls", K, "require_starttls = false"),
            (32, "dkim-sign", U, None)]


def on_one_line(rows):
    return [(1, *rest) for _, *rest in rows]


SEEDS = {
    "seed000-connection-cap-and-rate.conf": CAP_AND_RATE, "seed000-connection-cap-and-rate.txt": on_one_line(CAP_AND_RATE),
    "seed000-example-rate-settings.conf": EXAMPLE, "seed000-example-rate-settings.txt": on_one_line(EXAMPLE),
    "seed000-hotmail-conservative.conf": HOTMAIL, "seed000-hotmail-conservative.txt": on_one_line(HOTMAIL),
    "seed000-low-risk-sensitive.conf": LOW_RISK, "seed000-low-risk-sensitive.txt": on_one_line(LOW_RISK),
    "seed002-combined-connection-control.conf": [(2, "max-smtp-out", K, "max_smtp_out = 8"), (3, "max-conn-rate", A, 'max_connect_rate = "1/s"'),
                                                 (4, "max-msg-rate", K, 'max_msg_rate = "300/h"'),
                                                 (5, "max-msg-per-conn", A, "max_msg_per_connection = 100")],
    "seed002-combined-connection-control.txt": [(1, "max-smtp-out", E, None)],
    "seed002-inline-equals-form.conf": [(1, "max-smtp-out", K, "max_smtp_out = 10"), (2, "max-conn-rate", A, 'max_connect_rate = "1/s"')],
    "seed002-reputation-tier-pools-tagged.conf": POOLS, "seed002-reputation-tier-pools.conf": BARE_POOLS,
    "seed002-reputation-tier-pools.txt": [(1, "virtual-mta-pool", E, None)],
    "seed003-connection-rate-start.conf": [(1, "max-smtp-out", K, "max_smtp_out = 1000"), (2, "max-conn-rate", A, 'max_connect_rate = "100/m"'),
                                           (3, "max-msg-rate", K, 'max_msg_rate = "2000/h"')],
    "seed003-safe-backoff.conf": [(1, "retry-after", K, 'retry_after = "10m"'), (2, "backoff-retry", A, 'retry_after = "30m"'),
                                  (3, "max-retries", N, "max_attempts = 5")],
    "seed004-domain-default.conf": DEFAULT, "seed004-domain-default.txt": on_one_line(DEFAULT),
    "seed004-hotmail-template.conf": TEMPLATE, "seed004-hotmail-template.txt": [(1, "queue-to", E, None)],
    "seed004-max-cpu-usage.conf": [(2, "max-cpu-usage", N, None)], "seed004-max-cpu-usage.txt": [(1, "max-cpu-usage", N, None)],
}


class Import(harness.Case):
    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "wb" if isinstance(text, bytes) else "w") as file:
            file.write(text)
        return path

    def run_json(self, path, *options):
        done = command("import-pmta", path, "--json", *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def imported(self, text, *options):
        """The answer for a configuration given as text; its policy passes check."""
        answer = self.run_json(self.write("config", text), *options)
        self.check(answer["policy"])
        return answer

    def check(self, policy):
        done = command("check", self.write("policy.lua", policy))
        self.assertEqual(done.returncode, 0, done.stderr + policy)
        return done.stderr

    def verdicts(self, answer):
        return {line["line"]: line["verdict"] for line in answer["lines"]}

    def note(self, answer, number):
        return " ".join(line["note"] or "" for line in answer["lines"] if line["line"] == number)

    # --- the seeds ---

    def test_each_line_of_each_seed_gets_its_verdict(self):
        for name, rows in SEEDS.items():
            with self.subTest(name):
                lines = self.run_json(os.path.join(CORPUS, name))["lines"]
                self.assertEqual([(l["line"], l["directive"], l["verdict"]) for l in lines], [row[:3] for row in rows])
                for line, row in zip(lines, rows):
                    if row[3] is not None:
                        self.assertEqual(line["becomes"], row[3])

    def test_every_configuration_of_the_corpus_becomes_a_policy_that_loads(self):
        for path in sorted(glob.glob(CORPUS + "/*.conf") + glob.glob(CORPUS + "/*.txt")):
            with self.subTest(os.path.basename(path)):
                self.check(self.run_json(path)["policy"])
                self.check(self.run_json(path, "--split")["policy"])

    def test_what_the_specs_run_on_is_what_the_importer_makes(self):
        for path in sorted(glob.glob(os.path.join(harness.ROOT, "spec/policies/imported/*.lua"))):
            name = os.path.splitext(os.path.basename(path))[0] + ".conf"
            with self.subTest(name), open(path, encoding="utf-8") as file:
                self.assertEqual(file.read(), self.run_json(os.path.join(CORPUS, name))["policy"])

    def test_a_script_is_refused_in_one_sentence(self):
        done = command("import-pmta", os.path.join(CORPUS, "seed002-signs-too-high.sh"))
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"\Asluice: \S+: is not a PowerMTA configuration: [^\n]+\n\Z")

    def test_the_template_keeps_its_comments_and_what_it_could_not_carry(self):
        policy = self.run_json(os.path.join(CORPUS, "seed004-hotmail-template.conf"))["policy"]
        for part in ('provider "microsoft" {', '"hotmail.com", "outlook.com"', "-- --- Connection and Traffic Control ---",
                     "-- Wait 30 minutes before retrying deferred emails", "-- dkim-sign yes", 'vmta "default" { source = "any" }'):
            self.assertIn(part, policy)

    def test_lost_newlines_are_read_with_split(self):
        split = self.run_json(os.path.join(CORPUS, "seed004-hotmail-template.txt"), "--split")["lines"]
        self.assertEqual([(l["directive"], l["verdict"]) for l in split], [row[1:3] for row in TEMPLATE])
        split = self.run_json(os.path.join(CORPUS, "seed002-reputation-tier-pools.txt"), "--split")["lines"]
        self.assertEqual([(l["directive"], l["verdict"]) for l in split], [row[1:3] for row in POOLS])

    def test_the_ceilings_are_those_of_the_arithmetic(self):
        for name, domain, options, per_hour in (
                ("seed000-hotmail-conservative.conf", "hotmail.com", [], 200), ("seed000-example-rate-settings.conf", "a.example", [], 500),
                ("seed000-low-risk-sensitive.conf", "hotmail.com", [], 60), ("seed000-connection-cap-and-rate.conf", "example-receiver.com", [], None),
                ("seed002-reputation-tier-pools.conf", "gmail.com", ["--vmta", "warming-pool-1"], 50),
                ("seed002-reputation-tier-pools-tagged.conf", "a.example", ["--vmta", "warming-pool-1"], 50),
                ("seed002-combined-connection-control.conf", "a.example", [], 300), ("seed003-connection-rate-start.conf", "a.example", [], 2000),
                ("seed004-hotmail-template.conf", "msn.com", [], 5000), ("seed004-domain-default.conf", "a.example", [], 720000)):
            with self.subTest(name):
                policy = self.write("policy.lua", self.run_json(os.path.join(CORPUS, name))["policy"])
                done = command("explain", policy, domain, "--json", *options)
                self.assertEqual(done.returncode, 0, done.stderr)
                ceiling = json.loads(done.stdout)["ceiling"]
                self.assertEqual(ceiling and ceiling["msgs_per_hour"], per_hour)

    # --- what becomes what ---

    def test_queue_to_with_a_macro_is_one_provider(self):
        answer = self.imported("domain-macro ms hotmail.com,msn.com\n<domain $ms>\nqueue-to hotmail.com\n</domain>\n"
                               "<domain hotmail.com>\nmax-smtp-out 7\n</domain>\n")
        self.assertIn('domains = { "hotmail.com", "msn.com" }', answer["policy"])
        self.assertIn("max_smtp_out = 7", answer["policy"])
        self.assertNotIn('domain "', answer["policy"])

    def test_bare_lines_and_blocks_of_one_queue_are_put_together(self):
        bare = "queue-to hotmail.com\nmax-msg-rate 5/h\n421 RP-001 *, 1h, 5, 1000\n"
        block = "<domain a.example>\nmax-smtp-out 9\nmax-msg-rate 7/h\nqueue-to hotmail.com\n</domain>\n"
        for text, line in ((bare + block, 5), (block + bare, 2)):
            answer = self.imported(text)
            for has in ('"hotmail.com", ', '"a.example"', "max_smtp_out = 9", 'max_msg_rate = "5/h"', '{ "421 RP-001", '):
                self.assertIn(has, answer["policy"])
            self.assertNotIn("7/h", answer["policy"])
            self.assertIn("of all domains", self.note(answer, line))
            self.assertIn("has no effect", self.note(answer, line + 1))

    def test_a_macro_alone_makes_separate_sites_and_says_so(self):
        answer = self.imported("domain-macro ms hotmail.com,msn.com\n<domain $ms>\nmax-smtp-out 7\n</domain>\n")
        self.assertIn('domain { "hotmail.com", "msn.com" } { max_smtp_out = 7 }', answer["policy"])
        self.assertIn("own full limits", self.note(answer, 2))

    def test_an_explicit_domain_beats_the_macros(self):
        answer = self.imported("domain-macro m a.example,b.example\n<domain $m>\nmax-smtp-out 7\nmax-msg-rate 5/m\n</domain>\n"
                               "<domain a.example>\nmax-smtp-out 2\n</domain>\n")
        self.assertIn('domain "b.example" { max_smtp_out = 7, max_msg_rate = "5/m" }', answer["policy"])
        self.assertRegex(answer["policy"], r'domain "a.example" \{ max_msg_rate = "5/m", max_smtp_out = 2 \}')

    def test_a_rolled_up_virtual_mta_keeps_its_name(self):
        answer = self.imported("<virtual-mta a>\nhost-name x.example.com\nmax-smtp-out 4\nmx-rollup gmail.com\n</virtual-mta>\n")
        self.assertIn('hostname = "x.example.com"', answer["policy"])
        self.assertIn("google = { max_smtp_out = 4 }", answer["policy"])

    def test_a_star_among_other_names_keeps_its_queues_apart(self):
        answer = self.imported("<domain a.example *>\nmax-smtp-out 5\n</domain>\n")
        self.assertIn('domain { "a.example", "*" } { rollup = false, max_smtp_out = 5 }', answer["policy"])

    def test_of_two_names_as_near_the_first_is_named(self):
        answer = self.imported("<domain a.example>\nsmtp-tls-allow-tlsv1.4 no\n</domain>\n")
        self.assertEqual(answer["lines"][1]["note"], "nearest smtp-tls-allow-tlsv1.1")

    def test_a_roll_up_is_a_provider_by_mx(self):
        answer = self.imported("<mx-rollup-list>\nmx *.google.com gmail.rollup\nmx *.googlemail.com gmail.rollup\n</mx-rollup-list>\n"
                               "<domain gmail.rollup>\nmax-smtp-out 3\n</domain>\n"
                               "<virtual-mta a>\nsmtp-source-host 192.0.2.1 a.example.com\n<domain gmail.rollup>\nmax-smtp-out 1\n</domain>\n"
                               "</virtual-mta>\n")
        self.assertIn('provider "gmail" { mx = { "*.google.com", "*.googlemail.com" }, max_smtp_out = 3 }', answer["policy"])
        self.assertIn("gmail = { max_smtp_out = 1 }", answer["policy"])
        self.assertIn('source   = "192.0.2.1"', answer["policy"])

    def test_pattern_lists_bear_their_own_limits(self):
        answer = self.imported("<smtp-pattern-list l>\nreply /too many/ mode=backoff,backoff-to-normal-after=2h\nreply /spam\\.example/ bounce-queue\n"
                               "reply /TS03/ disable-source-ip,reenable-after=1h\nreply /full/ skip-mx\nreply /slow/ defer-queue\n"
                               "reply /quota/ bounce-rcpt\n</smtp-pattern-list>\n"
                               "<domain *>\nsmtp-pattern-list l\nbackoff-max-smtp-out 2\nbackoff-max-msg-rate 10/m\nbackoff-retry-after 30m\n</domain>\n")
        for rule in ('{ "too many", lasts = "2h", max_smtp_out = 2, max_msg_rate = "10/m", retry_after = "30m" }',
                     '{ "spam\\\\.example", bounce = "queue"', '{ "TS03", lasts = "1h", disable_source = true }', '{ "full", skip_mx = true',
                     '{ "slow", defer = true }', '{ "quota", at = "rcpt", bounce = "recipient" }'):
            self.assertIn(rule, answer["policy"])

    def test_values_of_backoff_are_those_of_the_queue(self):
        answer = self.imported("<smtp-pattern-list l>\nreply /too many/ mode=backoff\n</smtp-pattern-list>\n"
                               "<domain *>\nsmtp-pattern-list l\nbackoff-to-normal-after 1h\n</domain>\n"
                               "<domain a.example>\nbackoff-max-msg-rate 10/h\n</domain>\n")
        self.assertIn('{ "too many", lasts = "1h", retry_after = "1h" }', answer["policy"])
        self.assertIn('{ "too many", lasts = "1h", max_msg_rate = "10/h", retry_after = "1h" }', answer["policy"])

    def test_a_list_that_several_have_gets_a_name(self):
        answer = self.imported("<smtp-pattern-list my-list>\nreply /too many/ mode=backoff\n</smtp-pattern-list>\n"
                               "<domain a.example>\nsmtp-pattern-list my-list\n</domain>\n<domain b.example>\nsmtp-pattern-list my-list\n</domain>\n")
        self.assertEqual(answer["policy"].count("too many"), 1)
        self.assertEqual(answer["policy"].count("backoff = my_list"), 2)

    def test_contradicting_entries_stop_at_the_first(self):
        answer = self.imported("<smtp-pattern-list l>\nreply /a/ skip-mx\nreply /b/ bounce-queue\n</smtp-pattern-list>\n"
                               "<domain *>\nsmtp-pattern-list l\n</domain>\n")
        self.assertIn('{ "a", skip_mx = true, stop = true }', answer["policy"])
        self.assertIn('{ "b", bounce = "queue" }', answer["policy"])

    def test_x_virtual_mta_becomes_a_hook(self):
        answer = self.imported("<source 127.0.0.1>\nalways-allow-relaying yes\nprocess-x-virtual-mta yes\nprocess-x-job yes\n"
                               "default-virtual-mta p\n</source>\nsmtp-listener 127.0.0.1:2525\n<virtual-mta a>\nsmtp-source-host 192.0.2.1 a.example.com\n"
                               "</virtual-mta>\n<virtual-mta-pool p>\nvirtual-mta a\n</virtual-mta-pool>\n")
        for part in ('msg:header "X-Virtual-MTA"', 'msg.pool = "p"', 'msg.job = msg:header("X-Job")', 'relay_from = { "127.0.0.1/32" }'):
            self.assertIn(part, answer["policy"])

    def test_who_must_sign_in_may_not_relay_without(self):
        answer = self.imported("smtp-listener 0.0.0.0:25\n<source 0/0>\nalways-allow-relaying yes\nrequire-auth yes\n</source>\n"
                               "<source 10/8>\nalways-allow-relaying yes\n</source>\n")
        self.assertIn('relay_from = { "10.0.0.0/8" }', answer["policy"])
        self.assertEqual(self.verdicts(answer)[4], U)
        self.assertIsNone(answer["lines"][2]["becomes"])
        self.assertNotIn("nobody may send", answer["policy"])
        answer = self.imported("smtp-listener 0.0.0.0:25\n<source 0/0>\nalways-allow-relaying yes\nrequire-auth yes\n</source>\n")
        self.assertIn("nobody may send", answer["policy"])

    def test_the_node(self):
        answer = self.imported("host-name mail.example.com\ntotal-max-smtp-out 800\nname-server 192.0.2.53\n<spool /var/spool/x>\nmin-free-space 2G\n"
                               "</spool>\n<acct-file /var/log/a.csv>\nrecords d,bounce,t\n</acct-file>\nlog-delivery-failures true\n")
        for part in ('hostname       = "mail.example.com"', "max_smtp_out   = 800", 'resolver       = { "192.0.2.53" }',
                     'records = { "d", "b", "t", "tq" }', 'min_free_space = "2G"'):
            self.assertIn(part, answer["policy"])

    def test_a_virtual_mtas_settings_for_what_queue_to_joins_are_the_providers(self):
        answer = self.imported("domain-macro ms hotmail.com,live.com\n<domain $ms>\nqueue-to hotmail.com\n</domain>\n"
                               "<virtual-mta m>\nsmtp-source-host 192.0.2.1 m.example\n<domain $ms>\nmax-smtp-out 3\n</domain>\n"
                               "</virtual-mta>\n<virtual-mta-pool p>\nvirtual-mta m\n<domain hotmail.com>\nmax-msg-rate 10/h\n</domain>\n"
                               "<domain live.com>\nretry-after 5m\n</domain>\n</virtual-mta-pool>\n")
        policy = os.path.join(self.folder, "policy.lua")
        done = command("explain", policy, "live.com", "--vmta", "m", "--json")
        self.assertEqual(json.loads(done.stdout)["settings"]["max_smtp_out"]["value"], 3)
        self.assertNotIn("has no effect", self.check(answer["policy"]))
        self.assertIn("microsoft = { max_msg_rate = \"10/h\" }", answer["policy"])
        self.assertIn("has no effect beside queue-to", self.note(answer, 16))

    def test_members_that_a_virtual_mta_names_one_by_one_are_all_carried_over(self):
        answer = self.imported("<domain live.com>\nqueue-to ms.queue\n</domain>\n<domain msn.com>\nqueue-to ms.queue\n</domain>\n"
                               "<virtual-mta m>\nsmtp-source-host 192.0.2.1 m.example\n<domain live.com>\nmax-smtp-out 3\n</domain>\n"
                               "<domain msn.com>\nmax-msg-rate 5/m\n</domain>\n</virtual-mta>\n")
        self.assertIn('ms = { max_smtp_out = 3, max_msg_rate = "5/m" }', answer["policy"])

    def test_a_cold_virtual_mta_warms_up_by_days(self):
        cold = ("smtp-listener 127.0.0.1:2525\n<source 127.0.0.1>\nprocess-x-virtual-mta yes\n</source>\n<virtual-mta warm>\n"
                "smtp-source-host 192.0.2.1 w.example\ncold-virtual-mta cold\n</virtual-mta>\n<virtual-mta cold>\n"
                "smtp-source-host 192.0.2.2 c.example\n</virtual-mta>\n<virtual-mta-pool p>\nvirtual-mta warm\n</virtual-mta-pool>\n")
        path = self.write("dated", cold + "<domain *>\nmax-cold-virtual-mta-msg 50/day,100/d\n</domain>\n")
        os.utime(path, (1767225600, 1767225600))
        answer = self.run_json(path)
        self.check(answer["policy"])
        self.assertIn('warmup   = { start = "2026-01-01", per_day = { 50, 100 }, overflow = "warm" }', answer["policy"])
        self.assertIn('pool "p" { "warm", "cold" }', answer["policy"])
        self.assertIn('["warm"] = "cold"', answer["policy"])
        self.assertEqual({self.verdicts(answer)[7], self.verdicts(answer)[16]}, {K})
        answer = self.imported(cold + "<domain hotmail.com>\nqueue-to hotmail.com\nmax-cold-virtual-mta-msg 9/day\n</domain>\n"
                               "<domain a.example>\nmax-cold-virtual-mta-msg 5/day\n</domain>\n")
        self.assertIn('per_day = { 9 }, provider = { "microsoft" }, overflow = "warm"', answer["policy"])
        self.assertEqual(self.verdicts(answer)[20], U)
        answer = self.imported(cold.replace("cold-virtual-mta cold", "cold-virtual-mta colt"))
        self.assertEqual(self.verdicts(answer)[7], E)
        self.assertEqual(self.verdicts(self.imported(cold))[7], U)

    def test_no_comment_is_lost(self):
        lines = ["domain-macro m a.example", "smtp-listener 127.0.0.1:2525", "relay-domain b.example", "<source 127.0.0.1>",
                 "always-allow-relaying yes", "require-auth no", "</source>", "<smtp-pattern-list l>", "reply /x/ mode=backoff",
                 "reply /broken", "</smtp-pattern-list>", "<domain *>", "smtp-pattern-list l", "backoff-max-msg-rate 5/h",
                 "queue-to \"\"", "max-smtp-out 3", "max-smtp-out 4", "</domain>", "<virtual-mta v>", "smtp-source-host 192.0.2.1 v.example",
                 "</virtual-mta>", "<mx-rollup-list>", "mx *.example.org o.rollup", "</mx-rollup-list>"]
        text = "".join(f"# before {n}.\n{line} # behind {n}.\n" for n, line in enumerate(lines))
        answer = self.imported(text + "# at the end.\n")
        for n in range(len(lines)):
            self.assertIn(f"before {n}.", answer["policy"])
            self.assertIn(f"behind {n}.", answer["policy"])
        self.assertIn("at the end.", answer["policy"])

    def test_actions_beside_mode_normal_are_carried_over(self):
        answer = self.imported("<smtp-pattern-list l>\nreply /x/ mode=normal,defer-queue\nreply /y# z/ mode=backoff\n</smtp-pattern-list>\n"
                               "<domain *>\nsmtp-pattern-list l\n</domain>\n")
        self.assertIn('{ "x", defer = true }', answer["policy"])
        self.assertIn("x23", self.note(answer, 3))

    def test_domain_settings_of_a_virtual_mta_go_to_all_its_domains(self):
        answer = self.imported("<virtual-mta a>\nsmtp-source-host 192.0.2.1 a.example.com\nmax-msg-rate 5/m\n</virtual-mta>\n")
        self.assertIn('["*"] = { max_msg_rate = "5/m" }', answer["policy"])

    def test_a_pool_without_members_gets_one(self):
        answer = self.imported("<virtual-mta-pool p>\nmax-smtp-out 3\n</virtual-mta-pool>\n")
        self.assertIn('vmta "p-1"', answer["policy"])
        self.assertIn("empty pool", self.note(answer, 1))

    def test_a_pool_whose_last_line_is_a_comment_keeps_both(self):
        policy = self.imported("<virtual-mta a>\n</virtual-mta>\n<virtual-mta-pool p>\n virtual-mta a\n # the last word\n"
                              "</virtual-mta-pool>\n")["policy"]
        self.assertIn('pool "p" {\n  "a",\n  -- the last word\n}\n', policy)

    def test_as_names_the_domain_of_bare_lines(self):
        answer = self.imported("max-smtp-out 3\n", "--as", "domain", "a.example")
        self.assertIn('domain "a.example" { max_smtp_out = 3 }', answer["policy"])

    def test_seconds_zero_and_never(self):
        answer = self.imported("<domain *>\nbounce-after 90\nmax-msg-per-connection 0\nmax-msg-rate 0\nretry-after 0\nmax-smtp-out 0\n</domain>\n")
        self.assertIn('bounce_after           = "90s"', answer["policy"])
        self.assertIn('max_msg_per_connection = "unlimited"', answer["policy"])
        self.assertIn('max_msg_rate           = "unlimited"', answer["policy"])
        self.assertEqual([self.verdicts(answer)[n] for n in (5, 6)], [E, E])

    # --- how it sends ---

    def test_a_node_under_an_imported_policy_sends_by_who_the_header_names(self):
        mx = Receiver()
        self.addCleanup(mx.stop)
        policy = self.imported(f"<source 127.0.0.1>\nprocess-x-virtual-mta yes\nprocess-x-job yes\ndefault-virtual-mta b\n</source>\n"
                               "<virtual-mta a>\nsmtp-source-host 127.0.0.1 a.example.com\n</virtual-mta>\n"
                               "<virtual-mta b>\nsmtp-source-host 127.0.0.1 b.example.com\n</virtual-mta>\n"
                               f"<domain *>\nsmtp-hosts [127.0.0.1]:{mx.port}\n</domain>\n")["policy"]
        node = self.node(policy)
        self.assertEqual(self.send(node, body=b"X-Virtual-MTA: a\r\nX-Job: j1\r\n\r\nx\r\n").code, 250)
        self.assertEqual(self.send(node, body=b"Subject: y\r\n\r\ny\r\n").code, 250)
        self.assertEqual(self.send(node, body=b"X-Virtual-MTA: nobody\r\n\r\nz\r\n").code, 550)
        records = node.wait_records(2, "d")
        self.assertEqual(sorted((r["vmta"], r["jobId"]) for r in records), [("a", "j1"), ("b", "")])
        self.assertEqual(sorted({line.split()[1] for line in mx.commands("EHLO")}), ["a.example.com", "b.example.com"])
        self.assertNotIn(b"X-Virtual-MTA", b"".join(m.data for m in mx.messages))

    # --- includes ---

    def test_includes_are_read_from_the_files_own_folder(self):
        os.mkdir(os.path.join(self.folder, "conf.d"))
        self.write("conf.d/1.conf", "<domain a.example>\nmax-smtp-out 3\n</domain>\n")
        self.write("conf.d/2.conf", "<domain b.example>\nmax-smtp-out 4\n</domain>\n")
        answer = self.imported("include conf.d/*.conf\n")
        self.assertEqual([(os.path.basename(l["file"]), l["line"]) for l in answer["lines"]],
                         [("config", 1), ("1.conf", 1), ("1.conf", 2), ("2.conf", 1), ("2.conf", 2)])
        self.assertIn('domain "b.example"', answer["policy"])

    def test_an_include_that_leads_back_is_an_error_with_its_place(self):
        self.write("a.conf", "max-smtp-out 3\ninclude b.conf\n")
        self.write("b.conf", "include a.conf\n")
        done = command("import-pmta", os.path.join(self.folder, "a.conf"))
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stderr, r"(?m)^\S+/b\.conf:1: include: .*includes itself")

    def test_an_include_that_leads_back_by_another_path_is_the_same_file(self):
        os.mkdir(os.path.join(self.folder, "conf.d"))
        self.write("conf.d/one.conf", "max-smtp-out 3\ninclude ../config\ninclude ./*.conf\n")
        self.write("conf.d/two.conf", "include ../conf.d/*.conf\n")
        answer = self.imported("include conf.d/*.conf\n")
        self.assertLess(len(answer["lines"]), 20)

    def test_an_include_that_is_not_there(self):
        answer = self.imported("max-smtp-out 3\ninclude nothing.conf\n")
        self.assertEqual(self.verdicts(answer)[2], E)

    # --- what is wrong ---

    def test_wrong_lines_are_told_with_their_place_and_the_rest_goes_on(self):
        path = self.write("config", "<domain a.example>\nmax-smtp-out many\nmax-msg-rate 5/fortnight\nmax-smtp-uot 3\nretry-after 1h 2h\n"
                          "max-connect-rate 5/m\n</virtual-mta>\n")
        done = command("import-pmta", path)
        self.assertEqual(done.returncode, 0)
        for line in (1, 2, 3, 5, 7):
            self.assertRegex(done.stderr, rf"(?m)^{path}:{line}: ")
        self.assertIn('max_connect_rate = "5/m"', done.stdout)
        self.assertIn("nearest max-smtp-out", done.stderr)

    def test_what_a_broken_tag_opens_is_not_taken_for_everybody(self):
        answer = self.imported("<domain a.example\nmax-smtp-out 4\n</domian>\nhost-name m.example\n<domain b.example>\nmax-smtp-out 5\n"
                               "</domain\nname-server 127.0.0.1\n")
        self.assertIn('domain "a.example" { max_smtp_out = 4 }', answer["policy"])
        self.assertIn('domain "b.example" { max_smtp_out = 5 }', answer["policy"])
        self.assertNotIn('domain "*"', answer["policy"])
        self.assertEqual(self.verdicts(answer), {1: E, 2: K, 3: E, 4: K, 5: K, 6: K, 7: E, 8: K})
        self.assertEqual([line["directive"] for line in answer["lines"]][0], "domain")

    def test_a_block_without_brackets_ends_where_what_is_global_begins(self):
        answer = self.imported("virtual-mta v\nsmtp-source-host 192.0.2.1 v.example\nmax-smtp-out 4\ntotal-max-smtp-out 90\nmax-smtp-out 5\n")
        self.assertEqual(set(self.verdicts(answer).values()), {K})
        self.assertIn("max_smtp_out = 90", answer["policy"])
        self.assertIn("max_smtp_out = 5", answer["policy"].partition('domain "*"')[2])

    def test_who_goes_by_anothers_mx_is_not_sent_by_its_own(self):
        answer = self.imported("<domain a.example>\nsmtp-hosts lookup-mx:b.example\n</domain>\n<domain hub.queue>\n"
                               "smtp-hosts lookup-mx:b.example\n</domain>\n<domain c.example>\nqueue-to hub.queue\n</domain>\n")
        self.assertEqual((self.verdicts(answer)[2], self.verdicts(answer)[5]), (U, K))

    def test_another_servers_configuration_is_refused(self):
        path = self.write("nginx.conf", "server {\n  listen 80;\n  location / { root /srv; }\n}\n")
        self.assertEqual(command("import-pmta", path).returncode, 1)

    def test_a_pattern_that_is_none_is_an_error(self):
        answer = self.imported("<smtp-pattern-list l>\nreply /(/ mode=backoff\nreply /x/ fly\n</smtp-pattern-list>\n<domain *>\nsmtp-pattern-list l\n</domain>\n")
        self.assertEqual([self.verdicts(answer)[n] for n in (2, 3)], [E, E])

    def test_reroutes_that_go_round_are_left_out(self):
        vmta = "<virtual-mta {0}>\nsmtp-source-host 192.0.2.{2} h.example.com\n<domain *>\nsmtp-pattern-list l\nbackoff-reroute-to-virtual-mta {1}\n</domain>\n</virtual-mta>\n"
        answer = self.imported("<smtp-pattern-list l>\nreply /x/ mode=backoff\n</smtp-pattern-list>\n" + vmta.format("a", "b", 1) + vmta.format("b", "a", 2))
        self.assertNotIn("reroute =", answer["policy"])
        self.assertIn("go round", " ".join(l["note"] or "" for l in answer["lines"]))

    def test_comments_cannot_end_and_no_text_gets_out_of_its_quotes(self):
        answer = self.imported('#[[ max\nmax-smtp-out 3 #]] "\n<domain x"}>\nmax-msg-rate "5/m" } os.exit()\n</domain>\n<virtual-mta a"b>\nfoo "\\\n</virtual-mta>\n')
        self.assertNotRegex(answer["policy"], r"(?m)^--\[")

    def test_what_is_no_text_or_not_there_is_refused(self):
        for name, data in (("nul", b"max-smtp-out 3\n\0"), ("empty", b""), ("json", b'{"a": 1}\n'), ("script", b"#!/bin/sh\nmax-smtp-out 3\n")):
            with self.subTest(name):
                done = command("import-pmta", self.write(name, data))
                self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1))
        done = command("import-pmta", os.path.join(self.folder, "absent"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("absent", done.stderr)
        self.assertEqual(command("import-pmta", self.folder).returncode, 1)

    def test_misuse(self):
        for argv in ([], ["a", "b"], ["a", "-o"], ["a", "--as", "b"], ["a", "--as", "domain"], ["a", "--as", "domain", "a b"], ["--nothing", "a"]):
            with self.subTest(argv):
                self.assertEqual(command("import-pmta", *argv).returncode, 2)

    # --- where it goes ---

    def test_the_policy_goes_to_its_file_and_nothing_else_is_overwritten(self):
        path, out = self.write("config", "max-smtp-out 3\n"), os.path.join(self.folder, "out.lua")
        done = command("import-pmta", path, "-o", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"1 line: 1 known")
        self.assertEqual(command("check", out).returncode, 0)
        self.assertEqual(command("import-pmta", path, "-o", out).returncode, 0, "its own work may be replaced")
        with open(out, "w", encoding="utf-8") as file:
            file.write("-- mine\n")
        done = command("import-pmta", path, "-o", out)
        self.assertEqual(done.returncode, 1)
        self.assertIn("--force", done.stderr)
        with open(out, encoding="utf-8") as file:
            self.assertEqual(file.read(), "-- mine\n")
        self.assertEqual(command("import-pmta", "--force", path, "-o", out).returncode, 0)
        self.assertEqual([n for n in os.listdir(self.folder) if n.endswith(".tmp")], [])
        self.assertNotIn("policy", self.run_json(path, "-o", out))

    def test_a_thousand_lines_take_less_than_a_second(self):
        text = "".join(f"<domain d{n}.example>\nmax-smtp-out {n}\nmax-msg-rate {n}/m\n</domain>\n" for n in range(1, 251))
        path, started = self.write("config", text), time.monotonic()
        self.assertEqual(len(self.run_json(path)["lines"]), 750)
        self.assertLess(time.monotonic() - started, 1.0 * harness.SLOW)

    def test_hostile_sizes_end(self):
        for text in ("max-smtp-out " + "9" * 1000000 + "\n", "<domain a>\n" * 20000, "x" * 3000000, "<!-- " * 50000,
                     "domain-macro a $a,$a\n<domain $a>\n</domain>\n", "max-smtp-out 1 " * 50000):
            with self.subTest(text[:30]):
                done = subprocess.run([harness.SLUICE, "import-pmta", self.write("big", text)], capture_output=True, timeout=60 * harness.SLOW, check=False)
                self.assertIn(done.returncode, (0, 1), done.stderr[-500:])
                self.assertNotIn(b"cannot be imported: ", done.stderr)


harness.main()
