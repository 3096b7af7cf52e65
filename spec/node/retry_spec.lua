-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

local RULES = "spec/node/rules.lua"

-- Minutes between instants, rounded down.
local function gaps(instants)
  local result = {}
  for i = 2, #instants do
    result[#result + 1] = math.floor((instants[i] - instants[i - 1]) / 60 + 0.01)
  end
  return result
end

describe("a retry", function()
  local world, host
  local function meet(name)
    host = world:receiver(name)
    return host
  end
  before_each(function() world = sim.world { policy = RULES } end)

  it("of a recipient steps through the list, and the last repeats", function()
    local at = {}
    meet("list.example"):answer { to = "RCPT", times = 5, fn = function(event)
      at[#at + 1] = event.at
      return "450 4.2.1 busy"
    end }
    world:inject { to = "u@list.example" }
    world:run_until_idle()
    assert.same({ 1, 2, 4, 4 }, gaps(at))
    assert.equal(5, #world:records { type = "t" })
    assert.equal(1, host:messages())
  end)

  it("of a queue steps through the list, and a delivery resets it", function()
    meet("rp.example"):answer { to = "connect", with = "421 4.3.2 away", times = 3 }
    world:inject { to = "u@rp.example" }
    world:run_until_idle()
    assert.same({ 5, 10, 20 }, gaps(host:connected_at()))
    local began = world:now()
    host:answer { to = "connect", with = "421 4.3.2 away", times = 1 }
    world:inject { to = "u@rp.example" }
    world:run_until_idle()
    assert.is_true(world:now() - began < 330)
  end)

  it("waits for retry_after from the failure, and no second time for the connect rate", function()
    for _, answer in ipairs { "connect", "EHLO" } do
      world = sim.world { policy = RULES }
      meet("crated.example"):answer { to = answer, with = "421 no" }
      world:inject { to = "u@crated.example" }
      world:run_for "1s"
      assert.equal("retry_after", world:why("crated/mta-1").gate)
      assert.equal(1, #world:records { type = "tq" })
      world:run_for "35m"
      assert.same({ 15, 15 }, gaps(host:connected_at()))
    end
  end)

  it("is only ever later for its jitter", function()
    local first, last = math.huge, 0
    for seed = 1, 30 do
      world = sim.world { policy = RULES, seed = seed }
      meet("jit.example"):answer { to = "RCPT", with = "450 4.2.1 busy", times = 1 }
      world:inject { to = "u@jit.example" }
      world:run_until_idle()
      first, last = math.min(first, world:now()), math.max(last, world:now())
    end
    assert.is_true(first >= 600 and last > 660 and last <= 906)
  end)

  it("follows a connection that breaks after MAIL, at any stage", function()
    for _, stage in ipairs { "MAIL", "RCPT", "DATA", "." } do
      for _, act in ipairs { "reset", "close" } do
        world = sim.world { policy = RULES }
        meet("x.example"):answer { to = stage, with = act, times = 1 }
        world:inject { to = "u@x.example" }
        world:run_for "2m"
        assert.equal(1, #world:records { type = "t" }, stage .. " " .. act)
        world:run_until_idle()
        assert.equal(1, host:messages())
      end
    end
  end)

  it("follows the timeout of the stage that hangs", function()
    for stage, seconds in pairs { connect = 300, EHLO = 300, MAIL = 300, RCPT = 300, DATA = 180, ["."] = 600 } do
      world = sim.world { policy = RULES }
      meet("x.example"):answer { to = stage, with = "hang", times = 1 }
      world:inject { to = "u@x.example" }
      world:run_for(seconds - 2)
      assert.equal(0, #world:records { type = "t" } + #world:records { type = "tq" }, stage)
      world:run_for(4)
      assert.is_true(#world:records { type = "t" } + #world:records { type = "tq" } > 0, stage)
    end
  end)

  it("ends by age, in a paused queue too, and by the number of attempts", function()
    meet("exp.example"):down()
    world:inject { to = "u@exp.example", from = "" }
    world:inject { to = "u@paused.example", from = "" }
    world:run_for "61m"
    assert.equal(2, #world:records { type = "b" })
    meet("att.example"):answer { to = "RCPT", with = "450 4.2.1 busy" }
    world:inject { to = "u@att.example", from = "" }
    world:run_until_idle()
    assert.equal(3, #world:records { type = "b" })
    assert.equal(3, host:connections())
  end)
end)

describe("a rate", function()
  it("holds in any window over crashes", function()
    local world = sim.world { policy = RULES }
    world:inject { to = "u@rated.example", count = 600 }
    for _ = 1, 6 do
      world:run_for "7m"
      world:crash()
      world:run_for "1s"
      world:restart()
    end
    world:run_for "1h"
    assert.is_true(world:receiver "rated.example":rate_in_any "1h" <= 400)
  end)

  it("of connections and their messages make the ceiling that why tells", function()
    local world = sim.world { policy = RULES }
    world:inject { to = "u@crated.example", count = 100 }
    world:run_for "2h"
    local hour = world:receiver "crated.example":messages { from = "1h", to = "2h" }
    assert.equal(30, hour)
    assert.equal(30, world:why("crated/mta-1").ceiling.msgs_per_hour)
  end)
end)
