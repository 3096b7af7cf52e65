#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Mail that waits: what a queued recipient costs in memory, and how long a node that was killed takes until it accepts mail again.

100,000 messages of 600 bytes; with BIG=1 also 1,000,000. `memory` is taken of a node that found them in its spool, less an empty
node's; `memory_live` of the one that took them in, which also keeps up to 64 MiB of what it wrote last for its readers.
"""
import os
import tempfile

import rig
from rig import harness, tell


class Queued(rig.Bench):
    def measure(self, spool, count):
        name = f"queued.{count}"
        node = self.node('domain "*" { paused = true }', spool=spool)
        empty = node.memory_bytes()
        self.inject(node.port, count, 600, 20)
        tell((node.memory_bytes() - empty) / count, "B", f"{name}.memory_live")
        node.kill()
        began = harness.now()
        again = self.restart(node)
        tell(harness.now() - began, "s", f"{name}.restart")
        self.assertEqual(again.status()["queued"], count)
        tell((again.memory_bytes() - empty) / count, "B", f"{name}.memory")
        again.stop(60)
        rig.wipe(spool)

    def runTest(self):
        with tempfile.TemporaryDirectory(prefix="sluice-bench", dir=rig.DISK) as folder:
            for count in (100000, 1000000) if rig.BIG else (100000,):
                self.measure(os.path.join(folder, "spool"), count)


rig.run(Queued)
