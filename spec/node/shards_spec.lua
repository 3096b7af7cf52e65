-- A node of several workers does what one of a single worker does: shards take turns as the seed says.
-- SEEDS = 4
-- SPDX-License-Identifier: Apache-2.0
local new_dice = require "dice"
local sim = require "sluice.sim"
local watch_world = require "watch"

local WORKERS = { 1, 2, 4, 16 }
local LATENCY = 0.05
local SITES = 12

local LISTENER = 'listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8" } }\n'

local function seed()
  return require("sluice.host").seed
end

local function host_of(i)
  return ("d%d.example"):format(i)
end

-- One virtual MTA, SITES domains; lines of settings for each.
local function policy(vmta, domain, before)
  local lines = {
    LISTENER, before or "", ('vmta "mta-1" { source = "203.0.113.1", %s }\npool "default" { "mta-1" }\n'):format(vmta),
  }
  for i = 1, SITES do
    lines[#lines + 1] = ('domain %q { %s }\n'):format(host_of(i), domain or "max_smtp_out = 10")
  end
  return table.concat(lines)
end

local function new_world(text, workers)
  local world = sim.world { policy = "shards.lua", text = text, seed = seed(), workers = workers }
  for i = 1, SITES do
    world:receiver(host_of(i)) { latency = LATENCY }
  end
  return world
end

-- So many to each domain, in turns.
local function inject(world, each, from)
  local accepted = world:inject { count = each * SITES, from = from, to = function(i)
    return ("u%d@%s"):format(i, host_of(i % SITES + 1))
  end }
  assert.equal(each * SITES, accepted)
end

local function taken(world)
  local n = {}
  for i = 1, SITES do
    n[i] = world:receiver(host_of(i)):messages()
  end
  return n
end

local function sum(list)
  local total = 0
  for _, n in ipairs(list) do
    total = total + n
  end
  return total
end

local function spread(list)
  local low, high = math.huge, 0
  for _, n in ipairs(list) do
    low, high = math.min(low, n), math.max(high, n)
  end
  return high - low
end

local function queued(world)
  local n = 0
  for i = 1, SITES do
    n = n + world:queue(host_of(i) .. "/mta-1").queued
  end
  return n
end

-- How many recipients were, however often.
local function delivered(world)
  local n, known = 0, {}
  for _, record in ipairs(world:records { type = "d" }) do
    n = n + (known[record.rcpt] and 0 or 1)
    known[record.rcpt] = true
  end
  return n
end

for _, workers in ipairs(WORKERS) do
  describe(("with %d workers"):format(workers), function()
    local function count(n) return { n = n } end
    local function rate(n, window) return { n = n, window = window } end

    -- What the receivers see, held against what the policy says.
    local function watched(world, plan)
      plan.vmtas = { { name = "mta-1", source = "203.0.113.1", settings = plan.vmta or {} } }
      plan.pool, plan.node, plan.sites = plan.pool or {}, plan.node or {}, {}
      for i = 1, SITES do
        plan.sites[i] = { name = host_of(i), hosts = { host_of(i) }, settings = {} }
      end
      return watch_world(world, plan, LATENCY)
    end

    it("a virtual MTA's cap is never exceeded, and used", function()
      local world = new_world(policy "max_smtp_out = 5", workers)
      local watch = watched(world, { vmta = { max_smtp_out = count(5) } })
      inject(world, 20)
      world:run_for "2s"
      assert.equal(5, watch:open(watch.hosts))
      world:run_until_idle()
      assert.equal(20 * SITES, sum(taken(world)))
      assert.same({}, watch.faults)
    end)

    it("rates of a virtual MTA and of the node hold in any window", function()
      local world = new_world(policy('max_msg_rate = "60/m", max_connect_rate = "30/m"', nil,
        'node { max_msg_rate = "1200/h" }\n'), workers)
      local watch = watched(world, {
        vmta = { max_msg_rate = rate(60, 60), max_connect_rate = rate(30, 60) }, node = { max_msg_rate = rate(1200, 3600) },
      })
      inject(world, 120)
      world:run_until_idle()
      watch:check_rates()
      assert.equal(120 * SITES, sum(taken(world)))
      assert.same({}, watch.faults)
    end)

    it("queues at a cap that they share get as much as each other", function()
      local world = new_world(policy "max_smtp_out = 3", workers)
      inject(world, 300)
      world:run_for "60s"
      local n = taken(world)
      assert.is_true(spread(n) <= 65, ("%s"):format(table.concat(n, " ")))    -- a turn is 20 messages; the first ones had no others
      assert.is_true(sum(n) > 700)
    end)

    it("queues at a rate that they share get as much as each other", function()
      local world = new_world(policy 'max_msg_rate = "240/m"', workers)
      inject(world, 200)
      world:run_for "9m"
      local n = taken(world)
      assert.is_true(spread(n) <= 25, ("%s"):format(table.concat(n, " ")))
      assert.is_true(sum(n) > 2000)
    end)

    it("nobody waits for ever, whatever places are few", function()
      local world = new_world(policy("max_smtp_out = 1", "max_smtp_out = 1, idle_timeout = '30s'"), workers)
      inject(world, 10)
      world:run_until_idle()
      assert.equal(10 * SITES, sum(taken(world)))
      assert.is_true(world:now() < 120, ("%g s"):format(world:now()))
    end)

    it("domains that share their mail hosts share one queue, whoever asked for them", function()
      local lines = { LISTENER, [[
vmta "mta-1" { source = "203.0.113.1" }
pool "default" { "mta-1" }
provider "big" { mx = { "*.big.example" }, max_smtp_out = 2 }
]] }
      local world = new_world(table.concat(lines), workers)
      local zones = {}
      for i = 1, SITES do
        zones[host_of(i)] = { mx = { { "mx.big.example", 10 } } }
      end
      world:dns(zones)
      local big = world:receiver "mx.big.example" { latency = LATENCY }
      inject(world, 10)
      world:run_for "5ms"
      assert.equal(10 * SITES, world:queue("big/mta-1").queued)
      assert.equal(10 * SITES, world:status().queued)
      world:run_until_idle()
      assert.equal(10 * SITES, big:messages())
      assert.equal(2, big:peak_connections())
      assert.equal(0, sum(taken(world)))
    end)

    it("a message to domains that share their mail hosts is one transaction", function()
      local world = new_world(LISTENER .. 'vmta "default" { source = "203.0.113.1" }\n', workers)
      local zones, to = {}, {}
      for i = 1, SITES do
        zones[host_of(i)] = { mx = { { "mx.big.example", 10 } } }
        to[2 * i - 1], to[2 * i] = "a@" .. host_of(i), "b@" .. host_of(i)
      end
      world:dns(zones)
      local big = world:receiver "mx.big.example" { latency = LATENCY }
      local transactions = 0
      big:answer { to = "MAIL", fn = function() transactions = transactions + 1 end }
      world:inject { to = to }
      world:run_until_idle()
      assert.equal(2 * SITES, big:messages())
      assert.equal(1, transactions)
    end)

    it("mail follows its domain from one provider to another", function()
      local world = new_world(LISTENER .. [[
vmta "mta-1" { source = "203.0.113.1" }
pool "default" { "mta-1" }
provider "old" { mx = { "*.old.example" }, max_smtp_out = 1, max_msg_rate = "10/m" }
provider "new" { mx = { "*.new.example" }, max_smtp_out = 3 }
]], workers)
      local function move(to)
        local zones = {}
        for i = 1, SITES do
          zones[host_of(i)] = { mx = { { to, 10 } } }
        end
        world:dns(zones)
      end
      move "mx.old.example"
      inject(world, 10)
      world:run_for "1m"
      local before = world:receiver("mx.old.example"):messages()
      move "mx.new.example"
      inject(world, 1)                          -- whoever asks learns of it
      world:run_until_idle()
      assert.equal(11 * SITES, before + world:receiver("mx.new.example"):messages()
        + world:receiver("mx.old.example"):messages { from = 60 })
      assert.is_true(world:receiver("mx.new.example"):messages() > 5 * SITES)
      assert.equal(11 * SITES, #world:records { type = "d" })
    end)

    it("what a reaction lays on a virtual MTA holds in every shard", function()
      local world = new_world(policy("max_smtp_out = 12",
        "max_smtp_out = 4, retry_after = '10s', backoff = { { 'slow down', scope = 'vmta', lasts = '10m', max_smtp_out = 2 } }"), workers)
      local watch = watched(world, {})
      inject(world, 200)
      world:run_for "2s"
      assert.equal(12, watch:open(watch.hosts))
      watch.answer = function(host, stage)
        return host == host_of(3) and stage == "MAIL" and world:now() < 5 and "421 4.7.0 slow down" or nil
      end
      world:run_for "20s"                       -- sessions in a transaction end it first
      for _ = 1, 60 do
        world:run_for "1s"
        assert.is_true(watch:open(watch.hosts) <= 2, ("%d"):format(watch:open(watch.hosts)))
      end
      for i = 1, SITES do
        local overlays = world:overlays(host_of(i) .. "/mta-1")
        assert.equal(1, #overlays, host_of(i))
      end
      assert.same({}, watch.faults)
    end)

    it("a threshold counts a queue's matches, wherever the rule lays", function()
      local world = new_world(policy("max_smtp_out = 12", [[max_smtp_out = 2, retry_after = "10s", retry_recipients_after = "10s",
        backoff = { { "slow down", after = "3/1h", scope = "vmta", lasts = "10m", max_smtp_out = 1 } }]]), workers)
      local watch, said, most = watched(world, {}), {}, 2
      watch.answer = function(host, stage)
        if stage == "MAIL" and (said[host] or 0) < (host == host_of(5) and most or 2) then
          said[host] = (said[host] or 0) + 1
          return "421 4.7.0 slow down"
        end
      end
      inject(world, 5)
      world:run_for "1m"
      for i = 1, SITES do
        assert.equal(2, said[host_of(i)])
        assert.equal(0, #world:overlays(host_of(i) .. "/mta-1"))
      end
      most = 3
      inject(world, 1)
      world:run_for "10s"
      assert.equal(3, said[host_of(5)])
      for i = 1, SITES do
        assert.equal(1, #world:overlays(host_of(i) .. "/mta-1"), host_of(i))
      end
    end)

    it("a threshold's count outlives a restart with another number of workers", function()
      local text = policy("max_smtp_out = 12", [[max_smtp_out = 2, retry_after = "10s", retry_recipients_after = "1s",
        backoff = { { "slow down", after = "7/1h", scope = "vmta", lasts = "10m", max_smtp_out = 1 } }]])
      local world = new_world(text, workers)
      local watch, said, most = watched(world, {}), 0, 0
      watch.answer = function(host, stage)
        if host == host_of(5) and stage == "MAIL" and said < most then
          said = said + 1
          return "421 4.7.0 slow down"
        end
      end
      for i, n in ipairs { 16, 2, 1, 4, 2, 16 } do
        most = i
        inject(world, 1)
        world:run_for "10s"
        assert.equal(i, said)
        assert.equal(0, #world:overlays(host_of(1) .. "/mta-1"))
        world:restart { workers = n }
        world:run_for "10s"
      end
      most = 7
      inject(world, 1)
      world:run_for "10s"
      assert.equal(1, #world:overlays(host_of(1) .. "/mta-1"))
    end)

    it("a swap under load is everybody's at once, and loses nothing", function()
      local world = new_world(policy "max_smtp_out = 10", workers)
      inject(world, 50)
      for cap = 9, 4, -1 do
        world:run_for "300ms"
        world:swap("shards.lua", policy("max_smtp_out = 10", "max_smtp_out = " .. cap))
        for i = 1, SITES do
          assert.equal(cap, world:effective(host_of(i) .. "/mta-1").max_smtp_out)
        end
      end
      assert.equal(7, world:status().generation)
      world:run_until_idle()
      assert.equal(50 * SITES, sum(taken(world)))
      assert.equal(50 * SITES, #world:records { type = "d" })
    end)

    it("comes back with another number of workers, and owes what it owed", function()
      local world = new_world(policy 'max_msg_rate = "120/m"', workers)
      local watch = watched(world, { vmta = { max_msg_rate = rate(120, 60) } })
      local dice = new_dice(seed())
      inject(world, 60)
      local crashes = 0
      for i = 1, 6 do
        world:run_for(dice:between(1, 300) / 10)
        if i % 2 == 0 then
          world:crash()
          crashes = crashes + 1
        end
        world:restart { workers = dice:pick(WORKERS) }
        -- An end is accounted before it is on disk: the last one before a power cut may be owed again.
        local again = world:status().queued - (60 * SITES - delivered(world))
        assert.is_true(again >= 0 and again <= crashes, ("%d owed again"):format(again))
      end
      world:run_until_idle()
      watch:check_rates()
      assert.same({}, watch.faults)
      assert.equal(60 * SITES, delivered(world))
    end)

    it("shows all that waits, wherever it does", function()
      local world = new_world(policy("max_smtp_out = 20", "max_smtp_out = 10, paused = true"), workers)
      inject(world, 7)
      assert.equal(7 * SITES, queued(world))
      assert.equal(7 * SITES, world:status().queued)
      for i = 1, SITES do
        assert.equal("paused", world:why(host_of(i) .. "/mta-1").gate)
      end
    end)

    it("plays the same again by the same seed", function()
      local function played()
        local world = new_world(policy("max_smtp_out = 4, max_msg_rate = '600/m'"), workers)
        inject(world, 20)
        world:run_for "3s"
        world:crash()
        world:run_for "1s"
        world:restart()
        world:run_until_idle()
        return world:digest()
      end
      assert.equal(played(), played())
    end)
  end)
end
