-- Overlays lie exactly as long as they say, and while they lie nothing passes them.
-- SEEDS = 15
-- SPDX-License-Identifier: Apache-2.0
local new_dice = require "dice"
local sim = require "sluice.sim"

local QUEUE = "a.example/mta-1"

local function world_with(rule, cap)
  local world = sim.world { policy = "random.lua", text = ([[
listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8" } }
vmta "mta-1" { source = "203.0.113.1" }
pool "default" { "mta-1" }
domain "a.example" {
  max_smtp_out = %d, max_msg_per_connection = 5, retry_recipients_after = "5s", retry_after = "5s",
  backoff = { %s },
}
]]):format(cap, rule) }
  return world, world:receiver "a.example" { latency = "200ms" }
end

describe("an overlay", function()
  local dice, cap, lasts
  before_each(function()
    dice = new_dice(require("sluice.host").seed)
    cap, lasts = dice:between(4, 30), dice:magnitude(20, 20000)
  end)

  -- Enough mail that sessions stand at their cap all the time; the time of the matching reply, as the node hears it.
  local function play(world, receiver, until_s)
    world:inject { to = "u@a.example", count = math.floor(until_s * 60), rate = "60/s" }
    local at
    receiver:answer { to = "MAIL", times = 1, fn = function(event)
      if event.at < 5 then
        return nil
      end
      at = event.at
      return "421 4.7.0 slow down"
    end }
    world:run_until(function() return at ~= nil end)
    world:run_until(at + 0.1)                   -- half of the latency
    return at + 0.1
  end

  it("caps sessions for as long as it lasts, and then no longer", function()
    local low = dice:between(1, cap - 1)
    lasts = dice:between(20, 200)
    local world, receiver = world_with(('{ "slow down", lasts = "%ds", max_smtp_out = %d }'):format(lasts, low), cap)
    local at = play(world, receiver, lasts + 40)
    assert.equal(low, world:effective(QUEUE).max_smtp_out)
    world:run_until(at + lasts - 0.001)
    assert.equal(low, world:effective(QUEUE).max_smtp_out)
    world:run_until(at + lasts + 0.001)
    assert.equal(cap, world:effective(QUEUE).max_smtp_out)
    assert.same({}, world:overlays(QUEUE))
    world:run_for "20s"
    -- Sessions that were open before end at their next message.
    assert.is_true(receiver:peak_connections { from = at + 5, to = at + lasts } <= low)
    assert.is_true(receiver:peak_connections { from = 0, to = at + lasts + 20 } <= cap)
    world:run_until_idle()
  end)

  it("of a percent halves what is in force, down to its floor", function()
    local floor, times = dice:between(1, 4), dice:between(1, 6)
    local world, receiver = world_with(('{ "slow down", lasts = "%ds", max_smtp_out = "50%%", floor = %d }'):format(lasts, floor), cap)
    local expected = cap
    for _ = 1, times do
      receiver:answer { to = "MAIL", with = "421 4.7.0 slow down", times = 1 }
      world:inject { to = "u@a.example" }
      world:run_for "2s"
      expected = math.max(floor, math.floor(expected / 2))
      assert.equal(math.min(expected, cap), world:effective(QUEUE).max_smtp_out)
      world:run_for(dice:between(10, 18))       -- the recipient is delivered, the session over
    end
    world:run_for(lasts)
    assert.equal(cap, world:effective(QUEUE).max_smtp_out)
    world:run_until_idle()
  end)

  it("that suspends lets nobody connect while it lasts", function()
    lasts = dice:between(20, 500)
    local world, receiver = world_with(('{ "slow down", lasts = "%ds", suspend = true }'):format(lasts), cap)
    local at = play(world, receiver, 15)
    local why = world:why(QUEUE)
    assert.equal("suspended", why.gate)
    assert.is_true(math.abs(why["until"] - lasts) < 0.01)
    world:run_until_idle()
    -- One whose SYN was on its way may still arrive.
    assert.equal(0, receiver:connections { from = at + 0.1 + 1e-6, to = at + lasts })
    assert.is_true(receiver:connections { from = at + lasts, to = at + lasts + 1 } > 0)
  end)

  it("outlives a crash by what was left of it", function()
    local low = dice:between(1, cap - 1)
    local world, receiver = world_with(('{ "slow down", lasts = "%ds", max_smtp_out = %d }'):format(lasts, low), cap)
    local at = play(world, receiver, 10)
    world:run_for "5s"
    if dice:chance(0.5) then
      world:crash()
    end
    world:run_for(math.min(lasts / 2, 1000))
    world:restart()
    if world:now() < at + lasts - 1 then
      assert.equal(low, world:effective(QUEUE).max_smtp_out)
      world:run_until(at + lasts - 0.5)
      assert.equal(low, world:effective(QUEUE).max_smtp_out)
    end
    world:run_until(math.max(world:now(), at + lasts + 0.5))
    assert.equal(cap, world:effective(QUEUE).max_smtp_out)
    world:run_until_idle()
  end)
end)
