# SPDX-License-Identifier: Apache-2.0
"""A node at its limits: it says so, goes on with what it has, and is itself again as soon as there is room."""
import collections
import os
import resource
import socket
import struct
import subprocess
import tempfile
import threading
import time

import harness
from client import Client, Closed
from harness import now, until
from load import DOMAINS, Load, each_of
from receiver import CLOSE, HANG, Receiver

NEEDS_NAMESPACE = True          # small disks; a receiver on port 25 that DNS may name
WORKERS = (1, 4)
MB = 1 << 20
DESCRIPTORS = 128
HELD = 20                       # messages that came in before the limit was reached
QUICK = 'retry_after = 1, retry_recipients_after = 1, retry_jitter = "0%"'
each_count = each_of(WORKERS)


class Case(harness.Case):
    def receiver(self, *where, **options):
        mx = Receiver(*where, **options)
        self.addCleanup(mx.stop)
        return mx

    def small_disk(self, size):
        small = tempfile.mkdtemp(prefix="disk", dir=self.folder)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "small", small], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", small], check=False)
        return small

    def fill_disk(self, disk, leave):
        """The file to remove."""
        filler = os.path.join(disk, "filler")
        with open(filler, "wb", buffering=0) as out:
            free = os.statvfs(disk)
            try:
                out.write(b"x" * max(0, free.f_bavail * free.f_frsize - leave))
                while leave == 0:
                    out.write(b"x" * 512)
            except OSError:
                pass
        return filler

    def crowd(self, port, n):
        """That many clients that connect and say nothing."""
        held = []
        for _ in range(n):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", port))
            held.append(s)
        return held

    def answer_to_one_message(self, node):
        try:
            with Client(node.port, deadline_s=5) as c:
                reply = c.message("", ["u@example.com"], b"Subject: probe\r\n\r\n") if c.greeting.code == 220 else c.greeting
                return reply.code, reply.enhanced
        except (OSError, Closed) as gone:
            return type(gone).__name__, ""


# --- what comes in ---

class Sessions:
    """max_smtp_in"""
    says, log, clients = (421, "4.3.2"), None, 60

    def settings(self, test):
        return {"settings": "max_smtp_in = 30"}

    def fill(self, test, node):
        self.held = test.crowd(node.port, self.clients)
        # What a session or a command of before held may be given back only now: refused once is not full.
        refused = 0
        while refused < 3:
            if test.answer_to_one_message(node) == self.says:
                refused += 1
            else:
                refused = 0
                self.held += test.crowd(node.port, 1)
            time.sleep(0.1)

    def empty(self):
        for s in self.held:
            s.close()


class Descriptors(Sessions):
    """The limit of the process: clients do not get the last quarter."""
    log, clients = "descriptors are short", 2 * DESCRIPTORS

    def settings(self, test):
        return {"preexec": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))}


class Memory:
    """memory_limit: clients that have each sent most of a header block."""
    says, log = (452, "4.3.2"), "memory_limit is reached"

    def settings(self, test):
        return {"settings": 'memory_limit = "48M"'}

    def fill(self, test, node):
        self.held = []
        for _ in range(250):
            c = Client(node.port)
            self.held.append(c)
            if c.envelope("", ["u@example.com"])[0].code != 250:
                break
            c.command("DATA")
            c.send((b"X-Fill: " + b"y" * 70 + b"\r\n") * 3000)

    def empty(self):
        for c in self.held:
            c.socket.close()


class FreeSpace:
    """min_free_space"""
    says, log = (452, "4.3.1"), None
    reserve, leaves = '"2M"', MB

    def settings(self, test):
        self.disk = test.small_disk("16m")
        return {"policy": f'node {{ hostname = "node.example", min_free_space = {self.reserve} }}\n',
                "spool": os.path.join(self.disk, "spool")}

    def fill(self, test, node):
        self.filler = test.fill_disk(self.disk, self.leaves)

    def empty(self):
        os.unlink(self.filler)


class FullDisk(FreeSpace):
    """ENOSPC"""
    reserve, leaves = "0", 0


