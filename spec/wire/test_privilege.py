# SPDX-License-Identifier: Apache-2.0
"""Who the node is once it runs, what others may read of it, what it never says, and who ends it when it hangs."""
import ctypes
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess

import harness
from client import Client
from harness import ROOT, until
from receiver import Receiver

CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
BIND, DAC_OVERRIDE = 1 << 10, 1 << 1
PR_SET_MDWE = 65                # Linux 6.3
OPENAT2 = 437                   # on all machines
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
BUILDS = os.path.relpath(harness.BUILD, ROOT)


def of_each_thread(pid):
    """/proc/PID/task/*/status as dictionaries: rights are a thread's own."""
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as status:
            yield {key: value.strip() for key, _, value in (line.partition(":") for line in status)}


def forbid(call):
    """That system call answers EPERM from now on."""
    lines = [struct.pack("HBBI", *line) for line in ((0x20, 0, 0, 0), (0x15, 0, 1, call), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7fff0000))]
    text = ctypes.create_string_buffer(b"".join(lines))
    program = struct.pack("HP", len(lines), ctypes.addressof(text))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) != 0:
        os._exit(99)


class Case(harness.Case):
    def setUp(self):
        super().setUp()
        if os.geteuid() != 0 or os.environ.get(harness.NAMESPACE) != "root":
            self.skipTest("root and name spaces of its own are needed")
        self.nobody = pwd.getpwnam("nobody")

    def become_nobody(self):
        os.umask(0)             # what the node makes is not left to chance
        os.setgroups([])
        os.setgid(self.nobody.pw_gid)
        os.setuid(self.nobody.pw_uid)

    def receiver(self, **options):
        mx = Receiver(**options)
        self.addCleanup(mx.stop)
        return mx

    def nobodys_folder(self):
        folder = self.path("owned")
        os.mkdir(folder, 0o700)
        os.chown(folder, self.nobody.pw_uid, self.nobody.pw_gid)
        return folder

    def as_user(self, settings="", policy="", **options):
        """Started as root, on a port of root's."""
        return self.start(f'node {{ hostname = "node.example", min_free_space = 0, user = "nobody", {settings} }}\n'
                          f'listener "127.0.0.1:587" {{ relay_from = {{ "127.0.0.0/8" }} }}\nvmta "default" {{ source = "any" }}\n{policy}',
                          587, folder=self.nobodys_folder(), preexec=lambda: os.umask(0), **options)


