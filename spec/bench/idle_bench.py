# SPDX-License-Identifier: Apache-2.0
"""What an idle session costs in memory, in clear and by TLS: inbound, and outbound, each to a destination and a host of its own."""
import smtplib
import ssl
import time

import rig
from rig import harness

SESSIONS = 10000 if rig.BIG else 1000
FIRST = 50              # what the node needs once, whatever comes
ROOM = f"max_smtp_in = {2 * SESSIONS}, max_smtp_out = {2 * SESSIONS}"
QUIET_S = 4.4           # what is silent for so long is at rest: twice REST_US of core/net/conn_tls_os.c
BODY = "Subject: a bench\r\n\r\n" + ("x" * 70 + "\r\n") * 1000
DESTINATIONS = """
for i = 0, {last} do
  domain("d" .. i .. ".example") {{ smtp_hosts = ("[127.1.%d.%d]:{port}"):format(i / 200, i % 200 + 1), idle_timeout = "15m" }}
end
"""


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1])


def connections_to(port):
    """Established, to a port of this host."""
    with open("/proc/net/tcp", encoding="ascii") as tcp:
        rows = [line.split() for line in tcp]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


class Idle(rig.Bench):
    def settled(self, pid):
        """Resident once nothing changes any more."""
        seen, since = resident_kib(pid), time.monotonic()
        while time.monotonic() - since < QUIET_S:
            time.sleep(0.2)
            now = resident_kib(pid)
            if now != seen:
                seen, since = now, time.monotonic()
        return seen

    def inbound(self, name, node, context=None):
        pid = node.popen.pid

        def client():
            one = smtplib.SMTP("127.0.0.1", node.port, "x.example")
            one.ehlo()
            if context:
                one.starttls(context=context)
                one.ehlo()
            return one

        clients = [client() for _ in range(FIRST)]
        before = self.settled(pid)
        clients += [client() for _ in range(SESSIONS)]
        rig.tell((self.settled(pid) - before) / SESSIONS, "KiB", f"idle.inbound{name}")
        for one in clients:
            one.close()

    def outbound(self, name, node, sink_port):
        pid = node.popen.pid
        with smtplib.SMTP("127.0.0.1", node.port, "x.example") as client:
            for first, last in ((0, FIRST), (FIRST, FIRST + SESSIONS)):
                before = self.settled(pid)
                for i in range(first, last, FIRST):
                    client.sendmail("a@x.example", [f"u@d{k}.example" for k in range(i, i + FIRST)], BODY)
                node.wait_empty(60 + SESSIONS / 10)
                self.assertEqual(connections_to(sink_port), last)
        rig.tell((self.settled(pid) - before) / SESSIONS, "KiB", f"idle.outbound_{name}_session_and_destination")

    def runTest(self):
        certificate, key = harness.Certificates(self.path("ca")).issue("mx.example")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        tls = f'tls = {{ certificate = "{certificate}", key = "{key}" }}'
        # A node for each: what others gave back would serve the next.
        for name, listener, by in (("", "", None), ("_tls", tls, context)):
            node = self.node(listener=listener, settings=ROOM, spool=self.path(f"in{name}"))
            self.inbound(name, node, by)
        for name, options in (("plain", ()), ("tls", ("--certificate", certificate, "--key", key))):
            _, port = self.start_sink(10 ** 9, *options, host="0.0.0.0")
            node = self.node(DESTINATIONS.format(last=FIRST + SESSIONS - 1, port=port), settings=ROOM, spool=self.path(f"out-{name}"))
            self.outbound(name, node, port)


rig.run(Idle)
