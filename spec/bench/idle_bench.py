# SPDX-License-Identifier: Apache-2.0
"""What an idle session costs in memory: inbound, and outbound in clear and by TLS, each to a destination of its own."""
import smtplib
import time

import rig
from rig import harness

SESSIONS = 1000
FIRST = 50              # what the node needs once, whatever comes
BODY = "Subject: a bench\r\n\r\n" + ("x" * 70 + "\r\n") * 1000


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
        seen = [resident_kib(pid)]
        while len(seen) < 3 or len(set(seen[-3:])) > 1:
            time.sleep(0.2)
            seen.append(resident_kib(pid))
        return seen[-1]

    def inbound(self, port, pid):
        before = self.settled(pid)
        clients = [smtplib.SMTP("127.0.0.1", port, "x.example") for _ in range(SESSIONS)]
        for client in clients:
            client.ehlo()
        rig.tell((self.settled(pid) - before) / SESSIONS, "KiB", "idle.inbound")
        for client in clients:
            client.close()

    def outbound(self, name, port, sink_port, pid):
        with smtplib.SMTP("127.0.0.1", port, "x.example") as client:
            for first, last in ((0, FIRST), (FIRST, FIRST + SESSIONS)):
                before = self.settled(pid)
                for i in range(first, last, FIRST):
                    client.sendmail("a@x.example", [f"u@d{k}.example" for k in range(i, i + FIRST)], BODY)
                harness.until(lambda last=last: connections_to(sink_port) >= last, "a session to each destination", 60)
        rig.tell((self.settled(pid) - before) / SESSIONS, "KiB", f"idle.outbound_{name}_session_and_destination")

    def runTest(self):
        certificate, key = harness.Certificates(self.path("ca")).issue("mx.example")
        for name, options in (("plain", []), ("tls", ["--certificate", certificate, "--key", key])):
            _, sink_port = self.start_sink(10 ** 9, *options)
            port = harness.free_port()
            node = self.node(f'domain "*" {{ smtp_hosts = "[127.0.0.1]:{sink_port}", idle_timeout = "5m" }}', port=port,
                             spool=self.path(f"spool-{name}"))
            if name == "plain":
                self.inbound(port, node.popen.pid)
            self.outbound(name, port, sink_port, node.popen.pid)


rig.run(Idle)
