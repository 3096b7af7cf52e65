-- Domains whose mail hosts change hands: whatever shards they go through, nothing is lost, and each host sees its provider's limits.
-- SEEDS = 30
-- SPDX-License-Identifier: Apache-2.0
local new_dice = require "dice"
local sim = require "sluice.sim"
local watch_world = require "watch"

local WORKERS = { 1, 2, 4, 16 }
local LATENCY = { 0.000002, 0.001, 0.05 }
local DOMAINS = 20

local Roam = {}
Roam.__index = Roam

local function count(n)
  return { n = n, text = tostring(n) }
end

local function rate(dice)
  local n, window = dice:magnitude(20, 300), dice:pick { 10, 60 }
  return { n = n, window = window, text = ('"%d/%ds"'):format(n, window) }
end

local function body(settings)
  local names, lines = {}, {}
  for name in pairs(settings) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    lines[#lines + 1] = ("%s = %s"):format(name, settings[name].text)
  end
  return table.concat(lines, ", ")
end

local function provider(dice, i)
  local settings = { max_smtp_out = count(dice:between(1, 4)) }
  if dice:chance(0.4) then
    settings.max_msg_rate = rate(dice)
  end
  if dice:chance(0.3) then
    settings.total_max_smtp_out = count(dice:between(1, 4))
  end
  return { name = "p" .. i, hosts = { ("mx.p%d.example"):format(i) }, settings = settings }
end

local function vmta(dice, i)
  return {
    name = "mta-" .. i, source = "203.0.113." .. i,
    settings = dice:chance(0.5) and { max_smtp_out = count(dice:between(1, 6)) } or {},
  }
end

-- renamed: the same providers by other names, and so of other shards.
local function text_of(plan, renamed)
  local lines, members = { 'listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8" } }' }, {}
  for i, one in ipairs(plan.vmtas) do
    lines[#lines + 1] = ('vmta %q { source = %q, %s }'):format(one.name, one.source, body(one.settings))
    members[i] = ("%q"):format(one.name)
  end
  lines[#lines + 1] = ('pool "default" { %s }'):format(table.concat(members, ", "))
  for _, site in ipairs(plan.sites) do
    lines[#lines + 1] = ('provider %q { mx = { %q }, retry_after = "20s", retry_recipients_after = "20s", %s }'):format(
      (renamed and "other-" or "") .. site.name, site.hosts[1], body(site.settings))
  end
  return table.concat(lines, "\n") .. "\n"
end

local steps = {}

function steps.inject(roam)
  local n = roam.dice:magnitude(1, 60)
  local accepted = roam.world:inject { count = n, to = function()
    roam.made = roam.made + 1
    local to = ("u%d@%s"):format(roam.made, roam:domain())
    roam.sent[#roam.sent + 1] = to
    return to
  end }
  assert.equal(n, accepted)
end

-- One message for many, of whom each shard has some.
function steps.list(roam)
  local to = {}
  for i = 1, roam.dice:between(2, 30) do
    roam.made = roam.made + 1
    to[i] = ("u%d@%s"):format(roam.made, roam:domain())
    roam.sent[#roam.sent + 1] = to[i]
  end
  assert.equal(1, (roam.world:inject { to = to }))
end

function steps.move(roam)
  for _ = 1, roam.dice:between(1, 5) do
    roam:move(roam:domain())
  end
end

function steps.trouble(roam)
  roam.world:dns { [roam:domain()] = roam.dice:pick { "servfail", "timeout" } }
end

function steps.names(roam)
  roam.world:fault { dns = roam.dice:pick { "servfail", "timeout", "ok", "ok" } }
end

function steps.swap(roam)
  roam.world:swap("roaming.lua", roam.text)
end

function steps.rename(roam)
  roam.renamed = not roam.renamed
  roam.text = text_of(roam.plan, roam.renamed)
  roam.world:swap("roaming.lua", roam.text)
end

function steps.restart(roam)
  roam.cuts = true                              -- what does not end in time is cut
  roam.world:restart { workers = roam.dice:pick(WORKERS) }
  roam.text, roam.renamed = text_of(roam.plan, false), false
end

function steps.crash(roam)
  roam.world:crash()
  roam.world:run_for(roam.dice:magnitude(1, 10000) / 1000)
  steps.restart(roam)
end

function Roam:domain()
  return ("d%d.example"):format(self.dice:between(1, DOMAINS))
end

function Roam:move(domain)
  local to = self.dice:pick(self.plan.sites).hosts[1]
  self.world:dns { [domain] = { mx = { { to, 10 } } } }
end

function Roam:finish()
  self.world:fault { dns = "ok" }
  for i = 1, DOMAINS do
    self:move(("d%d.example"):format(i))
  end
  self.world:run_until_idle()
  self.watch:check_rates()
  local ends = {}
  for _, record in ipairs(self.world:records()) do
    if record.type == "d" or record.type == "b" then
      ends[record.rcpt] = (ends[record.rcpt] or 0) + 1
    end
  end
  for _, to in ipairs(self.sent) do
    local taken = #(self.watch.taken[to] or {})
    if taken == 0 or not ends[to] then
      self.watch:broken("%s was accepted, and %d took it", to, taken)
    elseif not self.cuts and (taken > 1 or ends[to] > 1) then
      self.watch:broken("%s was taken %d times, and came to an end %d times", to, taken, ends[to])
    end
  end
end

local function play(names, n)
  local seed = require("sluice.host").seed
  local dice = new_dice(seed)
  local plan = { sites = {}, vmtas = {}, pool = {}, node = {} }
  for i = 1, dice:between(1, 6) do
    plan.sites[i] = provider(dice, i)
  end
  for i = 1, dice:between(1, 3) do
    plan.vmtas[i] = vmta(dice, i)
  end
  local roam = setmetatable({ dice = dice, plan = plan, made = 0, sent = {}, text = text_of(plan) }, Roam)
  roam.world = sim.world { policy = "roaming.lua", text = roam.text, seed = seed, workers = dice:pick(WORKERS) }
  roam.watch = watch_world(roam.world, plan, dice:pick(LATENCY))
  for i = 1, DOMAINS do
    roam:move(("d%d.example"):format(i))
  end
  for _ = 1, n do
    steps[dice:pick(names)](roam)
    roam.world:run_for(dice:magnitude(1, 20000) / 1000)
  end
  roam:finish()
  return roam
end

describe("domains that change their mail hosts", function()
  it("take their mail along, within each provider's limits", function()
    assert.same({}, play({ "inject", "inject", "list", "move", "move", "swap" }, 20).watch.faults)
  end)

  it("do so while names fail", function()
    assert.same({}, play({ "inject", "list", "move", "move", "trouble", "names" }, 20).watch.faults)
  end)

  it("do so across crashes and other numbers of workers", function()
    assert.same({}, play({ "inject", "inject", "list", "move", "swap", "crash", "restart" }, 16).watch.faults)
  end)

  it("and whose providers change their names lose nothing", function()
    local roam = play({ "inject", "inject", "list", "move", "rename", "swap" }, 20)
    assert.same({}, roam.watch.faults)
  end)
end)
