-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

local PLAIN = "spec/node/plain.lua"

local function total(records, type)
  local n = 0
  for _, record in ipairs(records) do
    n = n + (record.type == type and 1 or 0)
  end
  return n
end

describe("a world", function()
  local world
  before_each(function() world = sim.world { policy = PLAIN } end)

  it("takes the runner's seed unless it has one", function()
    assert.equal(require("sluice.host").seed, world:seed())
    assert.equal(7, sim.world { policy = PLAIN, seed = 7 }:seed())
  end)

  it("delivers a message to a host that nobody named, and time stands while it is injected", function()
    assert.equal(1, (world:inject { to = "user@example.org" }))
    assert.equal(0, world:now())
    world:run_until_idle()
    assert.equal(1, world:receiver "example.org":messages())
    assert.equal(1, world:status().delivered)
  end)

  it("injects counts, lists and what a function says, and a list is one message", function()
    assert.equal(5, (world:inject { to = "user@example.org", count = 5 }))
    assert.equal(1, (world:inject { to = { "a@example.org", "b@example.org" } }))
    assert.equal(3, (world:inject { to = function(i) return "u" .. i .. "@example.org" end, count = 3 }))
    world:run_until_idle()
    local got = world:records { type = "d" }
    assert.equal(10, #got)
    assert.equal(9, total(world:records(), "r") - 1)
    assert.equal("u3@example.org", got[10].rcpt)
  end)

  it("hands vmta, pool, job, priority, sender, size and headers to the node", function()
    world:inject { to = "a@example.org", vmta = "mta-2", job = "j1", from = "me@example.net", size = "10K",
                   headers = { ["X-One"] = "1" }, priority = 90 }
    world:inject { to = "b@example.org", pool = "other" }
    world:run_until_idle()
    local first = world:records { type = "d", rcpt = "a@example.org" }[1]
    assert.equal("mta-2", first.vmta)
    assert.equal("j1", first.jobId)
    assert.equal("me@example.net", first.orig)
    assert.equal("203.0.113.11", first.dlvSourceIp)
    assert.is_true(tonumber(first.dlvSize) >= 10240)
    assert.is_true(tonumber(first.dlvSize) < 10240 + 500)
    assert.equal("other", world:records { type = "d", rcpt = "b@example.org" }[1].vmtaPool)
  end)

  it("tells what the node refused", function()
    local accepted, refusal = world:inject { to = "a@example.org", size = "200K" }
    assert.equal(0, accepted)
    assert.matches("^552", refusal)
  end)

  it("injects messages of any size that the listener takes", function()
    for _, size in ipairs { "64K", "127K", "128K", "256K", "24M" } do
      local big = sim.world { policy = "big.lua", text = [[
        listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8" } }
        vmta "default" { source = "203.0.113.10" }
      ]] }
      assert.equal(1, (big:inject { to = "a@example.org", size = size }))
      big:run_until_idle()
      assert.equal(1, #big:records { type = "d" })
    end
  end)

  it("spreads an injection over time", function()
    world:inject { to = "a@example.org", count = 60, over = "1h" }
    world:run_for "30m"
    assert.is_true(math.abs(world:status().received - 31) <= 1)
    world:inject { to = "b@example.org", rate = "10/m", over = "10m" }
    world:run_until "1h"
    assert.equal(160, world:status().received)
    world:run_until_idle()
    assert.equal(160, world:receiver "example.org":messages())
  end)

  it("runs for a while, until an instant, and until something is so", function()
    world:run_for "90s"
    assert.equal(90, world:now())
    world:run_for(0.5)
    assert.equal(90.5, world:now())
    world:run_until "2m"
    assert.equal(120, world:now())
    world:inject { to = "u@gmail.com", count = 10 }
    local gmail = world:receiver "gmail.com"
    world:run_until(function() return gmail:messages() >= 3 end)
    assert.equal(3, gmail:messages())
    assert.is_true(world:now() >= 132 and world:now() < 133)     -- 600/h is one every six seconds
  end)

  it("answers as the control socket does, with zeros for a queue that never held anything", function()
    local why = world:why "google/mta-1"
    assert.equal("empty", why.gate)
    assert.equal(0, why.queued)
    assert.same({}, why.overlays)
    assert.equal(0, world:queue("google/mta-2").queued)
    assert.equal("normal", world:queue("nobody.example/mta-1").mode)
    world:inject { to = "u@gmail.com", count = 10 }
    world:run_for "1s"
    why = world:why "google/mta-1"
    assert.equal(9, why.queued)
    assert.equal("max_msg_rate", why.gate)
    assert.is_true(why["until"] > 4 and why["until"] < 6)
    assert.matches("^spec/node/plain.lua:%d+$", why.declared_at)
    assert.equal(9, world:queue("google/mta-1").queued)
  end)

  it("names every setting in force", function()
    local settings = world:effective "google/mta-1"
    assert.equal(3, settings.max_smtp_out)
    assert.equal("600/h", settings.max_msg_rate)
    assert.equal(600, settings.retry_after)
    assert.equal("unlimited", settings.max_connect_rate)
    assert.equal(10, world:effective("example.org/mta-1").max_smtp_out)
  end)

  it("shows what reactions laid, and how long it lies", function()
    local gmail = world:receiver "gmail.com"
    gmail:answer { to = "MAIL", with = "421 RP-002 slow down", times = 1 }
    world:inject { to = "u@gmail.com" }
    world:run_for "1m"
    local overlays = world:overlays "google/mta-1"
    assert.equal(1, #overlays)
    assert.equal("421 RP-002", overlays[1].pattern)
    assert.equal(2, overlays[1].changes.max_smtp_out)
    assert.equal(2, world:effective("google/mta-1").max_smtp_out)
    world:run_for "30m"
    assert.same({}, world:overlays "google/mta-1")
    assert.equal(3, world:effective("google/mta-1").max_smtp_out)
  end)

  it("keeps the records of every type, oldest first, with the CSV's names", function()
    world:receiver("example.org"):answer { to = "RCPT", with = "450 4.2.1 busy", times = 1 }
    world:receiver("example.net"):answer { to = "RCPT", with = "550 5.1.1 no such user" }
    world:inject { to = "a@example.org" }
    world:inject { to = "b@example.net", from = "" }
    world:run_until_idle()
    local all = world:records()
    assert.equal("r", all[1].type)
    assert.equal("2026-01-01 00:00:00+0000", all[1].timeLogged)
    assert.equal(1, total(all, "t"))
    assert.equal(1, total(all, "b"))
    assert.equal("smtp;550 5.1.1 no such user", world:records({ type = "b" })[1].dsnDiag)
    assert.equal("example.org/mta-1", world:records({ type = "t" })[1].queue)
  end)

  it("injects in the very instant in which the node came back", function()
    for _, workers in ipairs { 1, 4 } do
      local function send() assert.equal(10, (world:inject { to = "a@example.org", count = 10 })) end
      send()
      world:restart { workers = workers }
      send()
      world:crash()
      world:restart()
      send()
    end
    world:run_until_idle()
    assert.is_true(#world:records { type = "d" } >= 60)
  end)

  it("tells right after a restart what holds a queue, not that names are being asked for", function()
    world:receiver("gmail.com"):answer { to = "EHLO", with = "421 4.3.2 busy" }
    world:inject { to = "a@gmail.com" }
    world:run_for "1s"
    assert.equal("retry_after", world:why("google/mta-1").gate)
    world:restart()
    assert.equal("retry_after", world:why("google/mta-1").gate)
    world:crash()
    world:restart()
    assert.equal("retry_after", world:why("google/mta-1").gate)
  end)

  it("plays the same seed to the same bytes, and another one to others", function()
    local function play(seed)
      local w = sim.world { policy = PLAIN, seed = seed }
      w:receiver("example.org"):answer { to = "RCPT", with = "450 4.2.1 busy", every = 3 }
      w:inject { to = "a@example.org", count = 50, over = "10m" }
      w:run_for "1h"
      w:crash()
      w:restart()
      w:run_until_idle()
      return w:digest()
    end
    assert.equal(play(1), play(1))
    assert.not_equal(play(1), play(2))
  end)
end)

describe("worlds", function()
  it("that nobody has any more are gone before their test is over", function()
    local made, left = setmetatable({}, { __mode = "v" }), 0
    for seed = 1, 100 do
      made[seed] = sim.world { policy = PLAIN, seed = seed }
    end
    for seed = 1, 100 do
      left = left + (made[seed] and 1 or 0)
    end
    assert.is_true(left >= 16 and left < 50)
  end)

  local kept, host
  it("that somebody has live as long as their test", function()
    kept = sim.world { policy = PLAIN }
    host = kept:receiver "example.org"
    for _ = 1, 40 do
      sim.world { policy = PLAIN }
    end
    kept:inject { to = "a@example.org" }
    kept:run_until_idle()
    assert.equal(1, host:messages())
  end)

  it("and no longer", function()
    for _, call in ipairs { function() kept:run_for "1s" end, function() kept:records() end, function() host:messages() end,
                            function() host:down() end, function() host:answer { to = "RCPT", with = "250 ok" } end } do
      local fine, text = pcall(call)
      assert.is_false(fine)
      assert.matches("the world is over", text)
    end
  end)
end)

describe("names", function()
  it("lead where dns says, and fail as it says", function()
    local world = sim.world { policy = PLAIN }
    world:dns { ["a.example"] = { mx = { { "mx1.example", 10 }, { "mx2.example", 20 } } }, ["b.example"] = "servfail",
                ["c.example"] = "nxdomain", ["d.example"] = "timeout" }
    world:receiver("mx1.example"):down()
    for _, domain in ipairs { "a", "b", "c", "d" } do
      world:inject { to = "u@" .. domain .. ".example", from = "" }
    end
    world:run_for "30s"
    assert.equal(1, world:receiver "mx2.example":messages())
    assert.equal("dns", world:why("b.example/mta-1").gate)
    assert.equal("dns", world:why("d.example/mta-1").gate)
    assert.matches("^5.1.2", world:records({ type = "b" })[1].dsnStatus)
  end)
end)

describe("a receiver", function()
  local world, host
  before_each(function()
    world = sim.world { policy = PLAIN }
    host = world:receiver "example.org"
  end)

  it("is one and the same by its name, whatever the case", function()
    assert.equal(host, world:receiver "Example.ORG")
    assert.equal(host, host { latency = "80ms" })
  end)

  it("takes its time", function()
    host { latency = "2s" }
    world:inject { to = "a@example.org" }
    world:run_for "3s"
    assert.equal(0, host:messages())
    world:run_for "30s"
    assert.equal(1, host:messages())
  end)

  it("refuses more connections than it allows, and more messages", function()
    host { max_connections = 2, latency = "100ms" }
    world:inject { to = "a@example.org", count = 50 }
    world:run_until_idle()
    assert.equal(50, host:messages())
    local slow = world:receiver "example.net" { rate = "10/m" }
    world:inject { to = "a@example.net", count = 30 }
    world:run_until_idle()
    assert.equal(30, slow:messages())
    assert.is_true(slow:rate_in_any "1m" <= 10)
  end)

  it("answers as rules say: the newest first, by number of times, each so many, and by function", function()
    host:answer { to = "RCPT", fn = function(event)
      assert.equal("RCPT", event.verb)
      return event.line:find "never@" and "550 5.1.1 no such user" or nil
    end }
    host:answer { to = "RCPT", with = "450 4.2.1 busy", times = 1 }
    host:answer { to = "DATA", with = "451 4.3.0 later", when = function(event) return event.at > 3600 end }
    world:inject { to = "never@example.org", from = "" }
    world:inject { to = "a@example.org" }
    world:run_until_idle()
    assert.equal(1, total(world:records(), "t"))
    assert.equal(1, total(world:records(), "b"))
    assert.equal(1, host:messages())
  end)

  it("resets, hangs and closes", function()
    host:answer { to = "MAIL", with = "reset", times = 1 }
    world:inject { to = "a@example.org" }
    world:run_for "1m"
    assert.equal(0, host:messages())
    world:run_until_idle()
    assert.equal(1, host:messages())
    local silent = world:receiver "example.net"
    silent:answer { to = "connect", with = "hang", times = 1 }
    world:inject { to = "a@example.net" }
    world:run_for "6m"
    assert.equal(0, silent:messages())
    world:run_until_idle()
    assert.equal(1, silent:messages())
  end)

  it("greylists", function()
    host:greylist "5m"
    world:inject { to = "a@example.org" }
    world:run_for "4m"
    assert.equal(0, host:messages())
    world:run_until_idle()
    assert.equal(1, host:messages())
    assert.matches("451", world:records({ type = "t" })[1].dsnDiag)
  end)

  it("goes down and comes up", function()
    host:down()
    world:inject { to = "a@example.org" }
    world:run_for "5m"
    assert.equal("retry_after", world:why("example.org/mta-1").gate)
    host:up()
    world:run_until_idle()
    assert.equal(1, host:messages())
  end)

  it("remembers what it saw", function()
    host { latency = "1s" }
    world:inject { to = "a@example.org", count = 5 }
    world:run_until_idle()
    assert.equal(#host:connected_at(), host:connections())
    assert.is_true(host:connected_at()[1] <= 2)
    assert.equal(0, host:connections { from = "1h" })
    assert.equal(5, host:messages { to = "1h" })
    assert.is_true(host:peak_connections() <= 10 and host:peak_connections { from = "0s", to = "1h" } >= 1)
    assert.equal(5, host:rate_in_any "1h")
  end)
end)
