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
    for pool, sessions in pairs { high = 8, recovering = 4, warming = 2 } do
      world:inject { to = "user@gmail.com", headers = { ["X-Pool"] = pool } }
      assert.is_true(sessions > 0)
    end
    world:run_for "1m"
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
    local warming = world:queue("google/mta-4")
    local share = warming.recipients + warming.delivered
    assert.is_true(share > 60 and share < 140)
  end)
end)
