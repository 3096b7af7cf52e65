-- warmup: a new address earns its reputation in six weeks.
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

local POLICY = "policies/examples/warmup.lua"
local DAYS = { 50, 100, 150, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 1200, 1400, 1600, 1800, 2000, 2300, 2600, 3000, 3400,
  3800, 4300, 4800, 5400, 6000, 6800, 7600, 8500, 9500, 10600, 11900, 13300, 14900, 16700, 18700, 20900, 23400, 26200, 29400, 32900, 36900 }

local function begin()
  local world = sim.world { policy = POLICY, seed = 1 }
  return world, world:receiver "gmail.com" { latency = "20ms", starttls = true }
end

local function delivered(world, vmta)
  return #world:records { type = "d", vmta = vmta }
end

describe("warming up", function()
  it("sends the day's number by the new address, and the rest by those that are known", function()
    local world, gmail = begin()
    world:inject { to = "user@gmail.com", count = 300 }
    world:run_for "1h"
    assert.equal(300, gmail:messages())
    assert.equal(50, delivered(world, "mta-new"))
    assert.equal(250, delivered(world, "mta-1") + delivered(world, "mta-2"))
  end)

  it("shows the day and what is left of it", function()
    local world = begin()
    world:inject { to = "user@gmail.com", count = 20 }
    world:run_for "10m"
    assert.same({ day = 1, per_day = 50, used = 20, left = 30 }, world:why("google/mta-new").warmup)
    world:inject { to = "user@gmail.com", count = 100 }
    world:run_for "10m"
    local why = world:why "google/mta-new"
    assert.same({ day = 1, per_day = 50, used = 50, left = 0 }, why.warmup)
    assert.equal("warm-up", why.overlays[1].name)
    assert.matches("policies/examples/warmup.lua:%d+", why.overlays[1].declared_at)
    world:run_for "24h"
    assert.same({ day = 2, per_day = 100, used = 0, left = 100 }, world:why("google/mta-new").warmup)
  end)

  it("knows the day and the count after a restart, and after a crash", function()
    local world, gmail = begin()
    world:inject { to = "user@gmail.com", count = 30 }
    world:run_for "10m"
    world:restart()
    world:run_for "1m"
    world:inject { to = "user@gmail.com", count = 10 }
    world:run_for "10m"
    world:crash()
    world:restart()
    world:run_for "1m"
    world:inject { to = "user@gmail.com", count = 100 }
    world:run_for "2h"
    assert.equal(140, gmail:messages())
    assert.equal(50, delivered(world, "mta-new"))
    world:restart()
    world:run_for "1m"
    world:inject { to = "user@gmail.com", count = 10 }
    world:run_for "10m"
    assert.equal(50, delivered(world, "mta-new"))
  end)

  it("never goes over the day's number for a crash in the middle of it", function()
    local world = begin()
    world:inject { to = "user@gmail.com", count = 300 }
    world:run_until(function() return delivered(world, "mta-new") >= 30 end)
    world:crash()
    world:restart()
    world:run_for "1h"
    assert.is_true(delivered(world, "mta-new") <= 50)
    assert.equal(0, world:why("google/mta-new").warmup.left)
    world:run_until "25h"
    world:inject { to = "user@gmail.com", count = 300 }
    world:run_for "1h"
    assert.is_true(delivered(world, "mta-new") >= 130)
  end)

  it("leaves other sites alone", function()
    local world = begin()
    local company = world:receiver "company.example" { latency = "20ms" }
    world:inject { to = "user@company.example", count = 120 }
    world:run_for "1h"
    assert.equal(120, company:messages())
    assert.equal(120, delivered(world, "mta-new"))
    assert.is_nil(world:why("company.example/mta-new").warmup)
  end)

  it("counts what was refused for now as well", function()
    local world, gmail = begin()
    gmail:answer { to = "RCPT", with = "450 4.3.0 not now", times = 10 }
    world:inject { to = "user@gmail.com", count = 60 }
    world:run_for "6h"
    assert.equal(60, gmail:messages())
    assert.equal(40, delivered(world, "mta-new"))
  end)

  it("begins a day with its very first instant, whatever the workers", function()
    for _, workers in ipairs { 1, 4 } do
      local world = sim.world { policy = "days.lua", workers = workers, text = [[
        listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8" } }
        vmta "new" { source = "203.0.113.1", warmup = { start = "2026-01-01", per_day = { 20, 40, 70 }, overflow = "old" } }
        vmta "old" { source = "203.0.113.2" }
        pool "default" { "new" }
      ]] }
      for _, most in ipairs { 20, 40, 70 } do
        local before = delivered(world, "new")
        world:inject { to = "user@a.example", count = 100 }
        world:run_for "24h"
        assert.equal(most, delivered(world, "new") - before)
      end
    end
  end)

  it("takes six weeks", function()
    local world = begin()
    for day, most in ipairs(DAYS) do
      -- The first days are used up, and there is more.
      local count = day <= 4 and most + 20 or 30
      world:inject { to = "user@gmail.com", count = count }
      world:run_until((day - 1) * 86400 + 3600)
      local used = math.min(count, most)
      assert.same({ day = day, per_day = most, used = used, left = most - used }, world:why("google/mta-new").warmup)
      world:run_until(day * 86400)
    end
    assert.equal(50 + 100 + 150 + 200 + 38 * 30, delivered(world, "mta-new"))
  end)
end)
