#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""End to end on loopback: `sluice inject` hands messages to a node, which relays them to `sluice sink`.

For each case: delivered messages a second (from the sink's first connection to its last message), the node's CPU seconds for
1,000 messages, how long the node took to answer the final dot, and the node's peak memory. System calls for 1,000 messages
are counted in runs of their own, by strace, which slows the node: more messages then share a turn of the loop less well.
"""
import os
import re
import resource
import signal
import subprocess
import tempfile

import rig
from rig import harness, tell

CASES = [                           # name, bytes, sessions, messages, TLS in, TLS out
    ("4k_20_sessions", 4096, 20, 20000, False, False),
    ("4k_20_sessions_tls_in", 4096, 20, 10000, True, False),
    ("4k_20_sessions_tls_out", 4096, 20, 10000, False, True),
]
SHARDS = [(f"4k_{sessions}_session{'s' * (sessions > 1)}_{n}_worker{'s' * (n > 1)}", sessions, count, n)
          for sessions, count in ((1, 2000), (20, 20000)) for n in ()]
FLOOR = []
TRACED = []


class Relay(rig.Bench):
    def start_node(self, spool, sink_port, tls_in, settings=""):
        listener = f'tls = {{ certificate = "{self.certificate}", key = "{self.key}" }}' if tls_in else ""
        return self.node(f'domain "*" {{ smtp_hosts = "[127.0.0.1]:{sink_port}", max_smtp_out = 20 }}', listener=listener, spool=spool,
                         settings=settings)

    def case(self, spool, name, size, sessions, count, tls_in, tls_out, settings=""):
        sink, sink_port = self.start_sink(count, *(["--certificate", self.certificate, "--key", self.key] if tls_out else []))
        node = self.start_node(spool, sink_port, tls_in, settings)
        before = node.cpu_seconds()
        saw = self.saw(sink)
        self.assertEqual(saw["messages"], count)
        tell(count / saw["seconds"], "/s", f"relay.{name}.delivered")
        tell((node.cpu_seconds() - before) / count * 1000, "s/1000", f"relay.{name}.cpu")
        for quantile, ms in sent["latency"].items():
            tell(ms, "ms", f"relay.{name}.reply_{quantile}")
        tell(node.memory_bytes("VmHWM") / 2**20, "MiB", f"relay.{name}.memory")
        node.stop(20)
        rig.wipe(spool)

    def floor(self, name, size, sessions, count):
        """No node between: what the source and the sink themselves take."""
        def used():
            usage = resource.getrusage(resource.RUSAGE_CHILDREN)
            return usage.ru_utime + usage.ru_stime
        sink, sink_port = self.start_sink(count)
        before = used()
        self.inject(sink_port, count, size, sessions)
        seconds = self.saw(sink)["seconds"]
        tell(count / seconds, "/s", f"relay.{name}_no_node.delivered")
        tell((used() - before) / count * 1000, "s/1000", f"relay.{name}_no_node.cpu")

    def traced(self, spool, name, size, sessions, count):
        sink, sink_port = self.start_sink(count)
        node = self.start_node(spool, sink_port, False)
        summary = self.path("strace")
        strace = subprocess.Popen([harness.program("strace"), "-f", "-c", "-U", "calls,name", "-o", summary, "-p", str(node.popen.pid)],
                                  stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.assertIn("attached", strace.stderr.readline())
        self.inject(node.port, count, size, sessions)
        self.saw(sink)
        strace.send_signal(signal.SIGINT)
        strace.wait(20)
        with open(summary, encoding="ascii") as file:
            calls = re.search(r"^\s*(\d+)\s+total$", file.read(), re.M)
        tell(int(calls.group(1)) / count * 1000, "calls/1000", f"relay.{name}.system_calls")
        node.stop(20)
        rig.wipe(spool)

    def runTest(self):
        self.certificate, self.key = harness.Certificates(self.path("ca")).issue("bench.example")
        with tempfile.TemporaryDirectory(prefix="sluice-bench", dir=rig.DISK) as folder:
            spool = os.path.join(folder, "spool")
            for case in FLOOR:
                self.floor(*case)
            for case in CASES:
                self.case(spool, *case)
            for name, sessions, count, workers in SHARDS:
                self.case(spool, name, 4096, sessions, count, False, False, f"workers = {workers}")
            for case in TRACED:
                self.traced(spool, *case)


rig.run(Relay)
