# SPDX-License-Identifier: Apache-2.0
"""250 means durable: crashes under load, two nodes on one spool, a full disk, a torn tail."""
import errno
import os
import subprocess
import tempfile
import threading
import time

import device
import harness
from client import Client, Closed
from harness import until
from receiver import Receiver

KILLS = int(os.environ.get("KILLS", "4"))       # `kill -9` under load so often


class Durability(harness.Case):
    def receiver(self, **options):
        mx = Receiver(**options)
        self.addCleanup(mx.stop)
        return mx

    def files(self, node):
        found = [os.path.join(folder, name) for folder, _, names in os.walk(node.spool) for name in names]
        return sorted(found, key=os.path.getsize)

    def subjects(self, mx):
        with mx.lock:
            return {m.data.split(b"\r\nSubject: ", 1)[1].split(b"\r\n", 1)[0] for m in mx.messages}

    def small_disk(self, size):
        if not os.environ.get(harness.NAMESPACE):
            self.skipTest("no mount name space here")
        small = tempfile.mkdtemp(prefix="disk", dir=self.folder)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "small", small], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", small], check=False)
        return small

    # --- crashes ---

    def test_kill_9_under_load_loses_nothing_that_was_acknowledged(self):
        mx = self.receiver()
        node = self.node(f'domain "*" {{ smtp_hosts = "{mx.at}", max_smtp_out = 10, retry_after = 1, retry_recipients_after = 1 }}')
        acknowledged, lock, stop = set(), threading.Lock(), threading.Event()
        port = node.port

        def load(worker):
            i = 0
            while not stop.is_set():
                try:
                    with Client(port, deadline_s=5) as c:
                        while not stop.is_set():
                            i += 1
                            name = b"%d.%d" % (worker, i)
                            size = 40000 if i % 50 == 0 else 300
                            if c.message("", ["u@example.com"], b"Subject: " + name + b"\r\n\r\n"
                                         + b"line of text\r\n" * (size // 14)).code == 250:
                                with lock:
                                    acknowledged.add(name)
                except (OSError, Closed, ValueError):
                    stop.wait(0.02)
        workers = [threading.Thread(target=load, args=(n,), daemon=True) for n in range(4)]
        for worker in workers:
            worker.start()
        try:
            for kill in range(KILLS):
                seen = len(acknowledged)
                # A different number each time, so that the knife falls at different places.
                until(lambda: len(acknowledged) >= seen + 150 + 37 * kill, "the load flows", 30)
                node.kill()
                node = self.restart(node)
        finally:
            stop.set()
        for worker in workers:
            worker.join(10)
        node.wait_empty(60)
        missing = acknowledged - self.subjects(mx)
        self.assertEqual(missing, set(), f"{len(missing)} of {len(acknowledged)} acknowledged messages were lost")
        self.assertGreater(len(acknowledged), 150 * KILLS)

    def test_what_was_delivered_before_a_crash_is_not_delivered_again(self):
        mx = self.receiver()
        node = self.node(f'domain "*" {{ smtp_hosts = "{mx.at}" }}')
        self.source(node, count=200, sessions=4)
        node.wait_records(200, "d")
        node.wait_empty()
        node.kill()
        again = self.restart(node)
        self.assertEqual(again.status()["queued"], 0)
        self.send(again, to="last@example.com")
        until(lambda: "last@example.com" in mx.recipients(), "the next one arrives")
        self.assertEqual(len(mx.messages), 201)

    def test_queues_survive_a_stop_and_accounting_has_one_header(self):
        mx = self.receiver()
        node = self.node(f'domain "*" {{ smtp_hosts = "{mx.at}" }}', paused=True)
        for i in range(20):
            self.send(node, to=[f"u{i}@example.com", f"v{i}@example.com"])
        self.assertEqual(node.stop(), 0)
        again = self.restart(node)
        until(lambda: again.status()["queued"] == 40, "all are there again")
        again.command("resume", "*")
        again.wait_records(40, "d")
        again.wait_empty()
        with open(again.accounting, encoding="utf-8") as file:
            self.assertEqual([line.startswith("type,") for line in file].count(True), 1)
        self.assertEqual(len(again.records("r")), 40)

    def test_a_deferral_is_remembered_across_a_crash(self):
        mx = self.receiver()
        mx.answer("RCPT", "451 4.7.1 later")
        node = self.node(f'domain "*" {{ smtp_hosts = "{mx.at}", retry_recipients_after = "1h" }}')
        self.send(node)
        node.wait_records(1, "t")
        until(lambda: node.status()["deferred"] == 1, "it is deferred")
        node.kill()
        again = self.restart(node)
        until(lambda: (again.status()["queued"], again.status()["deferred"]) == (1, 1), "it still is")
        self.assertEqual(again.queue("example.com/default")["gate"], "retry_recipients_after")
        self.assertEqual(len(mx.attempts), 1, "not tried at once only because the node began anew")

    def test_more_mail_than_the_disk_holds_passes_through(self):
        """Space is given back, also in segments where a message stays behind."""
        mx = self.receiver(keep=False)
        node = self.node(f'domain "stuck.example" {{ smtp_hosts = "{mx.at}", paused = true }}\ndomain "*" {{ smtp_hosts = "{mx.at}" }}',
                         spool=os.path.join(self.small_disk("24m"), "spool"))
        body = b"Subject: x\r\n\r\n" + b"".join(b"%070d\r\n" % i for i in range(2800))
        sent = 0
        with Client(node.port, deadline_s=20) as c:
            for i in range(300):
                self.assertEqual(c.message("", ["u@example.com"], body).code, 250)
                sent += len(body)
                if i % 60 == 0:
                    self.assertEqual(c.message("", ["u@stuck.example"], b"Subject: stuck\r\n\r\n").code, 250)
                until(lambda i=i: len(mx.messages) >= i - 10, "delivery keeps up", 20)
        self.assertGreater(sent, 50 << 20)
        until(lambda: len(mx.messages) == 300, "all arrive")
        node.kill()
        again = self.restart(node)
        until(lambda: again.status()["queued"] == 5, lambda: f"the five are there again: {again.status()}")
        again.stop()
        self.restart(again, change=("paused = true", "paused = false")).wait_empty()

    def test_what_expires_while_the_node_is_down_is_accounted(self):
        node = self.node('domain "*" { smtp_hosts = "[127.0.0.1]:9", paused = true, bounce_after = "2s" }')
        for _ in range(3):
            self.assertEqual(self.send(node, sender="").code, 250)
        node.kill()
        time.sleep(2.2 * harness.SLOW)
        again = self.restart(node)
        again.wait_records(3, "b")
        self.assertEqual(again.status()["queued"], 0)

    # --- one spool, one node ---

    def test_a_second_node_on_the_same_spool_is_refused(self):
        node = self.node()
        second = self.start(f'listener "127.0.0.1:{harness.free_port()}" {{ }}\nvmta "default" {{ source = "any" }}', 0, wait=False, spool=node.spool)
        self.assertEqual(second.wait(), 1)
        self.assertRegex(second.log, r"(?m)^sluice: .*" + node.spool)
        self.assertNotIn("ready", second.log)
        self.assertEqual(self.send(node).code, 250, "the first goes on")

    # --- a full disk ---

    def test_below_min_free_space_mail_is_refused_for_now(self):
        port = harness.free_port()
        node = self.node(f'node {{ hostname = "node.example", min_free_space = "100000G" }}\n', port=port)
        reply = self.send(node)
        self.assertEqual((reply.code, reply.enhanced), (452, "4.3.1"))
        self.assertEqual(node.status()["queued"], 0)

    def test_a_full_file_system_refuses_and_loses_nothing(self):
        mx = self.receiver()
        for reserve in ("0", '"1M"'):
            with self.subTest(min_free_space=reserve):
                self.fill_a_file_system(mx, reserve)

    def fill_a_file_system(self, mx, reserve):
        small = self.small_disk("8m")
        node = self.node(f'node {{ hostname = "node.example", min_free_space = {reserve} }}\n'
                         f'domain "*" {{ smtp_hosts = "{mx.at}", paused = true }}', spool=os.path.join(small, "spool"))
        body = b"\r\n\r\n" + b"".join(b"%070d\r\n" % i for i in range(1400))
        taken, refused = set(), 0
        with Client(node.port, deadline_s=20) as c:
            for i in range(300):
                name = reserve.encode() + b"-%d" % i
                reply = c.message("", ["u@example.com"], b"Subject: " + name + body)
                if reply.code == 250:
                    taken.add(name)
                else:
                    self.assertEqual(reply.code, 452, reply)
                    self.assertEqual(reply.enhanced, "4.3.1")
                    refused += 1
                    c.command("RSET")
                    if refused >= 5:
                        break
        self.assertGreater(len(taken), 20, "an 8 MiB file system holds something")
        self.assertGreater(refused, 0)
        self.assertTrue(node.running())
        if reserve == "0":      # nothing that was promised is lost by a crash on the full disk either
            node.kill()
            node = self.restart(node)
            until(lambda n=node: n.status()["queued"] == len(taken), lambda n=node: f"all {len(taken)} are there; {n.status()}")
        node.stop()
        node = self.restart(node, change=("paused = true", "paused = false"))
        until(lambda: taken <= self.subjects(mx), lambda: f"all {len(taken)} arrive; {len(taken - self.subjects(mx))} are missing", 30)
        node.wait_empty(20)
        until(lambda: self.send(node, sender="").code == 250, "there is room again", 30)

    def fill(self, node, small):
        """Leaves less than min_free_space, and waits until the node has seen it. The file to remove."""
        filler = os.path.join(small, "filler")
        with open(filler, "wb") as out:
            free = os.statvfs(small)
            out.write(b"x" * (free.f_bavail * free.f_frsize - (1 << 20)))
        until(lambda: self.send(node, to="u@stuck.example", sender="").code == 452, "the disk is full")
        return filler

    def test_a_bounce_whose_report_can_not_be_stored_stands(self):
        mx = self.receiver()
        mx.answer("RCPT", "550 5.1.1 nobody here", when=lambda e: "nobody" in e.line)
        small = self.small_disk("8m")
        node = self.node('node { hostname = "node.example", min_free_space = "2M" }\n'
                         'domain "stuck.example" { smtp_hosts = "[127.0.0.1]:9", paused = true }\n'
                         f'domain "*" {{ smtp_hosts = "{mx.at}" }}', spool=os.path.join(small, "spool"))
        node.command("pause", "*")
        for to in ("u@by-hand.example", "nobody@example.com"):
            self.assertEqual(self.send(node, to=to).code, 250)
        filler = self.fill(node, small)
        self.assertEqual(node.command("bounce", "by-hand.example/*")["recipients"], 1)
        until(lambda: "cannot be stored" in node.log, "the log says what is wrong")
        node.command("resume", "*")
        until(lambda: mx.attempts, "the other one is tried")
        time.sleep(3)           # longer than a try takes
        for queue in ("by-hand.example/default", "example.com/default"):
            row = node.queue(queue)
            self.assertEqual((row["queued"], row["ready"]), (1, 0), row)
        self.assertEqual((node.records("b"), len(mx.attempts)), ([], 1), "nobody is asked again")
        self.assertLessEqual(node.log.count("cannot be stored"), 2, "each worker says so once, not at each try")
        os.unlink(filler)
        records = node.wait_records(2, "b", deadline_s=20)
        self.assertEqual({r["dsnDiag"] for r in records}, {"smtp;550 5.1.1 nobody here", "smtp;550 5.7.1 bounced by the operator"})
        until(lambda: len(mx.messages) == 2, "both reports arrive")
        self.assertEqual({m.sender for m in mx.messages}, {""})
        self.assertEqual(len(mx.attempts), 3)

    def test_a_stop_with_a_bounce_whose_report_can_not_be_stored(self):
        small = self.small_disk("8m")
        node = self.node('node { hostname = "node.example", min_free_space = "2M" }\n'
                         'domain "*" { smtp_hosts = "[127.0.0.1]:9", paused = true }', spool=os.path.join(small, "spool"))
        self.assertEqual(self.send(node).code, 250)
        filler = self.fill(node, small)
        queued = node.status()["queued"]
        node.command("bounce", "example.com/*")
        until(lambda: "cannot be stored" in node.log, "the log says what is wrong")
        self.assertEqual(node.stop(), 0)
        os.unlink(filler)
        self.assertEqual(self.restart(node).status()["queued"], queued, "they are queued as before")

    # --- damage ---

    def filled(self):
        node = self.node('domain "*" { smtp_hosts = "[127.0.0.1]:9", paused = true }')
        self.source(node, count=50)
        until(lambda: node.status()["queued"] == 50, "all are queued")
        node.kill()
        return node

    def test_a_torn_tail_is_cut_and_told(self):
        node = self.filled()
        for file in self.files(node):
            if os.path.getsize(file) > 1000:
                with open(file, "ab") as out:
                    out.write(os.urandom(777))
        again = self.restart(node)
        until(lambda: again.status()["queued"] == 50, "all are there again")

    def test_a_message_that_is_damaged_meanwhile_is_given_up_and_told(self):
        node = self.restart(self.filled())
        largest = self.files(node)[-1]
        with open(largest, "r+b") as file:
            data = file.read()
            at = data.index(b"sender@sender.example", len(data) // 2)
            file.seek(at)
            file.write(b"?")
        self.assertEqual(node.command("bounce", "*")["recipients"], 50)
        records = node.wait_records(50, "b")
        self.assertEqual(node.status()["queued"], 49, "reports; none is left but those")
        self.assertEqual(sum(r["rcpt"] == "@example.com" for r in records), 1)
        self.assertEqual(len([line for line in node.log.splitlines() if "cannot be read" in line]), 1)

    # --- a disk that fails ---

    def disk(self, **options):
        refused = device.why_not() or (None if os.environ.get(harness.NAMESPACE) == "root" else "no mount name space of root's here")
        if refused:
            self.skipTest(refused)
        disk = device.Disk(tempfile.mkdtemp(prefix="disk", dir=self.folder), **options)
        self.addCleanup(disk.close)
        return disk

    def test_nothing_is_promised_while_the_disk_takes_no_write_and_all_goes_on_when_it_does(self):
        mx, disk = self.receiver(), self.disk()
        node = self.node(f'domain "*" {{ smtp_hosts = "{mx.at}" }}', spool=os.path.join(disk.at, "spool"))
        taken = set()

        def send(name):
            reply = self.send(node, sender="", body=b"Subject: " + name + b"\r\n\r\n")
            if reply.code == 250:
                taken.add(name)
            return reply
        for says in (errno.EIO, errno.ENOSPC):
            for n in range(5):
                self.assertEqual(send(b"before %d.%d" % (says, n)).code, 250)
            disk.fault(write=says, spare=True)
            for n in range(5):
                reply = send(b"meanwhile %d.%d" % (says, n))
                self.assertEqual((reply.code, reply.enhanced[:2]), (452, "4."), reply)
            disk.fault()
            until(lambda s=says: send(b"after %d" % s).code == 250, "mail is taken again")
        until(lambda: taken <= self.subjects(mx), "all that was promised arrives")
        node.wait_empty()
        self.assertEqual(self.subjects(mx), taken, "and nothing that was refused")
        self.assertEqual(len(mx.messages), len(taken), "once")
        self.assertEqual(node.log.count("new messages are refused until it works again"), 2, node.log)

    def test_what_a_failed_sync_covered_is_not_promised_by_a_later_one(self):
        """After a failed fsync() the page cache may call what it could not write clean: the power cut shows what is there."""
        disk = self.disk()
        node = self.node('domain "*" { smtp_hosts = "[127.0.0.1]:9", paused = true }', spool=os.path.join(disk.at, "spool"))
        taken = 0
        for _ in range(3):
            disk.fault(write=errno.EIO, spare=True)
            self.assertEqual(self.send(node, sender="").code, 452)
            disk.fault()
            until(lambda: self.send(node, sender="").code == 250, "mail is taken again")
            taken += 1
        disk.cut()
        node.kill()
        disk.repair()
        checked = harness.command("spool", "check", node.spool)
        self.assertEqual(checked.returncode, 0, checked.stdout)
        again = self.restart(node)
        self.assertEqual(again.status()["queued"], taken, "no more and no less than was promised")
        again.stop()

    def test_a_file_system_that_gave_up_is_left_in_order_and_taken_up_when_it_is_mended(self):
        for errors in ("continue", "remount-ro"):
            with self.subTest(errors=errors):
                disk = self.disk(errors=errors)
                node = self.node('domain "*" { smtp_hosts = "[127.0.0.1]:9", paused = true }', spool=os.path.join(disk.at, "spool"))
                self.assertEqual([self.send(node, sender="").code for _ in range(5)], [250] * 5)
                disk.fault(write=errno.EIO)
                self.assertEqual(self.send(node, sender="").code, 452)
                self.assertFalse(disk.writable())
                disk.fault()
                self.assertFalse(disk.writable(), "its own journal is lost")
                self.assertEqual(self.send(node, sender="").code, 452)
                self.assertEqual(node.stop(), 0)
                disk.repair()
                again = self.restart(node)
                self.assertEqual((again.status()["queued"], self.send(again, sender="").code), (5, 250))
                again.stop()

    def test_a_bad_block_takes_the_mail_that_stands_in_it_and_no_other(self):
        """The page cache reads pieces of many blocks, none of which it has if one is bad."""
        mx, disk = self.receiver(), self.disk()
        node = self.node(f'domain "*" {{ smtp_hosts = "{mx.at}" }}', spool=os.path.join(disk.at, "spool"), paused=True)
        names = [b"%d" % n for n in range(60)]
        with Client(node.port) as client:
            for name in names:
                body = b"Subject: " + name + b"\r\n\r\n" + b"line of text\r\n" * 200
                self.assertEqual(client.message("", ["u@example.com"], body).code, 250)
        node.kill()
        segment = self.files(node)[-1]
        with open(segment, "rb") as file:
            bad = file.read().index(b"\r\nSubject: 30\r\n") // device.BLOCK * device.BLOCK
        node = self.restart(node)
        node.command("pause", "*")
        disk.spoil(segment, bad, 1)
        node.command("resume", "*")
        until(lambda: len(mx.messages) >= 57, lambda: f"all others arrive: {len(mx.messages)}; {node.log[-1000:]}", 20)
        left = {int(name) for name in set(names) - self.subjects(mx)}
        self.assertTrue(30 in left and left <= {29, 30, 31}, left)
        self.assertRegex(node.log, rf"cannot read {os.path.basename(segment)} at byte \d+: Input/output error")
        self.assertEqual(node.stop(), 0)
        again = self.restart(node)
        self.assertRegex(again.log, rf"{os.path.basename(segment)} is damaged at byte \d+, up to byte \d+: the disk cannot read it")
        again.wait_empty()
        self.assertEqual({int(name) for name in set(names) - self.subjects(mx)}, left)
        until(lambda: os.path.exists(segment + ".damaged"), "the segment is set aside")
        again.stop()


harness.main()
