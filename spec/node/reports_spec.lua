-- Reports of non-delivery while the disk is in trouble: a bounce is over when its report is durable, and not before.
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

local POLICY = [[
listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8" } }
vmta "mta-1" { source = "203.0.113.10" }
pool "default" { "mta-1" }
domain "*" { retry_recipients_after = "5m", retry_jitter = "0%", bounce_after = "1h" }
]]

local function a_world(seed)
  local world = sim.world { policy = "reports.lua", text = POLICY, seed = seed }
  return world, world:receiver "example.org", world:receiver "sender.example"
end

-- Five refusals of which none can be written down.
local function refuse_on_a_full_disk()
  local world, host, sender = a_world()
  host:down()
  assert.equal(5, (world:inject { to = "a@example.org", from = "s@sender.example", count = 5 }))
  world:run_for "1m"
  host:answer { to = "RCPT", with = "550 5.1.1 nobody of that name" }
  host:up()
  world:fault { disk_full = true }
  world:run_for "20m"
  assert.equal(0, sender:messages())
  assert.equal(0, #world:records { type = "b" })
  return world, sender
end

local function all_are_told(world, sender)
  world:run_until_idle()
  assert.equal(5, sender:messages())
  assert.equal(5, #world:records { type = "b" })
end

describe("a report of non-delivery", function()
  it("that cannot be stored is stored as soon as it can be", function()
    local world, sender = refuse_on_a_full_disk()
    world:fault { disk_full = false }
    all_are_told(world, sender)
  end)

  it("that could not be stored is made by the node that comes after an orderly end", function()
    local world, sender = refuse_on_a_full_disk()
    world:fault { disk_full = false }
    world:restart()
    all_are_told(world, sender)
  end)

  it("that could not be stored is made by the node that comes after a crash", function()
    local world, sender = refuse_on_a_full_disk()
    world:crash()
    world:fault { disk_full = false }
    world:restart()
    all_are_told(world, sender)
  end)

  it("for mail that is too old waits for the disk as well", function()
    local world, host, sender = a_world()
    host:down()
    world:inject { to = "a@example.org", from = "s@sender.example", count = 5 }
    world:run_for "50m"
    world:fault { disk_full = true }
    world:run_for "1h"
    assert.equal(0, sender:messages())
    world:fault { disk_full = false }
    all_are_told(world, sender)
  end)

  it("goes out for each message but the one that cannot be read any more, and that one is over too", function()
    local unread = 0
    for seed = 1, 60 do
      local world, host, sender = a_world(seed)
      host:down()
      world:inject { to = "a@example.org", from = "s@sender.example", count = 12 }
      world:restart()
      world:fault { bit_flip = true }
      world:run_until_idle()
      assert.equal(12, #world:records { type = "b" }, "seed " .. seed)
      local missing = 12 - sender:messages()
      assert.is_true(missing == 0 or missing == 1, ("seed %d: %d reports are missing"):format(seed, missing))
      unread = unread + missing
    end
    assert.is_true(unread > 5, ("only %d could not be read"):format(unread))
  end)
end)
