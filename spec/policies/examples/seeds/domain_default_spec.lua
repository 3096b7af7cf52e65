-- domain_default: what the configuration really means.
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

describe("domain_default", function()
  it("sends 200 messages a second over 50 sessions", function()
    local world = sim.world { policy = "policies/examples/seeds/domain_default.lua", seed = 1 }
    local receiver = world:receiver "company.example" { latency = "40ms" }
    world:inject { to = "user@company.example", count = 3000 }
    world:run_for "1m"
    assert.is_true(receiver:rate_in_any "1s" <= 200)
    assert.is_true(receiver:peak_connections() <= 50)
    assert.equal(3000, receiver:messages())
  end)
end)
