# SPDX-License-Identifier: Apache-2.0
"""The unit as `make install` leaves it, under a real systemd (systemd.py): start, rights, reload, hangs, stop, journal."""
import collections
import json
import os
import re
import shlex
import signal
import stat
import subprocess

import harness
from client import Client
from harness import ROOT, now, until
from load import Load
from receiver import HANG, Receiver
from systemd import Machine

NEEDS_NAMESPACE = True
BUILDS = os.path.relpath(harness.BUILD, ROOT)
BIND = 1 << 10
WATCHDOG_S = int(6 * harness.SLOW)
STOP_S = 10
POLICY = '''node {{ hostname = "{name}", min_free_space = 0, accounting = {{ file = "/var/log/sluice/accounting.csv" }} }}
listener "127.0.0.1:25" {{ relay_from = {{ "127.0.0.0/8" }} }}
vmta "default" {{ source = "any" }}
domain "*" {{ smtp_hosts = "{at}", retry_after = "1s", retry_recipients_after = "1s", retry_jitter = "0%" }}
'''
# A call that the filter refuses ends the node here, instead of being told EPERM: so each test shows that it makes none.
STRICT = "[Service]\nSystemCallErrorNumber=kill\n"
HASTY = f"[Service]\nWatchdogSec={WATCHDOG_S}\n"


class Case(harness.Case):
    def setUp(self):
        super().setUp()
        if harness.SANITIZED:
            self.skipTest("sanitizers take more rights than the unit gives")
        self.mx = Receiver(certificate=harness.Certificates(self.path("ca")).issue("mx.example"))
        self.addCleanup(self.mx.stop)
        self.machine = Machine()
        self.addCleanup(self.machine.stop)
        self.install()
        self.machine.boot()

    def install(self):
        """As an operator does: `make install`, the user that the unit's head tells to make, a policy."""
        subprocess.run(["make", "-s", "install", f"B={BUILDS}", f"DESTDIR={self.machine.root}", "PREFIX=/usr/local", "SAN="], cwd=ROOT, check=True,
                       capture_output=True)
        with open(self.machine.at("usr/local/lib/systemd/system/sluice.service"), encoding="utf-8") as unit:
            useradd = re.search(r"^#\s+(useradd .*)$", unit.read(), re.M).group(1)
        done = subprocess.run(["chroot", self.machine.root, *shlex.split(useradd)], check=False, capture_output=True)
        self.assertIn(done.returncode, (0, 9), done.stderr)     # 9: this machine has that user already
        self.policy()
        self.machine.write("etc/systemd/system/sluice.service.d/strict.conf", STRICT)

    def policy(self, name="node.example", extra=""):
        self.machine.write("etc/sluice/policy.lua", POLICY.format(name=name, at=self.mx.at) + extra)

    def systemctl(self, verb, check=True):
        """check: it must do it. Returns whether it did."""
        done = self.machine.run("systemctl", verb, "sluice", check=False)
        if check and done.returncode != 0:
            self.fail(f"{verb}: {done.stderr}{self.machine.run('journalctl', '-o', 'cat').stdout[-3000:]}")
        return done.returncode == 0

    def property(self, key):
        return self.machine.of_unit("sluice", key)

    def main_pid(self):
        """The number that the node has here."""
        inside = self.property("MainPID")
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/status", encoding="ascii") as status:
                    if re.search(rf"^Name:\tsluice\n(.*\n)*NSpid:\t{pid}\t{inside}$", status.read(), re.M):
                        return int(pid)
            except OSError:
                pass
        raise AssertionError(f"no process {inside}: {self.journal()}")

    def status(self):
        return json.loads(self.machine.run("/usr/local/bin/sluice", "status", "--json", "--control", "/run/sluice/control.sock").stdout)

    def journal(self):
        """(priority, text) of each line of the unit's own processes."""
        lines = self.machine.run("journalctl", "-o", "json", "-t", "sluice").stdout.splitlines()
        return [(int(line["PRIORITY"]), line["MESSAGE"]) for line in map(json.loads, lines)]

    def said(self, pattern):
        """The priority of the first such line, once it is there: journald reads a pipe."""
        found = until(lambda: [priority for priority, text in self.journal() if re.search(pattern, text)],
                      lambda: f"it says {pattern}: {self.journal()}")
        return found[0]

    def send(self, to="user@example.com"):
        with Client(25) as client:
            return client.message("sender@sender.example", [to], b"Subject: test\r\n\r\nhello\r\n").code


