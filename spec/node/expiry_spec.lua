-- A recipient's time is over when it is over, whatever it waits for.
-- SEEDS = 20
-- SPDX-License-Identifier: Apache-2.0
local new_dice = require "dice"
local sim = require "sluice.sim"

local MINUTE = 60

describe("a recipient that waits", function()
  local dice, ends
  before_each(function()
    dice = new_dice(require("sluice.host").seed)
    ends = dice:magnitude(300, 400000)
  end)

  local function world_with(settings)
    local world = sim.world { policy = "random.lua", text = ([[
listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8" } }
vmta "mta-1" { source = "203.0.113.1" }
pool "default" { "mta-1" }
domain "a.example" { bounce_after = "%ds", connect_timeout = "20s", greeting_timeout = "20s", retry_after = "%ds",
  retry_recipients_after = "%ds", %s }
]]):format(ends, dice:magnitude(60, 100000), dice:magnitude(60, 100000), settings) }
    return world, world:receiver "a.example"
  end

  -- Mail at several times, once `break_it` has done its worst; then the last one's time comes.
  local function check(world, break_it, more)
    local made, began = dice:between(1, 6), nil
    world:run_for(dice:magnitude(1, 1000))
    break_it()
    for i = 1, made do
      world:run_for(dice:magnitude(1, ends / 2))
      began = world:now()
      world:inject { to = "u" .. i .. "@a.example", from = "" }
    end
    local name = "u" .. made .. "@a.example"
    world:run_until(began + ends - 1)
    assert.equal(0, #world:records { type = "b", rcpt = name })
    world:run_for(1 + MINUTE + (more or 0))
    for i = 1, made do
      assert.equal(1, #world:records { type = "b", rcpt = "u" .. i .. "@a.example" })
    end
  end

  local function nothing()
  end

  it("in a paused queue is bounced within a minute of its time", function()
    check(world_with "paused = true", nothing)
  end)

  it("in a suspended queue is bounced within a minute of its time", function()
    local world, receiver = world_with '\nbackoff = { { "no more", lasts = "forever", suspend = true } }'
    check(world, function() receiver:answer { to = "connect", with = "421 4.7.0 no more" } end)
  end)

  it("for a receiver that is down is bounced within a minute of its time", function()
    local world, receiver = world_with ""
    check(world, function() receiver:down(dice:pick { "refuses", "silent" }) end, 40)
  end)

  it("for its own retry is bounced within a minute of its time", function()
    local world, receiver = world_with ""
    check(world, function() receiver:answer { to = "RCPT", with = "450 4.2.1 busy" } end)
  end)

  it("for DNS is bounced within a minute of its time", function()
    local world = world_with ""
    check(world, function() world:fault { dns = dice:pick { "servfail", "timeout" } } end, 40)
  end)

  it("behind a rate is bounced within a minute of its time", function()
    local world = world_with 'max_msg_rate = "1/w"'
    world:inject { to = "first@a.example" }
    check(world, nothing)
  end)
end)
