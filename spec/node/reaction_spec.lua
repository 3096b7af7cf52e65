-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

describe("a reaction", function()
  local world, host
  before_each(function()
    world = sim.world { policy = "spec/node/rules.lua" }
    host = world:receiver "rp.example" { latency = "50ms" }
  end)

  -- One reply of the kind, met by that many messages.
  local function meet(to, with, count)
    host:answer { to = to, with = with, times = 1 }
    world:inject { to = function(i) return "u" .. i .. "@rp.example" end, count = count or 1 }
    world:run_for "1m"
  end
  local function cap() return world:effective("rp/mta-1").max_smtp_out end

  it("lies for its time, and is told field by field", function()
    meet("MAIL", "421 RP-001 x")
    local overlay = world:overlays("rp/mta-1")[1]
    assert.equal("421 RP-001", overlay.name)
    assert.matches("421 RP%-001 x", overlay.reply)
    assert.equal("spec/node/rules.lua:18", overlay.declared_at)
    assert.is_true(overlay.since > 55 and overlay.since < 61)
    assert.is_true(overlay["until"] > 3530 and overlay["until"] < 3600)
    assert.equal("1000/h", world:effective("rp/mta-1").max_msg_rate)
    assert.equal("backoff", world:queue("rp/mta-1").mode)
    world:run_for "1h"
    assert.equal(20, cap())
  end)

  it("halves again down to its floor, and recovers by steps", function()
    for _, want in ipairs { 10, 5, 2, 2 } do
      meet("MAIL", "451 rate limit x")
      assert.equal(want, cap())
    end
    world:run_for "40m"
    assert.equal(3, cap())
    world:run_for "4h"
    assert.equal(20, cap())
  end)

  it("cuts once for a wave", function()
    host { latency = "2s" }
    host:answer { to = "MAIL", with = "421 rate limit x", when = function(event) return event.at < 30 end }
    world:inject { to = function(i) return "u" .. i .. "@rp.example" end, count = 20 }
    world:run_for "30s"
    assert.equal(10, cap())
  end)

  it("waits for its number of matches, then suspends", function()
    host:answer { to = "RCPT", with = "451 TSS04 x", times = 1 }
    meet("RCPT", "451 TSS04 x")
    assert.same({}, world:overlays "rp/mta-1")
    world:run_for "10m"
    assert.equal("suspended", world:why("rp/mta-1").gate)
    assert.equal("suspended", world:queue("rp/mta-1").mode)
    world:run_until_idle()
    assert.equal(1, host:messages())
    assert.is_true(world:now() > 2 * 3600 + 600)
  end)

  it("reroutes, skips a host, and bounces nobody", function()
    host:answer { to = "RCPT", with = "550 see spamhaus", when = function(event) return event.source == "203.0.113.10" end }
    world:inject { to = "u@rp.example", count = 3 }
    world:run_for "1m"
    assert.equal(3, #world:records { type = "d", vmta = "clean" })
    world:dns { ["rp.example"] = { mx = { { "m1.example", 1 }, { "m2.example", 2 } } } }
    world:receiver("m1.example"):answer { to = "RCPT", with = "550 nexthost" }
    world:inject { to = "u@rp.example", vmta = "mta-2" }
    world:run_for "1m"
    assert.equal(1, world:receiver "m2.example":messages())
    assert.same({}, world:records { type = "b" })
  end)

  it("lies on a site or on a virtual MTA, where others feel it", function()
    host { latency = "1s" }
    meet("RCPT", "451 sitewide")
    world:inject { to = "u@rp.example", count = 20 }
    world:inject { to = "u@rp.example", vmta = "mta-2", count = 20 }
    world:run_for "20s"
    assert.equal("total_max_smtp_out", world:why("rp/mta-2").gate)
    assert.equal(1, world:effective("rp/mta-2").total_max_smtp_out)
    assert.equal(20, world:effective("rp/mta-2").max_smtp_out)
    assert.equal(1, host:peak_connections { from = 61, to = 80 })
    world:run_for "15m"
    assert.equal("unlimited", world:effective("rp/mta-2").total_max_smtp_out)
    meet("RCPT", "451 vmtawide")
    world:receiver "x.example" { latency = "1s" }
    world:inject { to = "u@x.example", count = 20 }
    world:run_for "20s"
    assert.equal("vmta.max_smtp_out", world:why("x.example/mta-1").gate)
  end)

  it("that suspends at a failed connection leaves it a failure: the queue waits, and says why", function()
    local held = sim.world { policy = "held.lua", text = [[
      listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8" } }
      vmta "default" { source = "203.0.113.1" }
      domain "*" { retry_after = "2h", retry_jitter = "0%", backoff = { { "slow down", lasts = "1h", suspend = true } } }
    ]] }
    held:receiver "a.example":answer { to = "EHLO", with = "421 4.7.0 slow down", times = 1 }
    held:inject { to = "u@a.example" }
    held:run_for "1s"
    assert.equal("retry_after", held:why("a.example/default").gate)
    assert.equal("suspended", held:queue("a.example/default").mode)
    assert.equal("421 4.7.0 slow down", held:queue("a.example/default").last_error)
    assert.equal(1, #held:records { type = "tq" })
    held:run_until "119m"
    assert.equal(1, held:receiver "a.example":connections())
    held:run_until_idle()
    assert.equal(1, held:receiver "a.example":messages())
  end)

  it("bounces with the receiver's status: nothing has expired", function()
    meet("RCPT", "450 4.2.1 killone")
    assert.matches("^4.2.1 ", world:records { type = "b" }[1].dsnStatus)
    host { latency = "1s" }
    host:answer { to = "RCPT", with = "450 4.7.1 killall" }
    world:inject { to = function(i) return "v" .. i .. "@rp.example" end, count = 30 }
    world:run_for "1m"
    assert.equal(31, #world:records { type = "b" })
    for i = 2, 31 do
      assert.matches("^4.7.1 ", world:records { type = "b" }[i].dsnStatus)
    end
  end)

  it("by a function counts what it has seen", function()
    host:answer { to = "RCPT", with = "451 S3140", times = 3 }
    world:inject { to = "u@rp.example" }
    world:run_for "11m"
    assert.equal(20, cap())
    assert.not_equal("suspended", world:queue("rp/mta-1").mode)
    world:run_for "10m"
    assert.equal("suspended", world:queue("rp/mta-1").mode)
    assert.is_true(world:overlays("rp/mta-1")[1]["until"] > 86000)
  end)

  it("that lasts forever survives a crash", function()
    meet("RCPT", "451 forever")
    world:run_for "30d"
    world:crash()
    world:restart()
    assert.equal(3, cap())
    assert.is_nil(world:overlays("rp/mta-1")[1]["until"])
  end)
end)
