-- reputation_tiers: an address moves from pool to pool as its reputation grows.
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

describe("pools by reputation", function()
  local world, gmail
  before_each(function()
    world = sim.world { policy = "policies/examples/reputation_tiers.lua", seed = 1 }
    gmail = world:receiver "gmail.com" { latency = "80ms", starttls = true }
  end)

  it("have the sessions of their tier", function()
    for _, pool in ipairs { "high", "recovering", "warming" } do
      world:inject { to = "user@gmail.com", headers = { ["X-Pool"] = pool } }
    end
    world:run_for "1m"
    assert.equal(8, world:effective("google/mta-1").max_smtp_out)
    assert.equal(4, world:effective("google/mta-3").max_smtp_out)
    assert.equal(2, world:effective("google/mta-4").max_smtp_out)
    assert.equal("50/h", world:effective("google/mta-4").max_msg_rate)
  end)

  it("send 50 an hour by a warming address", function()
    world:inject { to = "user@gmail.com", count = 300, headers = { ["X-Pool"] = "warming" } }
    world:run_for "4h"
    assert.is_true(gmail:rate_in_any "1h" <= 50)
    assert.is_true(gmail:messages() >= 190)
  end)

  it("give the warming address a message in twenty", function()
    world:inject { to = "user@gmail.com", count = 2000 }
    world:run_for "10s"
    local warming = #world:records { type = "r", vmta = "mta-4" }
    assert.is_true(warming > 60 and warming < 140)
  end)
end)