class AsInstalled(Case):
    def test_it_is_active_once_it_takes_mail(self):
        self.systemctl("start")
        self.assertEqual(self.send(), 250)      # at once
        self.assertIsNotNone(self.delivered(self.mx).session.tls)
        self.assertEqual((self.property("ActiveState"), self.property("Type"), self.property("NRestarts")), ("active", "notify", "0"))
        warnings = self.machine.run("journalctl", "-o", "cat", "-p", "warning").stdout
        self.assertNotRegex(warnings, "(?i)sluice", "systemd has nothing to say against the unit")

    def test_it_has_one_right_and_a_filter(self):
        self.systemctl("start")
        uid = self.machine.run("id", "-u", "sluice").stdout.strip()
        pid = self.main_pid()
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as file:
                status = {key: value.strip() for key, _, value in (line.partition(":") for line in file)}
            with self.subTest(status["Name"]):
                self.assertEqual(set(status["Uid"].split()), {uid})
                self.assertEqual([int(status[c], 16) & ~BIND for c in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")], [0] * 5)
                self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))

    def test_it_writes_to_its_own_folders_and_nowhere_else(self):
        self.systemctl("start")
        tries = "; ".join(f"(: > {folder}/x) 2>/dev/null && rm {folder}/x && echo {folder}" for folder in (
            "", "/etc", "/etc/sluice", "/usr/local/bin", "/home", "/root", "/dev", "/run", "/var/log", "/var/lib", "/var/spool", "/sys", "/proc",
            "/proc/sys/kernel", "/var/spool/sluice", "/var/log/sluice", "/run/sluice"))
        enter = ["nsenter", "-t", self.property("MainPID"), "--mount", "--"]
        for who in ([], ["setpriv", "--reuid=sluice", "--regid=sluice", "--clear-groups"]):
            done = self.machine.run(*enter, *who, "sh", "-c", tries, check=False)
            expected = {"/var/spool/sluice", "/var/log/sluice", "/run/sluice"} | ({"/run"} if not who else set())
            self.assertEqual(set(done.stdout.split()), expected, f"as {who or 'root'}")

    def test_others_can_not_look(self):
        self.systemctl("start")
        self.assertEqual(self.send(), 250)
        self.delivered(self.mx)
        listed = self.machine.run("find", "/var/spool/sluice", "/run/sluice", "/var/log/sluice", "-printf", r"%m %u %p\n").stdout.split("\n")[:-1]
        modes = {path: (int(mode, 8), user) for mode, user, path in (line.split(" ", 2) for line in listed)}
        self.assertEqual(modes["/var/spool/sluice"], (0o700, "sluice"))
        self.assertEqual(modes["/run/sluice"], (0o750, "sluice"))
        self.assertEqual(modes["/run/sluice/control.sock"], (0o600, "sluice"))
        self.assertEqual(modes["/var/log/sluice/accounting.csv"], (0o640, "sluice"))
        for path, (mode, user) in modes.items():
            self.assertEqual((mode & stat.S_IRWXO, user), (0, "sluice"), path)

    def test_a_reload_takes_the_policy_or_fails(self):
        self.systemctl("start")
        self.policy(name="other.example")
        self.systemctl("reload")
        with Client(25) as client:
            self.assertIn("other.example", client.greeting.text)
        self.policy(extra="no such thing\n")
        self.assertFalse(self.systemctl("reload", check=False))
        self.assertEqual((self.status()["generation"], self.property("ActiveState"), self.property("NRestarts")), (2, "active", "0"))
        self.policy(extra='domain "a.example" { backoff = { { "421", stop = true }, { "421 RP", defer = true } } }\n')
        self.systemctl("reload")
        self.assertEqual(self.said("listening on"), 6)
        self.assertEqual(self.said("generation 2 is in force"), 6)
        self.assertEqual(self.said(r"Z warning .*policy\.lua:5"), 4)
        self.assertEqual(self.said("the policy in force stays"), 3)

    def test_a_policy_that_does_not_load_is_named(self):
        self.policy(extra="no such thing\n")
        self.assertFalse(self.systemctl("start", check=False))
        self.assertEqual(self.said(r"policy\.lua:5: "), 3)
        self.policy()
        until(lambda: self.property("ActiveState") == "active", lambda: f"it is tried again: {self.journal()}", 20)


