# SPDX-License-Identifier: Apache-2.0
"""The files of a spool: `spool check` and `spool dump` off line, and a start on damaged ones."""
import hashlib
import json
import os
import struct

import harness
from harness import command, until
from receiver import Receiver
from records import CRC_AT, FIXED, HEADER, crc32c

PAUSED = 'domain "*" { smtp_hosts = "[127.0.0.1]:9", paused = true }'


class Spool(harness.Case):
    def filled(self, policy=PAUSED, count=20):
        """A spool with mail whose node was killed."""
        node = self.node(policy)
        for i in range(count):
            self.assertEqual(self.send(node, to=f"u{i}@example.com", body=b"Subject: %d\r\n\r\nhello\r\n" % i).code, 250)
        node.kill()
        return node

    def fingerprint(self, folder):
        found = {}
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    found[name] = (hashlib.sha256(file.read()).hexdigest(), os.stat(path).st_mtime_ns)
        return found

    def check(self, node, status=0):
        before = self.fingerprint(node.spool)
        done = command("spool", "check", node.spool, "--json")
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertEqual(self.fingerprint(node.spool), before, "not a byte is changed")
        return json.loads(done.stdout)

    def dump(self, node, *more):
        done = command("spool", "dump", node.spool, *more)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def path_of(self, node, message):
        return os.path.join(node.spool, message["file"])

    def flip(self, path, at):
        with open(path, "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 0x10]))

    # --- off line ---

    def test_a_spool_in_use_is_left_alone(self):
        node = self.node(PAUSED)
        for verb in ("check", "dump"):
            done = command("spool", verb, node.spool)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn("in use", done.stderr)

    def test_a_whole_spool_is_whole_after_a_kill_and_after_a_stop(self):
        node = self.filled()
        report = self.check(node)
        self.assertEqual((report["ok"], report["messages"], report["recipients"], report["unread"]), (True, 20, 20, 0))
        self.assertEqual(report["findings"], [])
        self.assertGreaterEqual(report["records"], 21)
        text = command("spool", "check", node.spool).stdout
        self.assertIn("20 messages wait for 20 recipients: all is whole", text)
        again = self.restart(node)
        until(lambda: again.status()["queued"] == 20, "all are there again")
        self.assertEqual(again.stop(), 0)
        self.assertEqual((self.check(again)["messages"], self.check(again)["findings"]), (20, []))

    def test_a_torn_tail_is_told_and_is_no_damage(self):
        node = self.filled()
        segment = self.path_of(node, json.loads(self.dump(node, "--json"))[0])
        with open(segment, "r+b") as file:
            end = len(file.read().rstrip(b"\0"))       # what is behind it was written ahead
            self.assertGreater(os.path.getsize(segment), end + 100000)
            file.seek(end)
            file.write(b"x" * 77)
        report = self.check(node)
        self.assertEqual([(f["file"], f["at"], f["to"], f["damage"]) for f in report["findings"]],
                         [(os.path.basename(segment), end, end + 77, False)])

    def test_dump_shows_what_waits(self):
        mx = Receiver()
        self.addCleanup(mx.stop)
        mx.answer("RCPT", "450 4.2.1 busy", when=lambda e: "later" in e.line)
        node = self.node(f'domain "*" {{ smtp_hosts = "{mx.at}", retry_recipients_after = "1h" }}')
        self.assertEqual(self.send(node, to=["now@example.com", "later@example.com"], body=b"Subject: x\r\n\r\n" + b"line\r\n" * 100000).code, 250)
        node.wait_records(1, "t")
        node.wait_records(1, "d")
        until(lambda: node.status()["deferred"] == 1, "it is deferred")
        self.assertEqual(node.stop(), 0)
        one, = json.loads(self.dump(node, "--json"))
        self.assertEqual((one["sender"], one["vmta"], one["job"]), ("sender@sender.example", "default", None))
        states = {r["recipient"]: r for r in one["recipients"]}
        self.assertEqual((states["now@example.com"]["state"], states["later@example.com"]["state"]), ("delivered", "waiting"))
        self.assertEqual(states["later@example.com"]["attempts"], 1)
        self.assertRegex(states["later@example.com"]["due"], r"^\d{4}-\d\d-\d\dT")
        text = self.dump(node)
        self.assertIn(f'{one["message"]}  {one["received"]}  {one["size"]} bytes  {one["file"]}:{one["at"]}  <sender@sender.example>', text)
        self.assertRegex(text, r"waiting +1 tries  later@example.com  not before ")
        body = self.dump(node, one["message"], "--body")
        self.assertTrue(body.startswith("Received: "), body[:40])
        self.assertEqual(body.count("line\n"), 100000)
        self.assertEqual(json.loads(self.dump(node, one["message"].lower(), "--json")), [one])
        done = command("spool", "dump", node.spool, "0123456789ABCDEF")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("no such message", done.stderr)

    def test_an_empty_spool_dumps_as_no_message(self):
        node = self.filled(count=0)
        self.assertEqual(json.loads(self.dump(node, "--json")), [])
        self.assertEqual(self.dump(node), "")

    def test_what_is_no_spool_and_what_is_misuse(self):
        os.mkdir(self.path("empty"))
        for argv, status in ((["check"], 2), ([], 2), (["mend", "x"], 2), (["check", "a", "b"], 2), (["dump", "a", "b", "c"], 2),
                             (["check", "a", "--body"], 2), (["dump", "a", "--body"], 2), (["dump", "a", "0000000000000001", "--body", "--json"], 2),
                             (["dump", "a", "xyz"], 2), (["check", self.path("nowhere")], 1), (["check", self.path("empty")], 1)):
            with self.subTest(argv):
                done = command("spool", *argv)
                self.assertEqual((done.returncode, done.stdout), (status, ""))
                self.assertTrue(done.stderr.startswith("sluice: "), done.stderr)
        self.assertFalse(os.path.exists(self.path("nowhere")))
        self.assertEqual(os.listdir(self.path("empty")), [])

    def test_files_that_are_none_do_not_hold_it_up(self):
        node = self.filled()
        number = "00000000000000f0"
        os.mkfifo(os.path.join(node.spool, number + ".seg"))
        done = command("spool", "check", node.spool)
        self.assertEqual(done.returncode, 1)
        self.assertIn(number + ".seg is not a plain file", done.stderr)

    # --- a start on damage ---

    def started(self, node):
        """On the same spool, and it delivers."""
        mx = Receiver()
        self.addCleanup(mx.stop)
        again = self.restart(node, change=(PAUSED, f'domain "*" {{ smtp_hosts = "{mx.at}" }}'))
        return again, mx

    def test_a_damaged_segment_is_named_and_set_aside_and_the_rest_is_delivered(self):
        node = self.filled()
        messages = json.loads(self.dump(node, "--json"))
        hit = messages[7]
        path = self.path_of(node, hit)
        self.flip(path, hit["at"] + 100)
        before = self.fingerprint(node.spool)[hit["file"]][0]
        report = self.check(node, status=1)
        self.assertEqual([(f["file"], f["at"], f["to"], f["damage"]) for f in report["findings"]],
                         [(hit["file"], hit["at"], messages[8]["at"], True)])
        self.assertEqual((report["ok"], report["messages"], report["unread"]), (False, 19, 1))
        text = command("spool", "check", node.spool)
        self.assertEqual(text.returncode, 1)
        self.assertIn(f'{hit["file"]}: bytes {hit["at"]} to {messages[8]["at"]}: 1 message that stood there cannot be read', text.stdout)
        again, mx = self.started(node)
        again.wait_records(19, "d")
        self.assertEqual(sorted(mx.recipients()), sorted(f"u{i}@example.com" for i in range(20) if i != 7))
        self.assertIn(f'spool: {hit["file"]} is damaged at byte {hit["at"]}', again.log)
        self.assertIn("at least 1 messages that were accepted cannot be read", again.log)
        until(lambda: os.path.exists(path + ".damaged"), "it is set aside")
        self.assertEqual(self.fingerprint(node.spool)[hit["file"] + ".damaged"][0], before)
        until(lambda: again.stop() == 0, "it ends")
        report = self.check(again)
        self.assertEqual({(f["file"], f["damage"]) for f in report["findings"]},
                         {(hit["file"] + ".damaged", False), (hit["file"].replace(".seg", ".jnl") + ".damaged", False)})

    def test_without_its_journal_all_of_a_segment_is_delivered(self):
        node = self.filled()
        path = self.path_of(node, json.loads(self.dump(node, "--json"))[0]).replace(".seg", ".jnl")
        os.unlink(path)
        self.assertEqual([(f["file"], f["at"], f["damage"]) for f in self.check(node, status=1)["findings"]], [(os.path.basename(path), None, True)])
        again, mx = self.started(node)
        again.wait_records(20, "d")
        self.assertEqual(len(mx.messages), 20)
        self.assertIn(f"{os.path.basename(path)} is missing", again.log)

    def test_a_record_whose_envelope_makes_no_sense_is_set_aside_and_the_rest_is_delivered(self):
        node = self.filled()
        messages = json.loads(self.dump(node, "--json"))
        hit, behind = messages[7], messages[8]["at"]
        path = self.path_of(node, hit)
        with open(path, "r+b") as file:
            file.seek(hit["at"])
            record = bytearray(file.read(behind - hit["at"]))
            record[HEADER + FIXED] ^= 0xff                  # the envelope's first byte, its form
            record[CRC_AT:HEADER] = struct.pack("<I", crc32c(record[:CRC_AT] + record[HEADER:]))
            file.seek(hit["at"])
            file.write(record)
        report = self.check(node, status=1)
        self.assertEqual([(f["file"], f["at"], f["to"], f["damage"]) for f in report["findings"]], [(hit["file"], hit["at"], behind, True)])
        self.assertIn("makes no sense", report["findings"][0]["text"])
        self.assertEqual((report["messages"], report["unread"]), (19, 1))
        again, mx = self.started(node)
        again.wait_records(19, "d")
        self.assertEqual(sorted(mx.recipients()), sorted(f"u{i}@example.com" for i in range(20) if i != 7))
        self.assertIn(f'spool: {hit["file"]} is damaged at byte {hit["at"]}, up to byte {behind}: its sum is right', again.log)
        until(lambda: os.path.exists(path + ".damaged"), "it is set aside")
        with open(path + ".damaged", "rb") as file:
            file.seek(hit["at"])
            self.assertEqual(file.read(len(record)), record)

    def test_a_damaged_journal_is_set_aside_at_once(self):
        node = self.filled()
        path = self.path_of(node, json.loads(self.dump(node, "--json"))[0]).replace(".seg", ".jnl")
        self.flip(path, HEADER + 4 + 5)
        before = self.fingerprint(node.spool)[os.path.basename(path)][0]
        again, mx = self.started(node)
        again.wait_records(20, "d")
        self.assertEqual(self.fingerprint(node.spool)[os.path.basename(path) + ".damaged"][0], before)
        self.assertIn(f"the damaged {os.path.basename(path)} is taken; it is set aside as", again.log)

    def test_a_start_that_refuses_leaves_the_saved_limits_as_it_found_them(self):
        node = self.node('vmta "old" { source = "any" }\non.message(function(msg) msg.vmta = "old" end)\n' + PAUSED)
        node.command("pause", "example.com/*")
        self.assertEqual(self.send(node).code, 250)
        node.kill()
        self.flip(os.path.join(node.spool, "state"), 40)
        with open(node.policy, encoding="utf-8") as file:
            policy = file.read()
        refused = harness.Node(node.folder, policy.replace('vmta "old"', 'vmta "new"'), node.port, spool=node.spool)
        refused.crashed = True
        self.keep(refused)
        self.assertEqual(refused.wait(), 1)
        self.assertIn('the spool holds mail of the virtual MTA "old"', refused.log)
        self.assertFalse(os.path.exists(os.path.join(node.spool, "state.damaged")))
        self.assertFalse(os.path.exists(os.path.join(node.spool, "clean")), "no orderly end of a node that never began")
        again = self.restart(node, policy)
        self.assertIn("state.damaged", again.log)

    def test_a_damaged_state_is_set_aside(self):
        node = self.node(PAUSED)
        node.command("pause", "example.com/*")
        self.assertEqual(self.send(node).code, 250)
        until(lambda: os.path.exists(os.path.join(node.spool, "state")), "it is saved")
        node.kill()
        self.flip(os.path.join(node.spool, "state"), 40)
        self.assertEqual([(f["file"], f["damage"]) for f in self.check(node, status=1)["findings"]], [("state", True)])
        again, mx = self.started(node)
        again.wait_records(1, "d")
        self.assertIn("state.damaged", again.log)
        self.assertTrue(os.path.exists(os.path.join(node.spool, "state.damaged")))


harness.main()
