-- What holds whatever the policy says, whatever receivers answer, and whatever breaks.
-- SEEDS = 100
-- SPDX-License-Identifier: Apache-2.0
local play = require "play"

local OUTSIDE = { "inject", "inject", "inject", "mood", "mood", "down", "up", "names" }
local POWER = { "inject", "inject", "crash", "restart", "mood", "down", "up" }
local SWAPS = { "inject", "inject", "swap", "swap", "swap", "mood", "crash", "down", "up" }
local DISK = { "inject", "inject", "disk", "disk", "crash", "restart", "mood" }

describe("caps, rates, expiry and every recipient's one end", function()
  it("hold whatever receivers and names do", function()
    assert.same({}, play(OUTSIDE, 14).watch.faults)
  end)

  it("hold across crashes and restarts", function()
    assert.same({}, play(POWER, 10).watch.faults)
  end)

  it("hold across swaps", function()
    assert.same({}, play(SWAPS, 12).watch.faults)
  end)

  it("hold while the disk fails", function()
    assert.same({}, play(DISK, 10).watch.faults)
  end)
end)

describe("a seed", function()
  it("gives the same bytes again", function()
    local first, second = play(POWER, 6), play(POWER, 6)
    assert.same(first.world:records(), second.world:records())
    assert.equal(first.world:digest(), second.world:digest())
  end)
end)
