# SPDX-License-Identifier: Apache-2.0
"""What benches of whole programs share: a node, a source, a sink and what they used, on loopback.

A bench is a class of one runTest(); rig.run() plays it inside name spaces of its own. It tells lines of
`name value unit`, as the benches in C do (core/util/bench.h).
"""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "wire"))
import harness                      # noqa: E402

BIG = bool(os.environ.get("BIG"))
DISK = os.environ.get("BENCH_DIR", "/tmp")


def tell(value, unit, name):
    print(f"{name} {value:.6g} {unit}", flush=True)


def cpu_seconds(pid):
    """Of a process, what it waited for, and everything that lives below it."""
    tree = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as stat:
                fields = stat.read().rpartition(")")[2].split()
        except OSError:
            continue
        tree[int(name)] = int(fields[1]), sum(map(int, fields[11:15]))
    wanted = {pid}
    while True:
        more = {p for p, (parent, _) in tree.items() if parent in wanted} - wanted
        if not more:
            break
        wanted |= more
    return sum(tree[p][1] for p in wanted if p in tree) / os.sysconf("SC_CLK_TCK")


def wipe(folder):
    """Inside name spaces nothing outlives the bench, but folders do."""
    subprocess.run(["rm", "-rf", folder], check=True)


class Bench(harness.Case):
    def start_sink(self, count, *options, host="127.0.0.1"):
        """`sluice sink` that ends after so many messages; (process, port)."""
        port = harness.free_port()
        sink = self.keep(harness.Process([harness.SLUICE, "sink", "--listen", f"{host}:{port}", "--count", str(count), "--json",
                                          *options], self.path(f"sink-{port}.log")))
        harness.until(lambda: "listening" in sink.log, "the sink listens")
        return sink, port

    def inject(self, port, count, size, sessions, *options, deadline_s=600):
        done = harness.command("inject", "--json", "--count", str(count), "--size", str(size), "--concurrency", str(sessions),
                               *options, f"127.0.0.1:{port}", deadline_s=deadline_s)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def saw(self, sink, deadline_s=600):
        """What the sink told when it was over."""
        sink.wait(deadline_s)
        return json.loads(next(line for line in sink.log.splitlines() if line.startswith("{")))


def run(bench_class):
    harness.enter_namespace(False)
    bench = bench_class()
    bench.setUp()
    try:
        bench.runTest()
    finally:
        bench.doCleanups()
