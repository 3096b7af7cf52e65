-- max_cpu_usage: what the configuration really means.
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

describe("max_cpu_usage", function()
  it("sends as it does without it", function()
    local world = sim.world { policy = "policies/examples/seeds/max_cpu_usage.lua", seed = 1 }
    local receiver = world:receiver "company.example" { latency = "80ms" }
    world:inject { to = "user@company.example", count = 100 }
    world:run_for "1m"
    assert.equal(100, receiver:messages())
  end)
end)
