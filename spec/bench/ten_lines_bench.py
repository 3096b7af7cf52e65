#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long `sluice spec` takes for a policy and a spec of ten lines each, from its start to its end: the best of ten."""
import rig
from rig import harness, tell

POLICY = """listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8" } }
vmta "default" { source = "any" }
provider "p" {
  domains = { "p.example" },
  max_smtp_out = 2,
  retry_after = "30m",
  backoff = {
    { "421 RP-001", lasts = "1h", max_smtp_out = 1 },
  },
}
"""
SPEC = """local sim = require "sluice.sim"
describe("a throttle", function()
  it("slows us down", function()
    local world = sim.world { policy = "policy.lua" }
    world:receiver "p.example":answer { to = "MAIL", with = "421 RP-001 too many", times = 1 }
    world:inject { to = "you@p.example", count = 20 }
    world:run_for "2m"
    assert.equal(1, world:effective("p/default").max_smtp_out)
  end)
end)
"""


class TenLines(rig.Bench):
    def runTest(self):
        self.write("policy.lua", POLICY)
        self.write("ten_lines_spec.lua", SPEC)
        took = []
        for _ in range(10):
            began = harness.now()
            done = harness.command("spec", "ten_lines_spec.lua", cwd=self.folder)
            took.append(harness.now() - began)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        tell(min(took) * 1000, "ms", "spec.ten_lines")


rig.run(TenLines)
