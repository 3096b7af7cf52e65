-- What import-pmta made of the seed configurations means what they meant: the rates are those of their arithmetic.
-- The policies under imported/ are its output as it is; spec/wire/test_import.py makes them again and compares.
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

local function imported(name)
  return sim.world { policy = "spec/policies/imported/" .. name .. ".lua" }
end

-- The messages that each binding limit lets through in an hour.
local seeds = {
  { "seed000-hotmail-conservative", "hotmail.com", 200 },         -- 20 connections an hour of 10 messages; 400/h is never reached
  { "seed000-example-rate-settings", "example.org", 500 },        -- 50 of 10; 1000/h is never reached
  { "seed000-low-risk-sensitive", "hotmail.com", 60 },            -- 12 of 5; 120/h is never reached
  { "seed002-combined-connection-control", "example.org", 300 },
  { "seed002-reputation-tier-pools", "gmail.com", 50, "warming-pool" },
  { "seed003-connection-rate-start", "example.org", 2000 },
  { "seed004-hotmail-template", "hotmail.com", 5000 },
}

describe("an imported seed", function()
  for _, seed in ipairs(seeds) do
    local name, domain, per_hour, pool = seed[1], seed[2], seed[3], seed[4]
    it(("sends %d an hour: %s"):format(per_hour, name), function()
      local world = imported(name)
      local host = world:receiver(domain) { latency = "80ms" }
      world:inject { to = "user@" .. domain, count = 3 * per_hour, pool = pool }
      world:run_for "2h"
      assert.is_true(host:rate_in_any "1h" <= per_hour)
      assert.is_true(host:messages { from = "1h", to = "2h" } >= 0.9 * per_hour)
    end)
  end

  it("gives up after five tries: seed003-safe-backoff", function()
    local world = imported "seed003-safe-backoff"
    local host = world:receiver "example.org" {}
    host:answer { to = "RCPT", with = "450 4.2.1 not now" }
    world:inject { to = "user@example.org" }
    world:run_for "2h"
    assert.equal(5, #world:records { type = "t" } + #world:records { type = "b" })
  end)
end)

describe("the imported template's rules", function()
  local world, host
  before_each(function()
    world = imported "seed004-hotmail-template"
    host = world:receiver "hotmail.com" { latency = "80ms" }
    world:inject { to = "user@hotmail.com", count = 20000 }
    world:run_for "10m"
  end)

  it("go to 5 connections and 1000 an hour for an hour after RP-001", function()
    host:answer { to = "MAIL", with = "421 RP-001 too many connections", times = 1 }
    world:run_for "5m"
    assert.is_true(host:peak_connections { from = "12m", to = "65m" } <= 5)
    assert.equal(5, world:effective("microsoft/default").max_smtp_out)
    assert.equal("1000/h", world:effective("microsoft/default").max_msg_rate)
    world:run_for "1h"
    assert.equal("5000/h", world:effective("microsoft/default").max_msg_rate)
    assert.equal(20, world:effective("microsoft/default").max_smtp_out)
  end)

  it("go to 2 connections and 500 an hour for 45 minutes after 4.3.2", function()
    host:answer { to = "MAIL", with = "421 4.3.2 service not available", times = 1 }
    world:run_for "5m"
    assert.equal(2, world:effective("microsoft/default").max_smtp_out)
    assert.equal("500/h", world:effective("microsoft/default").max_msg_rate)
    world:run_for "45m"
    assert.equal(20, world:effective("microsoft/default").max_smtp_out)
  end)

  it("hold for all of Microsoft's domains together", function()
    local before = world:queue("microsoft/default").queued
    world:inject { to = "user@msn.com", count = 10000 }
    assert.is_true(world:queue("microsoft/default").queued > before + 9000)
  end)
end)