class Full(Case):
    def at(self, row, n):
        mx = self.receiver()
        given = row.settings(self)
        policy = given.pop("policy", "") + f'domain "*" {{ smtp_hosts = "{mx.at}", {QUICK} }}'
        node = self.node(policy, options=["--workers", str(n)], **given)
        node.command("pause", "*")
        for i in range(HELD):
            self.assertEqual(self.send(node, to=f"u{i}@{DOMAINS[i]}", sender="").code, 250)
        row.fill(self, node)
        until(lambda: self.answer_to_one_message(node) == row.says, lambda: f"refused: {self.answer_to_one_message(node)}")
        self.assertGreaterEqual(node.status()["queued"], HELD, "the operator is answered")
        if row.log:
            self.assertRegex(node.log, row.log)
        if row.says[0] == 452:
            self.assertTrue(node.status()["refusing"])
        node.command("resume", "*")
        until(lambda: len(mx.messages) >= HELD, lambda: f"what is there goes on: {node.command('queues')}")
        row.empty()
        until(lambda: self.answer_to_one_message(node)[0] == 250, lambda: f"taken again: {node.status()}")
        node.wait_empty()
        self.assertIsNone(node.status()["refusing"])
        got = collections.Counter(r for r in mx.recipients() if r != "u@example.com")
        self.assertEqual(got, {f"u{i}@{DOMAINS[i]}": 1 for i in range(HELD)})
        self.assertEqual(node.records("t", "tq", "b"), [])

    @each_count
    def test_of_sessions(self, n):
        self.at(Sessions(), n)

    @each_count
    def test_of_descriptors(self, n):
        self.at(Descriptors(), n)

    @each_count
    def test_of_memory(self, n):
        if harness.SANITIZED:
            self.skipTest("a sanitizer has memory of its own, and gives none back")
        self.at(Memory(), n)

    @each_count
    def test_below_min_free_space(self, n):
        self.at(FreeSpace(), n)

    @each_count
    def test_of_the_disk_itself(self, n):
        self.at(FullDisk(), n)


