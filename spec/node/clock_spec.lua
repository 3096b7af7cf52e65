-- Somebody sets the clock: what is limited by time goes by time that passed, not by what the clock says.
-- SEEDS = 2
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"
local watch_world = require "watch"

local HOUR = 3600
local SITES = 8
local LATENCY = 0.05
local MSG_RATE, CONNECT_RATE = { n = 60, window = 60 }, { n = 30, window = 60 }

local POLICY = [[
listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8" } }
vmta "mta-1" { source = "203.0.113.1", max_smtp_out = 3, max_msg_rate = "60/m", max_connect_rate = "30/m" }
pool "default" { "mta-1" }
domain "slow.example" { max_msg_rate = "10/h" }
domain "react.example" { max_smtp_out = 8, retry_after = "10s", retry_recipients_after = "1m", retry_jitter = "0%",
  backoff = { { "421 RP", lasts = "30m", max_smtp_out = 2 } } }
domain "old.example" { paused = true, bounce_after = "2h" }
domain "busy.example" { retry_recipients_after = "20m", retry_jitter = "0%" }
]]

local function host_of(i)
  return ("d%d.example"):format(i)
end

-- The most of sorted times in any window of that length.
local function most_within(times, window)
  local most, first = 0, 1
  for last = 1, #times do
    while times[last] - times[first] >= window do
      first = first + 1
    end
    most = math.max(most, last - first + 1)
  end
  return most
end

for _, workers in ipairs { 1, 4 } do
  for _, jump in ipairs { "1h", "-1h" } do
    describe(("with %d workers, a clock that jumps by %s"):format(workers, jump), function()
      local world
      before_each(function()
        world = sim.world { policy = "clock.lua", text = POLICY, seed = require("sluice.host").seed, workers = workers }
      end)

      local function jump_now()
        world:fault { clock_jump = jump }
      end

      it("breaks no rate and no cap, and holds nobody up", function()
        local sites, last = {}, 0
        for i = 1, SITES do
          world:receiver(host_of(i)) { latency = LATENCY }
          sites[i] = { name = host_of(i), hosts = { host_of(i) }, settings = {} }
          world:receiver(host_of(i)):answer { to = ".", fn = function(event) last = event.at end }
        end
        local watch = watch_world(world, { sites = sites, pool = {}, node = {}, vmtas = { {
          name = "mta-1", source = "203.0.113.1",
          settings = { max_smtp_out = { n = 3 }, max_msg_rate = MSG_RATE, max_connect_rate = CONNECT_RATE },
        } } }, LATENCY)
        world:inject { count = 300, to = function(i) return ("u%d@%s"):format(i, host_of(i % SITES + 1)) end }
        for _ = 1, 4 do
          world:run_for "47s"
          jump_now()
        end
        world:run_until_idle()
        watch:check_rates()
        assert.same({}, watch.faults)
        assert.equal(300, #world:records { type = "d" })
        assert.is_true(last < 330, last)
      end)

      for _, how in ipairs { "restart", "crash" } do
        it(("breaks no rate over a %s"):format(how), function()
          local host, times = world:receiver "slow.example", {}
          host:answer { to = "RCPT", fn = function(event) table.insert(times, event.at) end }
          world:inject { to = "u@slow.example", count = 30 }
          world:run_for "35m"
          if how == "crash" then
            world:crash()
          end
          jump_now()
          world:restart()
          world:run_until_idle()
          assert.equal(30, #times)
          assert.is_true(most_within(times, HOUR - 1) <= 10, most_within(times, HOUR - 1))
          assert.is_true(world:now() < 5 * HOUR, world:now())
        end)
      end

      it("neither ends nor lengthens what a reaction laid", function()
        world:receiver "react.example":answer { to = "MAIL", with = "421 RP no", times = 1 }
        world:inject { to = "u@react.example" }
        world:run_for "1m"
        assert.equal(2, world:effective("react.example/mta-1").max_smtp_out)
        jump_now()
        world:run_for "27m"
        assert.equal(2, world:effective("react.example/mta-1").max_smtp_out)
        world:run_for "3m"
        assert.equal(8, world:effective("react.example/mta-1").max_smtp_out)
      end)

      it("lets a recipient wait neither longer nor shorter for its retry and its end", function()
        local busy = world:receiver "busy.example"
        busy:answer { to = "RCPT", with = "450 4.2.1 busy", times = 1 }
        world:inject { to = "u@busy.example" }
        world:inject { to = "u@old.example", from = "" }
        world:run_for "10m"
        jump_now()
        world:run_for "9m"
        assert.equal(0, busy:messages())
        world:run_for "2m"
        assert.equal(1, busy:messages())
        world:run_until(2 * HOUR - 5)
        assert.equal(0, #world:records { type = "b" })
        world:run_until(2 * HOUR + 65)
        assert.equal(1, #world:records { type = "b" })
      end)

      it("is told in the records as it stands", function()
        world:run_for "10m"
        jump_now()
        world:inject { to = "u@d1.example" }
        world:run_for "1m"
        local want = jump == "1h" and "2026-01-01 01:10:0" or "2025-12-31 23:10:0"
        local record = world:records({ type = "d" })[1]
        assert.equal(want, record.timeLogged:sub(1, #want))
        assert.equal(want, record.timeQueued:sub(1, #want))
      end)
    end)
  end
end
