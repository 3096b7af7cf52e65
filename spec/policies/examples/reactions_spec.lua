-- reactions: one rule of each kind.
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

local POLICY = "policies/examples/reactions.lua"

local function overlay_of(world, queue, name)
  for _, overlay in ipairs(world:overlays(queue)) do
    if overlay.name == name then
      return overlay
    end
  end
end

local function begin(domain)
  local world = sim.world { policy = POLICY, seed = 1 }
  return world, world:receiver(domain) { latency = "20ms" }
end

describe("reactions", function()
  it("lay the two rules of the seeds at once, each with its own end", function()
    local world, hotmail = begin "hotmail.com"
    hotmail:answer { to = "MAIL", with = "421 4.3.2 Service not available", times = 1 }
    hotmail:answer { to = "MAIL", with = "421 RP-001 rate limit", times = 1 }
    world:inject { to = "user@hotmail.com", count = 100 }
    world:run_for "1m"
    assert.equal(2, world:effective("microsoft/mta-1").max_smtp_out)
    world:run_for "50m"
    assert.equal(5, world:effective("microsoft/mta-1").max_smtp_out)
    world:run_for "15m"
    assert.equal(20, world:effective("microsoft/mta-1").max_smtp_out)
  end)

  it("stop for a day when more than ten are refused for their content", function()
    local world, hotmail = begin "hotmail.com"
    hotmail:answer { to = "RCPT", with = "550 5.7.1 part of their network is on our block list (S3140)", times = 11 }
    world:inject { to = "user@hotmail.com", count = 100, rate = "10/m" }
    world:run_for "1h"
    assert.is_not_nil(overlay_of(world, "microsoft/mta-1", "S3140"))
    assert.is_true(hotmail:messages() < 89)
  end)

  it("stop at the second complaint within an hour", function()
    local world, yahoo = begin "yahoo.com"
    yahoo:answer { to = "MAIL", with = "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred", times = 2 }
    world:inject { to = "user@yahoo.com", count = 100 }
    world:run_for "5m"
    assert.is_not_nil(overlay_of(world, "yahoo/mta-1", "TSS0[45]"))
  end)

  it("halve, and come back step by step", function()
    local world, company = begin "company.example"
    company:answer { to = "MAIL", with = "421 4.7.28 over the rate limit", times = 1 }
    world:inject { to = "user@company.example", count = 2000, rate = "1000/h" }
    world:run_for "1m"
    assert.equal(5, world:effective("company.example/mta-1").max_smtp_out)
    world:run_for "41m"
    assert.is_true(world:effective("company.example/mta-1").max_smtp_out > 5)
    world:run_for "1h"
    assert.equal(10, world:effective("company.example/mta-1").max_smtp_out)
  end)

  it("let one full mailbox wait", function()
    local world, company = begin "company.example"
    company:answer { to = "RCPT", with = "452 4.2.2 mailbox full", times = 1 }
    world:inject { to = "user@company.example", count = 2 }
    world:run_for "5h"
    assert.equal(1, company:messages())
    world:run_for "2h"
    assert.equal(2, company:messages())
  end)

  it("send by another address when ours is listed", function()
    local world, company = begin "company.example"
    company:answer { to = "RCPT", with = "554 5.7.1 blocked using zen.spamhaus.org", times = 1 }
    world:inject { to = "user@company.example", count = 10, rate = "1/m" }
    world:run_for "1h"
    assert.equal(10, company:messages())
    assert.is_true(#world:records { type = "d", vmta = "mta-2" } > 0)
  end)

  it("open fewer connections when there are too many", function()
    local world, company = begin "company.example"
    company:answer { to = "connect", with = "421 too many connections", times = 1 }
    world:inject { to = "user@company.example" }
    world:run_for "1m"
    assert.is_not_nil(overlay_of(world, "company.example/mta-1", "too many connections"))
  end)
end)
