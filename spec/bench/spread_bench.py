#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What mail costs a whole node, in CPU, to few destinations and to many, by one virtual MTA and by many.

50,000 recipients (100,000 with BIG=1), each a transaction on a connection of its own, or it would be their number that differs.
Destinations are all new to the node, so their queues' making is in it. The ratio is of many to few: bar 1.3.
"""
import socket
import tempfile

import rig
from rig import harness, tell

COUNT = 100000 if rig.BIG else 50000
EACH = 50               # recipients a message
BODY = b"Subject: a bench\r\n\r\n" + b"x" * 70 + b"\r\n.\r\n"


class Spread(rig.Bench):
    def expect(self, replies, code):
        line = replies.readline()
        while line[3:4] == b"-":
            line = replies.readline()
        self.assertEqual(line[:3], code, line)

    def send(self, port, destinations):
        with socket.create_connection(("127.0.0.1", port)) as client, client.makefile("rb") as replies:
            self.expect(replies, b"220")
            client.sendall(b"EHLO x.example\r\n")
            self.expect(replies, b"250")
            for first in range(0, COUNT, EACH):
                to = (b"RCPT TO:<u@d%d.example>\r\n" % (i % destinations) for i in range(first, first + EACH))
                client.sendall(b"MAIL FROM:<a@x.example>\r\n" + b"".join(to) + b"DATA\r\n")
                for _ in range(EACH + 1):
                    self.expect(replies, b"250")
                self.expect(replies, b"354")
                client.sendall(BODY)
                self.expect(replies, b"250")

    def us_each(self, spool, destinations, vmtas):
        sink, sink_port = self.start_sink(COUNT)
        port = harness.free_port()
        node = self.node(f'''
local members = {{}}
for i = 1, {vmtas} do vmta("v" .. i) {{ source = "any" }}; members[i] = "v" .. i end
pool "many" (members)
on.message(function(msg) msg.pool = "many" end)
domain "*" {{ smtp_hosts = "[127.0.0.1]:{sink_port}", max_msg_per_connection = 1, max_rcpt_per_message = 1 }}''',
                         port=port, spool=spool, settings="workers = 1, max_smtp_out = 20")
        before = node.cpu_seconds()
        self.send(port, destinations)
        self.assertEqual(self.saw(sink)["recipients"], COUNT)
        used = node.cpu_seconds() - before
        node.stop(60)
        rig.wipe(spool)
        return used / COUNT * 1e6

    def runTest(self):
        with tempfile.TemporaryDirectory(prefix="sluice-bench", dir=rig.DISK) as folder:
            few = self.us_each(f"{folder}/spool", 10, 1)
            for name, us in ((f"to_{COUNT}_destinations", self.us_each(f"{folder}/spool", COUNT, 1)),
                             ("by_1000_vmtas", self.us_each(f"{folder}/spool", 10, 1000))):
                tell(us, "us", f"spread.{name}")
                tell(us / few, "ratio", f"spread.{name}_to_few")
            tell(few, "us", "spread.to_10_destinations_by_1_vmta")


rig.run(Spread)