class WhatEndsIt(Case):
    def watched(self):
        """Not for the half minute that the unit has."""
        self.machine.write("etc/systemd/system/sluice.service.d/hasty.conf", HASTY)

    def queued_then(self, happens):
        """Mail that waits is delivered by the process that systemd starts after this one's end."""
        self.mx.answer("MAIL", "451 4.3.0 later")
        self.systemctl("start")
        for n in range(20):
            self.assertEqual(self.send(f"user{n}@d{n}.example"), 250)
        first = self.property("MainPID")
        happens()
        until(lambda: self.property("NRestarts") == "1", lambda: f"it is started again: {self.journal()}", 3 * WATCHDOG_S / harness.SLOW + 10)
        until(lambda: self.property("ActiveState") == "active", "it runs", 20)
        self.assertNotEqual(self.property("MainPID"), first)
        self.mx.accept_all()
        until(lambda: len(self.mx.messages) >= 20, lambda: f"all go: {self.status()}", 20)
        until(lambda: self.status()["queued"] == 0, "none is left")
        self.assertEqual(sorted(self.mx.recipients()), sorted(f"user{n}@d{n}.example" for n in range(20)))

    def hang(self):
        harness.hang(self.main_pid(), "control_request_parse")
        self.machine.run("timeout", "1", "/usr/local/bin/sluice", "status", "--control", "/run/sluice/control.sock", check=False)

    def test_a_loop_that_hangs(self):
        self.watched()
        self.queued_then(self.hang)
        self.assertEqual(self.said("error shard-0 hangs: its loop has not turned for"), 3)
        self.said(r"sluice\(\+0x[0-9a-f]+\)")     # its stack

    def test_a_process_that_stands_still(self):
        self.watched()
        self.queued_then(lambda: os.kill(self.main_pid(), signal.SIGSTOP))
        self.assertIn("Watchdog timeout", self.machine.run("journalctl", "-o", "cat").stdout)

    def test_a_kill(self):
        self.queued_then(lambda: os.kill(self.main_pid(), signal.SIGKILL))

    def test_a_stop_under_load(self):
        """Within 10 s, though receivers withhold their replies; each acknowledged recipient is delivered in the end, and none twice."""
        self.mx.answer(".", HANG, every=10)
        self.systemctl("start")
        load = Load(25, clients=2)
        until(lambda: len(load.acknowledged) > 500 and len(self.mx.attempts) > 100, "the load flows", 30)
        began = now()
        self.systemctl("stop")
        self.assertLess(now() - began, STOP_S * harness.SLOW)
        self.assertEqual((self.property("ActiveState"), self.property("Result")), ("inactive", "success"))
        sent = load.stop()
        self.mx.accept_all()
        self.systemctl("start")
        until(lambda: self.status()["queued"] == 0, lambda: f"all go: {self.status()}", 30)
        got = collections.Counter(self.mx.recipients())
        self.assertEqual({name: got[name] for name in sent if got[name] != 1}, {})


harness.main()
