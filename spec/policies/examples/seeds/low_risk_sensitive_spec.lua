-- low_risk_sensitive: what the configuration really means.
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

describe("low_risk_sensitive", function()
  it("sends 60 messages an hour, for connections bind", function()
    local world = sim.world { policy = "policies/examples/seeds/low_risk_sensitive.lua", seed = 1 }
    local receiver = world:receiver "hotmail.com" { latency = "80ms" }
    world:inject { to = "user@hotmail.com", count = 300 }
    world:run_for "4h"
    assert.is_true(receiver:rate_in_any "1h" <= 60)
    assert.is_true(receiver:messages() >= 228)
    assert.is_true(receiver:peak_connections() <= 2)
  end)
end)
