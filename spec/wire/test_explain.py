# SPDX-License-Identifier: Apache-2.0
"""What a policy comes to before it runs: `explain`, and the warnings of `check`."""
import json
import socket
import struct
import threading

import harness
from harness import command

POLICY = '''listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8" } }
vmta "mta-1" { source = "any", max_msg_rate = "300/h",
  provider = { google = { max_smtp_out = 4 } } }
vmta "mta-2" { source = "any" }
pool "default" { "mta-2", "mta-1" }
provider "google" { domains = { "gmail.com" }, mx = { "*.google.example" }, max_smtp_out = 9,
  retry_after = { "10m", "20m" }, backoff = { { "421 RP-001", name = "slow", lasts = "1h", max_smtp_out = 1 } } }
domain "*" { max_smtp_out = 12, bounce_after = "2d" }
'''

# Configurations that operators publish: what is written, and what comes of it.
SEEDS = (
    ("max_smtp_out = 4, max_connect_rate = \"20/h\", max_msg_per_connection = 10,\nmax_msg_rate = \"400/h\", retry_after = \"1h\"", 400, 200),
    ("max_smtp_out = 10, max_msg_per_connection = 10, max_connect_rate = \"50/h\",\nmax_msg_rate = \"1000/h\"", 1000, 500),
    ("max_smtp_out = 2, max_connect_rate = \"12/h\", max_msg_per_connection = 5,\nmax_msg_rate = \"120/h\"", 120, 60),
)
PRODUCT = "max_connect_rate × max_msg_per_connection"

ZONE = {                        # name -> MX records; None: no such domain
    "byhost.example": ((10, "mx1.google.example"), (10, "mx2.google.example"), (20, "far.example")),
    "rolled.example": ((5, "z.mail.example"), (5, "a.mail.example")),
    "null.example": ((0, ""),),
    "gone.example": None,
}


def wire_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


class Resolver:
    """Answers MX over UDP from ZONE; SERVFAIL for what is not in it."""

    def __init__(self, case):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()
        case.addCleanup(self.stop)

    def stop(self):
        self.socket.sendto(b"", self.socket.getsockname())
        self.thread.join()
        self.socket.close()

    def serve(self):
        while True:
            question, peer = self.socket.recvfrom(512)
            if not question:
                return
            self.socket.sendto(self.answer(question), peer)

    @staticmethod
    def answer(question):
        end, labels = 12, []
        while question[end]:
            labels.append(question[end + 1:end + 1 + question[end]].decode().lower())
            end += 1 + question[end]
        name = ".".join(labels)
        hosts = ZONE.get(name) or ()
        rcode = 0 if ZONE.get(name) else 3 if name in ZONE else 2
        records = b"".join(b"\xc0\x0c" + struct.pack("!HHIHH", 15, 1, 60, 2 + len(wire_name(host)), preference) + wire_name(host)
                           for preference, host in hosts)
        return question[:2] + struct.pack("!HHHHH", 0x8180 | rcode, 1, len(hosts), 0, 0) + question[12:end + 5] + records


