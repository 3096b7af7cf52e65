-- connection_cap_and_rate: what the configuration really means.
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

describe("connection_cap_and_rate", function()
  it("reaches 30 sessions after 6 minutes, and no more", function()
    local world = sim.world { policy = "policies/examples/seeds/connection_cap_and_rate.lua", seed = 1 }
    local receiver = world:receiver "example-receiver.com" { latency = "10s" }
    world:inject { to = "user@example-receiver.com", count = 5000 }
    world:run_for "4m"
    assert.is_true(receiver:peak_connections() <= 20)
    world:run_for "6m"
    assert.equal(30, receiver:peak_connections())
  end)
end)
