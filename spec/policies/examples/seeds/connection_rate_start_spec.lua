-- connection_rate_start: what the configuration really means.
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

describe("connection_rate_start", function()
  it("sends 2000 messages an hour, over few sessions", function()
    local world = sim.world { policy = "policies/examples/seeds/connection_rate_start.lua", seed = 1 }
    local receiver = world:receiver "company.example" { latency = "80ms" }
    world:inject { to = "user@company.example", count = 10000 }
    world:run_for "4h"
    assert.is_true(receiver:rate_in_any "1h" <= 2000)
    assert.is_true(receiver:messages() >= 7600)
    assert.is_true(receiver:peak_connections() <= 1000)
  end)
end)
