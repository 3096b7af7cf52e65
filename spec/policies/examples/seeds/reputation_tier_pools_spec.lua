-- reputation_tier_pools: what the configuration really means.
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

describe("reputation_tier_pools", function()
  it("has 8, 4 and 2 sessions, and 50 an hour while warming", function()
    local world = sim.world { policy = "policies/examples/seeds/reputation_tier_pools.lua", seed = 1 }
    local gmail = world:receiver "gmail.com" { latency = "80ms" }
    for _, pool in ipairs { "high-rep-pool", "recovering-pool", "warming-pool" } do
      world:inject { to = "user@gmail.com", count = 200, headers = { ["X-Pool"] = pool } }
    end
    world:run_for "1s"
    assert.equal(8, world:effective("google/mta-1").max_smtp_out)
    assert.equal(4, world:effective("google/mta-2").max_smtp_out)
    assert.equal(1200, world:effective("google/mta-2").retry_after)
    assert.equal(2, world:effective("google/mta-3").max_smtp_out)
    -- The other pools are done within minutes; the warming one goes on all day.
    world:run_for "4h"
    assert.is_true(gmail:messages { from = "1h", to = "3h" } <= 100)
    assert.is_true(gmail:messages { from = "1h", to = "3h" } >= 95)
  end)
end)
