# SPDX-License-Identifier: Apache-2.0
"""A node at its limits: it says so, goes on with what it has, and is itself again as soon as there is room."""
import collections
import os
import resource
import signal
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
from receiver import CLOSE, Receiver

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
    says, log = (421, "4.3.2"), None

    def settings(self, test):
        return {"settings": "max_smtp_in = 30"}

    def fill(self, test, node):
        self.held = test.crowd(node.port, 60)

    def empty(self):
        for s in self.held:
            s.close()


class Descriptors(Sessions):
    """The limit of the process: clients do not get the last quarter."""
    log = "descriptors are short"

    def settings(self, test):
        return {"preexec": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))}

    def fill(self, test, node):
        self.held = test.crowd(node.port, 2 * DESCRIPTORS)


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
        self.at(Memory(), n)

    @each_count
    def test_below_min_free_space(self, n):
        self.at(FreeSpace(), n)

    @each_count
    def test_of_the_disk_itself(self, n):
        self.at(FullDisk(), n)


harness.main()
