-- Domains whose mail hosts change hands: whatever shards they go through, nothing is lost, and each host sees its provider's limits.
-- SEEDS = 30
-- SPDX-License-Identifier: Apache-2.0
local new_dice = require "dice"
local sim = require "sluice.sim"
local watch_world = require "watch"

local WORKERS = { 1, 2, 4, 16 }
local LATENCY = { 0.000002, 0.001, 0.05 }
local DOMAINS = 20

-- What receivers may say, and what the policies may make of it.
local REPLIES = {
  connect = { "421 4.7.0 slow down", "554 5.7.1 go away", "reset" },
  MAIL = { "421 4.7.0 slow down", "451 4.7.1 elsewhere", "451 4.7.1 half", "450 4.3.2 rest", "reset" },
  RCPT = { "450 4.2.1 busy", "550 5.1.1 nobody", "451 4.7.1 elsewhere", "close" },
  ["."] = { "451 4.3.0 later", "421 4.7.0 slow down", "451 4.7.1 vmta half", "554 5.7.1 spam", "reset" },
}
local RULES = {
  '{ "slow down", scope = "vmta", lasts = "2m", max_smtp_out = 1 }',
  '{ "vmta half", scope = "vmta", lasts = "1m", max_smtp_out = "50%", recover = "+1/10s" }',
  '{ "elsewhere", lasts = "1m", reroute = "mta-1" }',
  '{ "4.7.1 half", scope = "site", lasts = "1m", max_smtp_out = "50%", recover = "+1/10s" }',
  '{ "rest", lasts = "30s", suspend = true }',
  '{ "rest", scope = "vmta", lasts = "20s", suspend = true }',
  '{ "go away", lasts = "1m", disable_source = true }',
}

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

local function backoff(dice)
  local rules = {}
  for _ = 1, dice:between(0, 3) do
    rules[#rules + 1] = dice:pick(RULES)
  end
  return table.concat(rules, ", ")
end

local function provider(dice, i)
  local settings = { max_smtp_out = count(dice:between(1, 4)) }
  if dice:chance(0.4) then
    settings.max_msg_rate = rate(dice)
  end
  if dice:chance(0.3) then
    settings.total_max_smtp_out = count(dice:between(1, 4))
  end
  return { name = "p" .. i, backoff = backoff(dice), hosts = { ("mx.p%d.example"):format(i) }, settings = settings }
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
    lines[#lines + 1] = ('provider %q { mx = { %q }, retry_after = "20s", retry_recipients_after = "20s", backoff = { %s }, %s }'):format(
      (renamed and "other-" or "") .. site.name, site.hosts[1], site.backoff, body(site.settings))
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

function steps.mood(roam)
  roam.moods[roam.dice:pick(roam.watch.hosts)] = roam.dice:pick { 0, 0, 0.05, 0.3, 1 }
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
  self.moods = {}
  self.world:fault { dns = "ok" }
  for i = 1, DOMAINS do
    self:move(("d%d.example"):format(i))
  end
  self.world:run_until_idle()
  self.watch:check_rates()
  local ends = {}
  for _, record in ipairs(self.world:records()) do
    if record.type == "d" or record.type == "b" then
      local known = ends[record.rcpt] or { n = 0 }
      ends[record.rcpt] = { n = known.n + 1, last = record.type }
    end
  end
  for _, to in ipairs(self.sent) do
    local taken = #(self.watch.taken[to] or {})
    local last = ends[to] and ends[to].last
    if not last or last == "d" and taken == 0 then
      self.watch:broken("%s was accepted, came to the end %s, and %d took it", to, tostring(last), taken)
    elseif not self.cuts and (taken > 1 or ends[to].n > 1 or last == "b" and taken > 0) then
      self.watch:broken("%s was taken %d times, and came to an end %d times: %s", to, taken, ends[to].n, last)
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
  for i = 1, dice:between(2, 3) do
    plan.vmtas[i] = vmta(dice, i)
  end
  local roam = setmetatable({ dice = dice, plan = plan, made = 0, sent = {}, moods = {}, text = text_of(plan) }, Roam)
  roam.world = sim.world { policy = "roaming.lua", text = roam.text, seed = seed, workers = dice:pick(WORKERS) }
  roam.watch = watch_world(roam.world, plan, dice:pick(LATENCY))
  roam.watch.answer = function(host, stage)
    local mood = roam.moods[host]
    return mood and REPLIES[stage] and dice:chance(mood) and dice:pick(REPLIES[stage]) or nil
  end
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

  it("do so while receivers have moods that virtual MTAs learn of", function()
    assert.same({}, play({ "inject", "inject", "list", "move", "mood", "mood", "swap" }, 24).watch.faults)
  end)

  it("do all of that at once", function()
    assert.same({}, play({ "inject", "list", "move", "mood", "trouble", "swap", "crash", "restart" }, 24).watch.faults)
  end)

  it("do so while providers change their names and virtual MTAs learn", function()
    assert.same({}, play({ "inject", "inject", "list", "move", "rename", "rename", "mood", "mood", "crash", "restart" }, 24).watch.faults)
  end)

  it("and whose providers change their names lose nothing", function()
    assert.same({}, play({ "inject", "inject", "list", "move", "rename", "swap" }, 20).watch.faults)
  end)
end)