class WhoItIs(Case):
    def test_no_thread_keeps_anything_of_root(self):
        node = self.as_user()
        for status in of_each_thread(node.popen.pid):
            with self.subTest(status["Name"]):
                self.assertEqual(set(status["Uid"].split()), {str(self.nobody.pw_uid)})
                self.assertEqual(set(status["Gid"].split()), {str(self.nobody.pw_gid)})
                self.assertEqual(status["Groups"].split(), [str(self.nobody.pw_gid)])
                self.assertEqual([int(status[c], 16) for c in CAPABILITIES], [0] * 5)
                self.assertEqual(status["NoNewPrivs"], "1")
        self.assertNotIn("runs as root", node.log)

    def test_root_that_stays_is_told_and_keeps_two(self):
        node = self.node()
        self.assertRegex(node.log, r"warning runs as root")
        for status in of_each_thread(node.popen.pid):
            with self.subTest(status["Name"]):
                self.assertEqual([int(status[c], 16) for c in CAPABILITIES], [0, BIND | DAC_OVERRIDE, BIND | DAC_OVERRIDE, 0, 0])
                self.assertEqual(status["NoNewPrivs"], "1")

    def test_an_ordinary_user_has_nothing(self):
        folder = self.nobodys_folder()
        node = self.start('node { hostname = "node.example", min_free_space = 0 }\nvmta "default" { source = "any" }\n'
                          'listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8" } }\n', 2525, folder=folder, preexec=self.become_nobody)
        for status in of_each_thread(node.popen.pid):
            self.assertEqual([int(status[c], 16) for c in CAPABILITIES[:3]], [0] * 3)
            self.assertEqual(status["NoNewPrivs"], "1")

    def test_its_memory_is_dumped_by_nobody(self):
        """What is not dumpable belongs to root in /proc, so that others of the same user can't read it; a core has no size."""
        node = self.as_user()
        self.assertEqual(os.stat(f"/proc/{node.popen.pid}/environ").st_uid, 0)
        with open(f"/proc/{node.popen.pid}/limits", encoding="ascii") as limits:
            self.assertRegex(limits.read(), r"Max core file size +0 +0 ")

    def test_what_it_writes_is_for_its_owner(self):
        node = self.as_user(policy=f'domain "*" {{ smtp_hosts = "127.0.0.1:{harness.free_port()}" }}\n')
        self.send(node)
        node.wait_records(1, "tq")
        node.stop()             # the last good policy is kept
        node = self.restart(node, preexec=lambda: os.umask(0))
        modes = {}
        for base, folders, files in os.walk(node.spool):
            modes.update((os.path.join(base, name), os.stat(os.path.join(base, name))) for name in folders + files)
        self.assertGreater(len(modes), 3, modes)
        for path, entry in modes.items():
            self.assertEqual((stat.S_IMODE(entry.st_mode) & 0o077, entry.st_uid), (0, self.nobody.pw_uid), path)
        self.assertEqual(stat.S_IMODE(os.stat(node.spool).st_mode), 0o700)
        self.assertEqual(stat.S_IMODE(os.stat(node.control).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(node.accounting).st_mode), 0o640)

    def test_without_memory_that_is_both_written_and_run(self):
        """As the unit has it: the sandbox interprets, and patterns match without machine code."""
        def deny():
            if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_MDWE, 1, 0, 0, 0) != 0:
                os._exit(99)
        mx = self.receiver()
        mx.answer("MAIL", "421 4.7.0 RP-001 slow down")
        node = self.node(f'domain "*" {{ smtp_hosts = "{mx.at}", '
                         f'backoff = {{ {{ "4\\\\d1 .*RP-0+1", max_smtp_out = 1, lasts = "1h" }} }} }}\n'
                         'on.rcpt(function() end)\n', preexec=deny, wait=False)
        until(lambda: "\nready\n" in node.log or not node.running(), "it begins")
        if node.popen.returncode == 99:
            self.skipTest("the kernel is older than 6.3")
        self.send(node)
        node.wait_records(1, "t")
        self.assertEqual(len(node.command("why", "example.com/default")["overlays"]), 1)

    def test_the_unit_verifies_and_is_exposed_little(self):
        analyze = shutil.which("systemd-analyze")
        if not analyze or not shutil.which("make"):
            self.skipTest("no systemd-analyze(1)")
        at = self.path("prefix")
        subprocess.run(["make", "-s", "install", f"B={BUILDS}", f"PREFIX={at}", "SAN="], cwd=ROOT, check=True, capture_output=True)
        unit = f"{at}/lib/systemd/system/sluice.service"
        done = subprocess.run([analyze, "verify", "--man=no", unit], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        done = subprocess.run([analyze, "security", "--offline=true", "--threshold=15", "--no-pager", unit],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout[-600:] + done.stderr)


class WhatRootGives(Case):
    """Whoever may write where the node does, is no more than himself after it was started by root."""

    POLICY = ('node {{ hostname = "node.example", min_free_space = 0, {0} }}\n'
              'listener "127.0.0.1:2525" {{ relay_from = {{ "127.0.0.0/8" }} }}\nvmta "default" {{ source = "any" }}\n')

    def run_on(self, folder, policy, *options, preexec=None):
        """Ready, or at its end."""
        argv = [harness.SLUICE, "run", self.write("given.lua", policy), "--control", os.path.join(folder, "c.sock"), "--resolver", "127.0.0.1:9"]
        node = self.keep(harness.Process([*argv, *options], self.path(f"log{len(self.processes)}"), preexec=preexec))
        until(lambda: "\nready\n" in node.log or not node.running(), lambda: f"it begins: {node.log}", 20)
        return node

    def test_no_folder_that_a_link_leads_to(self):
        folder, victim = self.nobodys_folder(), self.path("victim")
        os.makedirs(os.path.join(victim, "spool"), 0o755)
        os.symlink(victim, os.path.join(folder, "link"))
        for spool in ("link", "link/spool", "link/new"):
            with self.subTest(spool):
                node = self.run_on(folder, self.POLICY.format('user = "nobody"'), "--spool", os.path.join(folder, spool))
                self.assertEqual(node.popen.returncode, 1, node.log)
                self.assertIn("a symbolic link leads there", node.log)
                self.assertEqual({os.stat(base).st_uid for base, _, _ in os.walk(victim)}, {0})

    def test_a_folder_where_newer_system_calls_are_forbidden(self):
        """As in containers with a list of those that were known when it was made."""
        folder = self.nobodys_folder()
        new = os.path.join(folder, "new")
        node = self.run_on(folder, self.POLICY.format('user = "nobody"'), "--spool", new, preexec=lambda: forbid(OPENAT2))
        self.assertTrue(node.running(), node.log)
        self.assertEqual(os.stat(new).st_uid, self.nobody.pw_uid)

    def test_a_link_to_what_the_user_has_is_followed(self):
        folder = self.nobodys_folder()
        os.mkdir(os.path.join(folder, "disk"), 0o700)
        os.chown(os.path.join(folder, "disk"), self.nobody.pw_uid, self.nobody.pw_gid)
        os.symlink("disk", os.path.join(folder, "link"))
        node = self.run_on(folder, self.POLICY.format('user = "nobody"'), "--spool", os.path.join(folder, "link"))
        self.assertTrue(node.running(), node.log)

    def test_a_spool_of_roots_own_is_not_the_users_before_it_is_given_to_him(self):
        """Who was told to name a user did so."""
        spool = self.path("spool")
        self.run_on(self.path(""), self.POLICY.format(""), "--spool", spool).stop()
        node = self.run_on(spool, self.POLICY.format('user = "nobody"'), "--spool", spool)
        self.assertEqual(node.popen.returncode, 1, node.log)
        self.assertRegex(node.log, f"{spool}, or what lies in it, is another user's: chown -R ")
        subprocess.run(["chown", "-R", "nobody", spool], check=True)
        self.assertTrue(self.run_on(spool, self.POLICY.format('user = "nobody"'), "--spool", spool).running())

    def test_a_last_good_policy_of_the_user_is_no_way_to_root(self):
        """The user keeps one in his spool that names no user and another spool; then root's own policy is broken."""
        folder, victim, spool = self.nobodys_folder(), self.path("victim"), "/var/spool/sluice"
        os.mkdir(victim, 0o755)
        subprocess.run(["mount", "-t", "tmpfs", "spool", "/var/spool"], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", "/var/spool"], check=False)
        os.mkdir(spool, 0o700)
        os.chown(spool, self.nobody.pw_uid, self.nobody.pw_gid)
        self.run_on(folder, self.POLICY.format(f'spool = "{victim}"'), "--spool", spool, preexec=self.become_nobody).stop()
        self.assertEqual(os.stat(os.path.join(spool, "policy.good")).st_uid, self.nobody.pw_uid)
        node = self.run_on(folder, "no such thing\n", "--last-good", "--spool", spool)
        self.assertEqual({uid for status in of_each_thread(node.popen.pid) for uid in status["Uid"].split()}, {str(self.nobody.pw_uid)})
        node.stop()
        node = self.run_on(folder, "no such thing\n", "--last-good")
        self.assertEqual((node.running(), os.stat(victim).st_uid), (False, 0), node.log)


    def test_a_last_good_policy_of_the_user_has_no_key_of_roots_read(self):
        """But a port of root's it may have: that is what the node is started by root for."""
        folder, spool = self.nobodys_folder(), self.path("owned/spool")
        cert, key = harness.Certificates(self.path("ca")).issue("node.example")
        for path in (cert, key):
            os.chown(path, self.nobody.pw_uid, self.nobody.pw_gid)
        os.chmod(os.path.dirname(cert), 0o755)
        tls = f'tls = {{ certificate = "{cert}", key = "{key}" }}, '
        policy = self.POLICY.format('user = "nobody"').replace(":2525", ":587").replace("{ relay", "{ " + tls + "relay")
        self.run_on(folder, policy, "--spool", spool).stop()
        good = os.path.join(spool, "policy.good")
        node = self.run_on(folder, "no such thing\n", "--last-good", "--spool", spool)
        self.assertTrue(node.running(), node.log)
        for status in of_each_thread(node.popen.pid):
            self.assertEqual([status[each] for each in CAPABILITIES], ["0" * 16] * 5)
        node.stop()
        self.assertEqual(os.stat(good).st_uid, self.nobody.pw_uid)
        os.chown(key, 0, 0)
        os.chmod(key, 0o600)
        node = self.run_on(folder, "no such thing\n", "--last-good", "--spool", spool)
        self.assertFalse(node.running(), "a key that its writer cannot read")
        self.assertIn(key, node.log)


class HowItBegins(Case):
    def test_closed_standard_descriptors_are_nobody_elses(self):
        def close():
            for fd in range(3):
                os.close(fd)
        node = self.node(wait=False, preexec=close)
        until(lambda: os.path.exists(node.control), "it begins", 20)
        for fd in range(3):
            self.assertEqual(os.readlink(f"/proc/{node.popen.pid}/fd/{fd}"), "/dev/null")
        self.assertEqual(self.send(node).code, 250)
        done = subprocess.run([harness.SLUICE, "status", "--control", node.control], stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1), check=False)
        self.assertEqual((done.returncode, done.stderr), (1, b"sluice: cannot write to standard output\n"))

    def test_signals_that_come_while_it_starts_are_heard_afterwards(self):
        """A policy that is a pipe holds the start up."""
        node = self.node()
        node.stop()
        policy = node.policy
        os.rename(policy, policy + ".whole")
        os.mkfifo(policy)
        again = harness.Node(node.folder, None, node.port, spool=node.spool)
        self.keep(again)
        with open(policy, "w", encoding="utf-8") as pipe:
            again.signal(signal.SIGHUP)
            again.signal(signal.SIGUSR1)
            os.rename(policy + ".whole", policy)        # what the swap reads
            with open(policy, encoding="utf-8") as whole:
                pipe.write(whole.read())
        again.wait_ready()
        until(lambda: again.status()["generation"] == 2 or "swap" in again.log, lambda: again.log)


class WhatItNeverSays(Case):
    def test_a_password_is_in_neither_log_nor_trace(self):
        """Inbound AUTH is refused, and what stood behind it is forgotten."""
        secrets = ("AGFsaWNlAHMzY3JldA==", "s3cret-line", "0pen-sesame")
        node = self.node("on.mail(function(session) print(session.helo) end)")
        trace = self.keep(harness.Process([harness.SLUICE, "trace", "--json", "--control", node.control], self.path("trace.log")))
        until(lambda: self.traced(node, trace), "the trace hears")
        with Client(node.port) as c:
            self.assertEqual(c.command(f"AUTH PLAIN {secrets[0]}").code, 502)
            self.assertEqual(c.command(f"auth  login {secrets[1]}").code, 502)
            self.assertEqual(c.command(f"AUTH CRAM-MD5\t{secrets[2]}").code, 500)
            c.command("QUIT")
        until(lambda: "QUIT" in trace.log, lambda: trace.log)
        status = node.command("status", json_out=False)
        for secret in secrets:
            for text in (node.log, trace.log, status):
                self.assertNotIn(secret, text)

    def traced(self, node, trace):
        with Client(node.port) as c:
            c.command("NOOP")
        return "NOOP" in trace.log

    def test_a_key_is_read_and_kept_nowhere(self):
        cert, key = harness.Certificates(self.path("ca")).issue("node.example")
        node = self.node(listener=f'tls = {{ certificate = "{cert}", key = "{key}" }}')
        with Client(node.port) as c:
            self.assertEqual(c.starttls().code, 220)
        with open(key, encoding="ascii") as file:
            line = file.read().splitlines()[1].encode()
        node.stop()
        for base, _, files in os.walk(node.folder):
            for name in files:
                with open(os.path.join(base, name), "rb") as file:
                    self.assertNotIn(line, file.read(), name)


class WhoEndsIt(Case):
    def managed(self, **options):
        """A node under a service manager that wants to hear of it every 4 s; what it hears."""
        heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(heard.close)
        heard.bind(self.path("notify"))
        heard.settimeout(20 * harness.SLOW)
        return self.node(env={"NOTIFY_SOCKET": self.path("notify"), "WATCHDOG_USEC": str(int(4e6 * harness.SLOW))}, **options), heard

    def test_the_manager_hears_when_it_is_ready_alive_and_stopping(self):
        node, heard = self.managed()
        self.assertEqual(heard.recv(100), b"READY=1")
        self.assertEqual(heard.recv(100), b"WATCHDOG=1")
        node.signal(signal.SIGTERM)
        words = [heard.recv(100)]
        while words[-1] == b"WATCHDOG=1":
            words.append(heard.recv(100))
        self.assertEqual(words[-1], b"STOPPING=1")

    def test_a_loop_that_hangs_is_ended_and_nothing_is_lost(self):
        node, _ = self.managed(paused=True, policy='domain "*" { smtp_hosts = "127.0.0.1:9" }\n')
        self.assertEqual(self.send(node).code, 250)
        harness.hang(node.popen.pid, "control_request_parse")
        with socket.socket(socket.AF_UNIX) as asks:
            asks.connect(node.control)
            asks.sendall(b'{"command":"status"}\n')
            node.crashed = True
            self.assertEqual(node.wait(20), -signal.SIGABRT)
        said = node.log
        self.assertRegex(said, r"error shard-0 hangs: its loop has not turned for \d+\.\d s")
        if "tsan" not in harness.BUILD:         # which holds a signal back until the thread calls something
            self.assertGreater(len(re.findall(r"sluice\(\+0x[0-9a-f]+\)", said)), 2, "its stack: " + said)
        self.assertEqual(self.restart(node).status()["queued"], 1)

    def test_a_log_that_nobody_reads_any_more_does_not_end_it(self):
        node = self.node(wait=False)
        node.wait_ready()
        node.stop()
        reads, writes = os.pipe()
        again = harness.Node(node.folder, None, node.port, spool=node.spool, preexec=lambda: os.dup2(writes, 2))
        self.keep(again)
        os.close(writes)
        with os.fdopen(reads, "rb") as pipe:
            while b"ready\n" not in pipe.readline():
                pass
        again.signal(signal.SIGHUP)     # a swap is logged
        until(lambda: again.status()["generation"] == 2, "it swapped")
        self.assertEqual(self.send(again).code, 250)

    def test_a_log_that_nobody_reads_does_not_hold_a_start_up(self):
        node = self.node()
        node.stop()
        reads, writes = os.pipe()
        self.addCleanup(os.close, reads)
        with open(writes, "wb", buffering=0) as pipe:
            os.set_blocking(writes, False)
            while pipe.write(b"\n" * 4096):
                pass
            os.set_blocking(writes, True)
            again = harness.Node(node.folder, None, node.port, spool=node.spool, preexec=lambda: os.dup2(writes, 2))
        self.keep(again)
        until(lambda: os.path.exists(again.control), "it begins")
        self.assertEqual(again.status()["generation"], 1)
        self.assertEqual(self.send(again).code, 250)

    def test_a_log_that_nobody_reads_for_a_while_does_not_hold_it_up(self):
        """Not even two commands beside it: a pipe full of what a policy prints."""
        node = self.node("on.rcpt(function() for i = 1, 50 do print(('x'):rep(1900)) end end)\n")
        node.stop()
        reads, writes = os.pipe()
        again = harness.Node(node.folder, None, node.port, spool=node.spool, preexec=lambda: os.dup2(writes, 2))
        self.keep(again)
        os.close(writes)
        heard = b""
        while b"ready\n" not in heard:
            heard += os.read(reads, 65536)
        for n in range(3):
            self.assertEqual(self.send(again).code, 250)
            self.assertEqual(again.status()["queued"], n + 1)
        again.signal(signal.SIGHUP)
        until(lambda: again.status()["generation"] == 2, "it swapped")
        os.set_blocking(reads, False)
        os.read(reads, 1 << 20)
        self.assertEqual(self.send(again).code, 250)
        self.assertRegex(os.read(reads, 1 << 20), rb"warning nobody read this log: \d+ lines are missing here\n")
        os.set_blocking(reads, True)
        self.addCleanup(os.close, reads)


harness.main()
