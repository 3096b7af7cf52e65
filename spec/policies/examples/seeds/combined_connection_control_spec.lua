-- combined_connection_control: what the configuration really means.
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

describe("combined_connection_control", function()
  it("sends 300 messages an hour, not 47,000", function()
    local world = sim.world { policy = "policies/examples/seeds/combined_connection_control.lua", seed = 1 }
    local receiver = world:receiver "company.example" { latency = "80ms" }
    world:inject { to = "user@company.example", count = 1500 }
    world:run_for "4h"
    assert.is_true(receiver:rate_in_any "1h" <= 300)
    assert.is_true(receiver:messages() >= 1140)
    assert.is_true(receiver:peak_connections() <= 8)
  end)
end)