class NoDescriptors(Case):
    """EMFILE for everybody."""

    def limit(self, node, descriptors):
        hard = resource.prlimit(node.popen.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(node.popen.pid, resource.RLIMIT_NOFILE, (min(descriptors, hard), hard))

    def open_descriptors(self, node):
        return len(os.listdir(f"/proc/{node.popen.pid}/fd"))

    @each_count
    def test_nobody_spins_and_nobody_is_blamed(self, n):
        mx = self.receiver()
        node = self.node(f'domain "*" {{ smtp_hosts = "{mx.at}", retry_after = "1h" }}', options=["--workers", str(n)])
        node.command("pause", "*")
        for domain in DOMAINS:
            self.assertEqual(self.send(node, to=f"u@{domain}").code, 250)
        self.limit(node, self.open_descriptors(node) + 1)
        operator = harness.Process([harness.SLUICE, "resume", "*", "--control", node.control], self.path(f"resume{n}"))
        self.keep(operator)
        self.assertEqual(operator.wait(), 0, "one was left")
        until(lambda: "sessions wait for one" in node.log, "the log says so")
        held = self.crowd(node.port, 50)
        before = node.cpu_seconds()
        time.sleep(1.5)
        self.assertLess(node.cpu_seconds() - before, 0.3 * harness.SLOW, "a loop spins")
        self.limit(node, 4096)
        until(lambda: len(mx.messages) == len(DOMAINS), lambda: f"all go: {node.command('queues')}", 5)
        until(lambda: node.status()["sessions_in"] == 50, "all are let in")
        for s in held:
            s.close()
        self.assertEqual(node.records("t", "tq", "b"), [])

    @each_count
    def test_more_receivers_than_descriptors(self, n):
        """Who sends leaves some to the spool and to the operator."""
        mx = self.receiver()
        mx.answer(".", lambda _: time.sleep(0.2))
        node = self.node(f'domain "*" {{ smtp_hosts = "{mx.at}", retry_after = "1h" }}', options=["--workers", str(n)],
                         preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS)))
        node.command("pause", "*")
        sites = 160
        with Client(node.port) as c:
            self.assertEqual(c.message("", [f"u@s{i}.example" for i in range(sites)], b"Subject: x\r\n\r\n").code, 250)
        node.command("resume", "*")
        most = 0

        def all_went():
            nonlocal most
            most = max(most, self.open_descriptors(node))
            node.status()
            return len(mx.messages) >= sites
        until(all_went, lambda: f"all go: {node.status()}", 20)
        self.assertLessEqual(most, DESCRIPTORS * 7 // 8 + 4, "some are left")
        self.assertGreater(most, DESCRIPTORS * 3 // 4, "they are used")
        self.assertEqual(collections.Counter(mx.recipients()), {f"u@s{i}.example": 1 for i in range(sites)})
        self.assertEqual(node.records("t", "tq", "b"), [])


# --- the end ---

class Stop(Case):
    STOP_S = 10

    def stopped_under_load(self, n, answer, stages=("MAIL", "RCPT", "DATA", "."), every=None):
        """Each acknowledged recipient was taken by the receiver or is queued after the restart, and none twice."""
        mx = self.receiver(keep=True)
        if answer:
            for stage in stages:
                mx.answer(stage, answer, every=every)
        node = self.node(f'domain "*" {{ smtp_hosts = "{mx.at}", {QUICK} }}', options=["--workers", str(n)])
        load = Load(node.port, clients=2, rcpts=3)
        # Each has sent some mail, and others are in the middle of theirs.
        until(lambda: len(load.acknowledged) > 1000 and len(mx.attempts) > 100, "the load flows", 30)
        started = now()
        self.assertEqual(node.stop(self.STOP_S), 0)
        self.assertLess(now() - started, self.STOP_S * harness.SLOW)
        sent = load.stop()
        mx.accept_all()
        again = self.restart(node, options=["--workers", str(5 - n)])
        again.wait_empty(30)
        got = collections.Counter(mx.recipients())
        self.assertEqual([name for name in sent if got[name] == 0], [], "lost")
        self.assertEqual([name for name, times in got.items() if times > 1], [], "sent twice")

    @each_count
    def test_under_load(self, n):
        self.stopped_under_load(n, None)

    @each_count
    def test_under_load_with_slow_receivers(self, n):
        self.stopped_under_load(n, lambda _: time.sleep(1))

    @each_count
    def test_under_load_with_receivers_that_withhold_the_last_reply(self, n):
        """This one takes what it was slow to answer only once it answers: so nothing comes twice here, either."""
        self.stopped_under_load(n, HANG, stages=(".",), every=10)


# --- names ---

class Names:
    """A name server: every domain has the mail exchanger 192.0.2.10; about some it never answers, and it may be silent."""

    def __init__(self, test):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.option = ("--resolver", "127.0.0.1:%d" % self.socket.getsockname()[1])
        self.silent, self.ttl, self.asked = False, 1, 0
        threading.Thread(target=self._serve, daemon=True).start()
        test.addCleanup(self.socket.close)

    def _serve(self):
        while True:
            try:
                packet, peer = self.socket.recvfrom(4096)
            except OSError:
                return
            self.asked += 1
            if self.silent or packet[13:17] == b"dead":
                continue
            try:
                self.socket.sendto(self.answer(packet), peer)
            except OSError:
                return

    def answer(self, packet):
        end = packet.index(b"\0", 12) + 5
        kind = packet[end - 4:end - 2]
        data = {b"\0\x0f": b"\0\x0a\x02mx" + packet[12:end - 4], b"\0\x01": bytes([192, 0, 2, 10])}.get(kind)
        records = b"" if data is None else b"\xc0\x0c" + kind + b"\0\1" + struct.pack(">IH", self.ttl, len(data)) + data
        return packet[:2] + b"\x81\x80\0\1" + (b"\0\1" if data else b"\0\0") + b"\0\0\0\0" + packet[12:end] + records


class Resolver(Case):
    def setUp(self):
        super().setUp()
        self.names, self.mx = Names(self), self.receiver("192.0.2.10", 25)

    def started(self, n):
        self.mx.messages.clear()
        self.names.asked, self.names.silent = 0, False
        return self.node(f'domain "named.example" {{ smtp_hosts = "192.0.2.10" }}\n'
                         'domain "*" { retry_after = "1h", retry_after_dns_error = "2s", max_smtp_out = 1 }',
                         options=["--workers", str(n), *self.names.option])

    def test_that_is_silent_slows_only_who_needs_it(self):
        node = self.started(4)          # each worker asks for itself
        known = [f"known{i}.example" for i in range(8)]
        self.send(node, to=[f"u@{d}" for d in known])
        until(lambda: len(self.mx.recipients()) == 8, "all are known")
        self.names.silent = True
        time.sleep(1.2)                 # what is known is older than its time to live
        self.send(node, to=[f"u@new{i}.example" for i in range(300)])
        before = node.cpu_seconds()
        started = now()
        for i in range(20):
            self.send(node, to=[f"{i}@{d}" for d in known + ["named.example"]])
        until(lambda: len(self.mx.recipients()) == 8 + 20 * 9, lambda: f"these go on: {node.command('queues', '*known*')}")
        self.assertLess(now() - started, 2 * harness.SLOW)
        self.assertEqual(node.queue("new7.example/default")["gate"], "dns")
        self.assertEqual(node.status()["queued"], 300)
        time.sleep(1)
        self.assertLess(node.cpu_seconds() - before, 1.5 * harness.SLOW)
        self.names.silent = False
        until(lambda: node.status()["queued"] == 0, lambda: f"the others follow: {node.status()}", 40)

    @each_count
    def test_domains_whose_own_servers_are_silent_hold_up_no_others(self, n):
        node = self.started(n)
        for k in range(n):
            self.assertEqual(self.send(node, to=[f"u@dead{k}.{i}.example" for i in range(700)]).code, 250)
        until(lambda: self.names.asked >= 250, "they are asked")
        started = now()
        self.send(node, to=[f"u@live{i}.example" for i in range(20)], sender="")
        until(lambda: len(self.mx.recipients()) == 20, lambda: f"the others go: {node.status()}", 20)
        self.assertLess(now() - started, 7 * harness.SLOW)


# --- records ---

class Accounting(Case):
    @each_count
    def test_on_a_full_disk_is_told_and_stops_nobody(self, n):
        disk = self.small_disk("64k")
        records = os.path.join(disk, "acct.csv")
        mx = self.receiver(keep=False)
        mx.answer(".", "250-" + "x" * 400 + "\r\n250 " + "y" * 400)
        node = self.node(f'domain "*" {{ smtp_hosts = "{mx.at}" }}', options=["--workers", str(n), "--accounting", records])
        filler = self.fill_disk(disk, 0)
        sent = 0

        def some(count):
            nonlocal sent
            for _ in range(count):
                self.assertEqual(self.send(node, sender="", to=[f"u{i}@{DOMAINS[i % 24]}" for i in range(96)]).code, 250)
                sent += 96
            until(lambda: node.status()["delivered"] == sent, lambda: f"delivered: {node.status()}")
        some(2)
        until(lambda: node.status()["accounting_trouble"], "the status says so")
        self.assertRegex(node.log, "error accounting: ")
        self.assertEqual(node.status()["accounting_lost"], 0, "a megabyte is held")
        some(20)
        lost = until(lambda: node.status()["accounting_lost"], "more is lost, and counted")
        os.unlink(filler)
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
        until(lambda: "is written again" in node.log, "it is written again")
        self.assertRegex(node.log, f"{lost} records were lost")
        status = node.status()
        self.assertEqual((status["accounting_trouble"], status["accounting_lost"]), (None, lost))
        some(1)
        self.assertEqual(node.stop(), 0)
        with open(records, encoding="utf-8") as file:
            kinds = collections.Counter(line.split(",")[0] for line in file)
        self.assertEqual(kinds.pop("type"), 1)
        self.assertEqual(sum(kinds.values()) + lost, 2 * sent, "r and d of each recipient")


# --- storms ---

class Storms(Case):
    def calm(self, node):
        """An idle node uses next to nothing."""
        before = node.cpu_seconds()
        time.sleep(1)
        self.assertLess(node.cpu_seconds() - before, 0.1 * harness.SLOW)

    @each_count
    def test_of_clients_that_come_and_go(self, n):
        """By FIN and by RST, with and without a word."""
        mx = self.receiver()
        node = self.node(f'domain "*" {{ smtp_hosts = "{mx.at}" }}', options=["--workers", str(n)])
        before = node.cpu_seconds()
        for i in range(1000):
            with socket.create_connection(("127.0.0.1", node.port)) as s:
                if i % 3 == 0:
                    s.send(b"EHLO x\r\n")
                if i % 2 == 0:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        until(lambda: node.status()["sessions_in"] == 0, lambda: f"all are gone: {node.status()}")
        self.assertLess(node.cpu_seconds() - before, 1 * harness.SLOW)
        self.calm(node)
        self.assertEqual(self.send(node).code, 250)
        self.delivered(mx)

    @each_count
    def test_of_receivers_that_close_on_connect(self, n):
        """Each site is asked again when its time has come, and not before."""
        mx = self.receiver()
        mx.answer("connect", CLOSE)
        node = self.node(f'domain "*" {{ smtp_hosts = "{mx.at}", {QUICK} }}', options=["--workers", str(n)])
        sites = 100
        with Client(node.port) as c:
            self.assertEqual(c.message("", [f"u@s{i}.example" for i in range(sites)] * 5, b"Subject: x\r\n\r\n").code, 250)
        until(lambda: len(mx.sessions) >= sites, "all were tried")
        before, seen = node.cpu_seconds(), len(mx.sessions)
        time.sleep(2)
        self.assertLess(node.cpu_seconds() - before, 1 * harness.SLOW)
        self.assertLess(len(mx.sessions) - seen, 3.5 * sites, "once a second")
        mx.accept_all()
        node.wait_empty()
        self.assertEqual(set(collections.Counter(mx.recipients()).values()), {5})
        self.calm(node)


harness.main()
