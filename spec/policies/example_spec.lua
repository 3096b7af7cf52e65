-- example: the reference's worked example.
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

describe("Microsoft's connection throttle", function()
  local world, hotmail
  before_each(function()
    world = sim.world { policy = "policies/example.lua", seed = 1 }
    hotmail = world:receiver "hotmail.com" { latency = "80ms" }
  end)

  it("drops to 5 connections for an hour, then comes back", function()
    world:inject { to = "user@hotmail.com", count = 5000 }
    world:run_for "10m"
    hotmail:answer { to = "MAIL", with = "421 RP-001 too many connections", times = 1 }
    world:inject { to = "user@hotmail.com", count = 5000 }
    world:run_for "1m"
    assert.is_true(hotmail:peak_connections { from = "11m", to = "70m" } <= 5)
    local overlay = world:overlays("microsoft/mta-1")[1]
    assert.equal("421 RP-001", overlay.name)
    assert.matches("policies/example.lua:%d+", overlay.declared_at)
    assert.equal(5, world:effective("microsoft/mta-1").max_smtp_out)
    world:run_for "1h"
    assert.equal(20, world:effective("microsoft/mta-1").max_smtp_out)
  end)
end)