class Explain(harness.Case):
    def explain(self, *argv, policy=POLICY):
        self.write("policy.lua", policy)
        self.file = self.path("policy.lua")
        done = command("explain", self.file, *argv, "--json")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return json.loads(done.stdout)

    def test_settings_say_value_place_and_scope(self):
        answer = self.explain("GMail.com", "--vmta", "mta-1")
        self.assertEqual((answer["site"], answer["vmta"], answer["queue"], answer["dns"]), ("google", "mta-1", "google/mta-1", None))
        settings = answer["settings"]
        self.assertEqual(settings["max_smtp_out"], {"value": 4, "declared_at": f"{self.file}:3", "scope": 'vmta "mta-1" provider "google"'})
        self.assertEqual(settings["retry_after"], {"value": [600, 1200], "declared_at": f"{self.file}:7", "scope": 'provider "google"'})
        self.assertEqual(settings["bounce_after"], {"value": 172800, "declared_at": f"{self.file}:8", "scope": 'domain "*"'})
        self.assertEqual(settings["max_msg_rate"], {"value": "unlimited", "declared_at": None, "scope": "built-in"})
        self.assertEqual(settings["backoff"]["value"], [{"name": "slow", "declared_at": f"{self.file}:7"}])
        self.assertEqual(settings["smtp_hosts"]["value"], None)
        self.assertEqual([(o["setting"], o["value"], o["declared_at"], o["by"]) for o in answer["overridden"]],
                         [("max_smtp_out", 9, f"{self.file}:6", f"{self.file}:3"), ("max_smtp_out", 12, f"{self.file}:8", f"{self.file}:3")])
        self.assertEqual(answer["ceiling"], {"msgs_per_hour": 300, "bound_by": "vmta.max_msg_rate"})
        self.assertEqual(answer["warnings"], [])

    def test_the_virtual_mta_is_the_default_ones(self):
        answer = self.explain("x.example")
        self.assertEqual((answer["queue"], answer["ceiling"]), ("x.example/mta-2", None), "the first member of the pool default")

    def test_the_text_says_the_same(self):
        self.write("policy.lua", POLICY)
        done = command("explain", self.path("policy.lua"), "gmail.com", "--vmta=mta-1")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"^google/mta-1\n")
        self.assertRegex(done.stdout, r'(?m)^max_smtp_out +4 +\S+:3 +vmta "mta-1" provider "google"$')
        self.assertRegex(done.stdout, r"(?m)^connect_timeout +1m +built-in$")
        self.assertRegex(done.stdout, r'(?m)^max_smtp_out +12 +\S+:8 +domain "\*", by \S+:3$')
        self.assertRegex(done.stdout, r"(?m)^slow +\S+:7$")
        self.assertRegex(done.stdout, r'(?m)^vmta.max_msg_rate +300/h +\S+:2 +vmta "mta-1"$')
        self.assertIn("ceiling: 300 messages an hour, by vmta.max_msg_rate\n", done.stdout)

    def test_what_is_wrong_is_one_sentence(self):
        self.write("policy.lua", POLICY)
        self.write("wrong.lua", 'vmta "a" { source = "any" }\ndomain "*" { max_smtp_uot = 1 }\n')
        good, wrong = self.path("policy.lua"), self.path("wrong.lua")
        for argv, status, said in (
                ((good, "a.example", "--vmta", "mta1"), 1, "sluice: no such virtual MTA: mta1 (mta-1?)\n"),
                ((good, "a.example", "--vmta", "default"), 1, "sluice: default is a pool: name one of its virtual MTAs, such as mta-2\n"),
                ((good, "a..example"), 1, "sluice: not a domain name: an empty label\n"),
                ((wrong, "a.example"), 1, f"{wrong}:2: domain \"*\": max_smtp_uot: no such setting (max_smtp_out?)\n"),
                ((good,), 2, "sluice: explain needs a policy and a domain\nusage: sluice explain POLICY DOMAIN [--vmta NAME] [--dns] [--json]\n"),
                ((good, "a.example", "--vtma", "x"), 2, None)):
            done = command("explain", *argv)
            self.assertEqual((done.returncode, done.stdout), (status, ""), argv)
            if said:
                self.assertEqual(done.stderr, said)
        self.assertIn("--dns", command("explain", "--help").stdout)

    # --- names ---

    def asked(self, domain, more=""):
        policy = f'node {{ resolver = {{ "{Resolver(self).address}" }} }}\n{POLICY}{more}'
        return self.explain(domain, "--dns", policy=policy)

    def test_mail_exchangers_decide_only_when_asked(self):
        self.assertEqual(self.explain("byhost.example")["site"], "byhost.example")
        answer = self.asked("byhost.example")
        self.assertEqual((answer["site"], answer["settings"]["max_smtp_out"]["value"]), ("google", 9))
        self.assertEqual(answer["dns"], {"status": "found", "mx": [
            {"host": "mx1.google.example", "preference": 10}, {"host": "mx2.google.example", "preference": 10},
            {"host": "far.example", "preference": 20}]})
        self.assertEqual(self.asked("rolled.example")["site"], "a.mail.example", "rolled up: the alphabetically first host")
        self.assertEqual(self.asked("rolled.example", 'domain "rolled.example" { max_smtp_out = 1 }')["site"], "rolled.example")
        self.assertEqual(self.asked("gone.example")["dns"], {"status": "no such domain", "mx": []})
        self.assertEqual(self.asked("null.example")["dns"]["mx"], [])

    def test_a_resolver_in_trouble_is_an_error(self):
        self.write("policy.lua", f'node {{ resolver = {{ "{Resolver(self).address}" }} }}\n{POLICY}')
        done = command("explain", self.path("policy.lua"), "trouble.example", "--dns")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"^sluice: trouble.example: .+\n$")

    # --- arithmetic ---

    def test_the_arithmetic_of_configurations_from_the_field(self):
        for settings, written, comes in SEEDS:
            policy = f'listener "127.0.0.1:2525" {{ relay_from = {{ "::1" }} }}\nvmta "default" {{ source = "any" }}\ndomain "hotmail.com" {{ {settings} }}\n'
            answer = self.explain("hotmail.com", policy=policy)
            self.assertEqual(answer["ceiling"], {"msgs_per_hour": comes, "bound_by": PRODUCT})
            self.assertEqual(answer["settings"]["max_msg_rate"]["value"], f"{written}/h")
            self.assertEqual([(w["file"], w["line"]) for w in answer["warnings"]], [(self.file, 4)])
            done = command("check", self.file, "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            check = json.loads(done.stdout)
            self.assertTrue(check["ok"])
            self.assertEqual([(w["file"], w["line"]) for w in check["warnings"]], [(self.file, 4)])
            self.assertIn(f"max_msg_rate: {written}/h can never be reached: {PRODUCT}", check["warnings"][0]["text"])
            self.assertIn(f"allows {comes} messages an hour", check["warnings"][0]["text"])

    def test_check_warns_of_what_an_operator_would_not_see(self):
        self.write("policy.lua", '''listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8" } }
vmta "default" { source = "any",
  domain = { ["*"] = { max_smtp_out = 3 } } }
provider "google" { domains = { "gmail.com" }, max_smtp_out = 9, backoff = {
  { "421", stop = true, lasts = "1h", max_smtp_out = 1 },
  { "421", lasts = "1h", suspend = true },
  { "^RP-001", lasts = "1h", suspend = true },
  { "421 RP%-001", at = "mail", lasts = "1h", suspend = true },
} }
''')
        done = command("check", self.path("policy.lua"))
        self.assertEqual(done.returncode, 0)
        for line, said in ((3, "a named site beats"), (6, "can never match"), (7, "can never match"), (8, 'write "421 RP-001"')):
            self.assertRegex(done.stderr, rf"(?m)^\S+:{line}: warning: .*{said}")


harness.main()
