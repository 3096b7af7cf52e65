-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"

describe("the example of reactions", function()
  local world
  before_each(function() world = sim.world { policy = "policies/examples/reactions.lua" } end)

  -- One message to that host meets that reply.
  local function meet(host, to, reply)
    world:receiver(host):answer { to = to, with = reply, times = 1 }
    world:inject { to = "user@" .. host }
    world:run_for "1m"
  end

  it("holds Microsoft to 5 connections for an hour after RP-001", function()
    meet("hotmail.com", "MAIL", "421 RP-001 too many connections")
    assert.equal(5, world:effective("microsoft/mta-1").max_smtp_out)
    assert.equal("1000/h", world:effective("microsoft/mta-1").max_msg_rate)
    world:run_for "1h"
    assert.equal(20, world:effective("microsoft/mta-1").max_smtp_out)
  end)

  it("is gentler still for 45 minutes when the server is busy", function()
    meet("outlook.com", "MAIL", "421 4.3.2 service not available")
    assert.equal(2, world:effective("microsoft/mta-1").max_smtp_out)
    world:run_for "45m"
    assert.equal(20, world:effective("microsoft/mta-1").max_smtp_out)
  end)

  it("stops for a day when Microsoft refuses more than ten messages in an hour for what they are", function()
    world:receiver("hotmail.com"):answer { to = ".", with = "550 5.7.1 S3140 blocked" }
    world:inject { to = function(i) return "u" .. i .. "@hotmail.com" end, count = 10, from = "" }
    world:run_for "5m"
    assert.equal("normal", world:queue("microsoft/mta-1").mode)
    world:inject { to = "one-more@hotmail.com", from = "" }
    world:run_for "1m"
    assert.equal("suspended", world:queue("microsoft/mta-1").mode)
    world:run_for "1d"
    assert.equal("normal", world:queue("microsoft/mta-1").mode)
  end)

  it("stops for two hours at Yahoo's second complaint within an hour", function()
    meet("yahoo.com", "MAIL", "421 4.7.0 [TSS04] deferred")
    assert.equal("normal", world:queue("yahoo/mta-1").mode)
    meet("yahoo.com", "MAIL", "421 4.7.0 [TSS05] deferred")
    assert.equal("suspended", world:queue("yahoo/mta-1").mode)
    world:run_for "2h"
    assert.equal("normal", world:queue("yahoo/mta-1").mode)
  end)

  it("halves under a rate limit, and comes back one session every ten minutes", function()
    meet("example.org", "MAIL", "450 4.7.1 our rate limit")
    assert.equal(5, world:effective("example.org/mta-1").max_smtp_out)
    world:run_for "40m"
    assert.equal(6, world:effective("example.org/mta-1").max_smtp_out)
    world:run_for "1h"
    assert.equal(10, world:effective("example.org/mta-1").max_smtp_out)
  end)

  it("asks a full mailbox again after six hours, and nobody else waits for it", function()
    meet("example.org", "RCPT", "452 4.2.2 mailbox full")
    world:inject { to = "other@example.org" }
    world:run_for "5h"
    assert.equal(1, world:receiver("example.org"):messages())
    world:run_until_idle()
    assert.equal(2, world:receiver("example.org"):messages())
    assert.is_true(world:now() >= 6 * 3600)
  end)

  it("sends by the clean pool while our address is listed", function()
    meet("example.org", "MAIL", "550 5.7.1 listed by spamhaus")
    world:run_until_idle()
    assert.equal(1, world:receiver("example.org"):messages())
    assert.equal("mta-2", world:records({ type = "d" })[1].vmta)
    assert.equal(0, #world:records { type = "b" })
  end)

  it("opens half as many connections when there are too many", function()
    meet("example.org", "connect", "421 4.7.0 too many connections")
    assert.equal(5, world:effective("example.org/mta-1").max_smtp_out)
    world:run_for "15m"
    assert.equal(10, world:effective("example.org/mta-1").max_smtp_out)
  end)
end)
