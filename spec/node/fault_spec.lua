-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

local PLAIN = "spec/node/plain.lua"

describe("a node in trouble", function()
  local world, host
  before_each(function()
    world = sim.world { policy = PLAIN }
    host = world:receiver "example.org"
  end)

  local function play_a_crash(fault)
    host:down()
    local accepted = world:inject { to = function(i) return "u" .. i .. "@example.org" end, count = 100 }
    world:run_for "1m"
    world:fault(fault or {})
    world:crash()
    host:up()
    world:run_for "10m"
    world:restart()
    world:run_until_idle()
    return accepted
  end

  it("loses nothing that it acknowledged when the power goes", function()
    assert.equal(100, play_a_crash())
    assert.equal(100, host:messages())
    assert.is_true(world:now() >= 660)
  end)

  it("cuts off what was half written", function()
    assert.equal(100, play_a_crash { torn_write = true })
    assert.equal(100, host:messages())
  end)

  it("loses mail on a disk that lies about its syncs", function()
    world:fault { lying_sync = true }
    local fine, text = pcall(play_a_crash)
    assert.is_true(fine and host:messages() < 100 or text:find("damaged") ~= nil)
  end)

  it("resets its connections when the power goes, and is back afterwards", function()
    host { latency = "10s" }
    world:inject { to = "a@example.org" }
    world:run_for "12s"
    world:crash()
    assert.has_error(function() world:why "example.org/mta-1" end)
    world:run_for "1m"
    assert.equal(0, host:messages())
    world:restart()
    world:run_until_idle()
    assert.equal(1, host:messages())
  end)

  it("ends its transactions when it is restarted in order, and forgets nothing", function()
    host { latency = "1s" }
    host:answer { to = "RCPT", with = "450 4.2.1 busy", times = 1 }
    world:inject { to = "a@example.org", count = 3 }
    world:run_for "2500ms"
    world:restart()
    assert.is_true(world:now() < 60)
    world:run_until_idle()
    assert.equal(3, host:messages())
    assert.equal(3, #world:records { type = "d" })
  end)

  it("keeps an overlay over a crash", function()
    world:receiver("gmail.com"):answer { to = "MAIL", with = "421 RP-002 slow down", times = 1 }
    world:inject { to = "u@gmail.com" }
    world:run_for "1m"
    world:crash()
    world:restart()
    assert.equal(2, world:effective("google/mta-1").max_smtp_out)
  end)

  it("refuses mail while its disk is full", function()
    world:fault { disk_full = true }
    local accepted, refusal = world:inject { to = "a@example.org" }
    assert.equal(0, accepted)
    assert.matches("^452", refusal)
    world:fault { disk_full = false }
    world:run_for "1m"
    assert.equal(1, (world:inject { to = "a@example.org" }))
    world:run_until_idle()
    assert.equal(1, host:messages())
  end)

  it("loses nothing that it acknowledged when a disk operation fails, whichever", function()
    for n = 1, 12 do
      local w = sim.world { policy = PLAIN, seed = n }
      w:fault { disk_error = n }
      local accepted = w:inject { to = "a@example.org", count = 3 }
      w:run_until_idle()
      assert.is_true(accepted <= w:status().received)
      assert.equal(w:status().received, w:receiver "example.org":messages())
    end
  end)

  it("begins nothing more when too much can't be written down, and goes on by itself", function()
    for _, crashes in ipairs { false, true } do
      local w = sim.world { policy = PLAIN }
      local there = w:receiver "example.org" { latency = "10ms" }
      w:inject { to = "a@example.org", count = 3000 }
      w:fault { disk_full = true }
      w:run_for "1m"
      local sent = there:messages()
      assert.is_true(sent >= 100 and sent <= 1100, sent)
      assert.equal("spool", w:why("example.org/mta-1").gate)
      w:run_for "1h"
      assert.equal(sent, there:messages())
      if crashes then
        w:crash()
      end
      w:fault { disk_full = false }
      if crashes then
        w:restart()
      end
      w:run_until_idle()
      assert.equal(crashes and 3000 + sent or 3000, there:messages())
    end
  end)

  it("keeps its retries when somebody sets the clock", function()
    host:answer { to = "RCPT", with = "450 4.2.1 busy", times = 1 }
    world:inject { to = "a@example.org" }
    world:run_for "1m"
    world:fault { clock_jump = "-1h" }
    world:fault { clock_jump = "3h" }
    world:run_for "3m"
    assert.equal(0, host:messages())
    world:run_for "2m"
    assert.equal(1, host:messages())
    assert.equal("2026-01-01 02:05:00+0000", world:records({ type = "d" })[1].timeLogged)
  end)

  it("waits while no name can be looked up", function()
    for _, how in ipairs { "servfail", "timeout" } do
      local w = sim.world { policy = PLAIN }
      w:fault { dns = how }
      w:inject { to = "a@example.org" }
      w:run_for "5m"
      assert.equal("dns", w:why("example.org/mta-1").gate)
      w:fault { dns = "ok" }
      w:run_for "2m"
      assert.equal(1, w:receiver "example.org":messages())
    end
  end)

  it("keeps what is to be injected for when it is back", function()
    world:inject { to = "a@example.org", count = 60, over = "1h" }
    world:run_for "10m"
    world:crash()
    world:run_for "20m"
    world:restart()
    assert.is_true(host:messages() <= 11)
    world:run_until_idle()
    assert.equal(60, host:messages())
  end)
end)
