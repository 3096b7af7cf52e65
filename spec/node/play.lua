-- play: a random world's story, step by step, and what must be true of it whatever happened.
-- SPDX-License-Identifier: Apache-2.0
local sim = require "sluice.sim"
local new_dice = require "dice"
local random_policy = require "random_policy"
local watch_world = require "watch"

local Play = {}
Play.__index = Play

local DAY = 86400
local MINUTE = 60
local STUCK_S = 4 * 20 + 10     -- a transaction whose every answer comes at the last moment
local RECORD_S = 1              -- instants in records are whole seconds
local PROBE_S = 1.1             -- how often a failing spool tries again, and a little
local IN_DOUBT_S = 1            -- between a receiver's 250 and our record of it

local WORKERS = { 1, 2, 4, 16 }

local ANSWERS = {
  connect = { "421 4.3.2 busy", "421 4.7.0 slow down", "554 5.7.1 go away", "reset", "hang", "close" },
  EHLO    = { "421 4.3.2 busy", "550 5.7.1 no", "reset", "hang" },
  MAIL    = { "421 4.7.0 slow down", "451 4.7.1 later", "450 4.3.2 busy", "550 5.7.1 not you", "reset", "hang" },
  RCPT    = { "450 4.2.1 busy", "452 4.2.2 mailbox full", "550 5.1.1 nobody", "421 4.7.0 slow down", "451 4.7.1 later", "close" },
  DATA    = { "451 4.3.0 later", "554 5.6.0 no", "421 4.3.2 busy", "reset", "hang" },
  ["."]   = { "451 4.3.0 later", "452 4.3.1 full", "554 5.7.1 spam", "421 4.7.0 slow down", "reset", "hang", "close" },
}

local function answers_by(play)
  return function(host, stage)
    local mood = play.moods[host]
    if mood and ANSWERS[stage] and play.dice:chance(mood) then
      return play.dice:pick(ANSWERS[stage])
    end
  end
end

function Play:settings_of(rcpt)
  return self.site_of[rcpt:match("@(.+)$")].settings
end

-- ---- what happens ----

local steps = {}

function steps.inject(play)
  local site = play.dice:pick(play.plan.sites)
  local host = play.dice:pick(site.hosts)
  local to = {}
  for _ = 1, play.dice:chance(0.3) and play.dice:between(2, 9) or 1 do
    to[#to + 1] = host
  end
  for _ = 1, play.dice:magnitude(1, 40) do
    play:inject(to)
  end
end

-- One message, to somebody new at each of these hosts.
function Play:inject(hosts)
  local to = {}
  for i, host in ipairs(hosts) do
    self.made = self.made + 1
    to[i] = ("u%d@%s"):format(self.made, host)
  end
  local accepted, refusal = self.world:inject {
    to = to, from = self.from, job = "job-" .. self.dice:between(1, 3), priority = self.dice:pick { 0, 50, 100 },
  }
  if accepted == 0 and not self.disk_trouble then
    self.watch:broken("a message to %s is refused: %s", to[1], refusal)
  end
  for _, rcpt in ipairs(accepted > 0 and to or {}) do
    self.accepted[#self.accepted + 1] = rcpt
  end
end

function steps.mood(play)
  play.moods[play.dice:pick(play.watch.hosts)] = play.dice:pick { 0, 0, 0.05, 0.3, 1 }
end

function steps.down(play)
  local host = play.dice:pick(play.watch.hosts)
  play.watch.receivers[host]:down(play.dice:pick { "refuses", "silent" })
  play:cut()
end

function steps.up(play)
  play.watch.receivers[play.dice:pick(play.watch.hosts)]:up()
end

function steps.names(play)
  play.world:fault { dns = play.dice:pick { "servfail", "timeout", "ok", "ok" } }
end

function steps.crash(play)
  play.world:fault { torn_write = play.dice:chance(0.5) }
  play.world:crash()
  play:cut()
  local from = play.world:now()
  play.crashes[#play.crashes + 1] = from
  play.world:run_for(play.dice:magnitude(1, 20000000) / 1000)
  play:start()
  play.downs[#play.downs + 1] = { from = from, to = play.world:now() }
end

-- To the same policy, loaded anew: nobody gets a fresh bucket, and nothing is lost.
function steps.swap(play)
  play.world:swap("random.lua", play.plan.text)
end

function steps.restart(play)
  play:start()
end

function steps.disk(play)
  play.disk_trouble = true
  if play.dice:chance(0.5) then
    play.world:fault { disk_error = play.dice:magnitude(1, 200) }
  else
    play:fill_disk(play.dice:chance(0.6))
  end
end

-- What the node can't write down while the disk is full it may have to do again.
function Play:fill_disk(full)
  self.world:fault { disk_full = full }
  if full and not self.full_from then
    self.full_from = self.world:now()
  elseif not full and self.full_from then
    self.full[#self.full + 1] = { from = self.full_from, to = self.world:now() + PROBE_S }
    self.full_from = nil
  end
end

-- Connections that end now may take a 250 with them.
function Play:cut()
  self.cuts[#self.cuts + 1] = self.world:now()
end

function Play:start()
  self:cut()                    -- a stop that takes too long cuts as well
  if self.disk_trouble and not pcall(self.world.restart, self.world) then
    self:fill_disk(false)                       -- a node may refuse to start on such a disk
    self.world:restart()
  end
  if not self.disk_trouble then
    self.world:restart { workers = self.workers_dice:pick(WORKERS) }
  end
  self:cut()
end

-- ---- what must be true at any time ----

local COUNTED = {
  max_smtp_out = true, total_max_smtp_out = true, ["vmta.max_smtp_out"] = true, ["pool.max_smtp_out"] = true,
  ["node.max_smtp_out"] = true,
}
-- Who is not the first in a rate's line has no time of its own; dns waits for an answer, paused for a hand, or expiry.
local KNOWN = {
  dns = true, paused = true, spool = true, total_max_connect_rate = true, ["vmta.max_connect_rate"] = true,
  ["pool.max_connect_rate"] = true, total_max_msg_rate = true, ["vmta.max_msg_rate"] = true,
  ["pool.max_msg_rate"] = true, ["node.max_msg_rate"] = true,
}

function Play:check_gate(name)
  local row = self.world:queue(name)
  if row.queued == 0 then
    return
  end
  local why = self.world:why(name)
  if why.open then
    return row.sessions == 0 and name .. " is open, has mail and sends none" or nil
  elseif why["until"] then
    return why["until"] < -0.001 and ("%s waits for %s, which was over %g s ago"):format(name, why.gate, -why["until"]) or nil
  elseif COUNTED[why.gate] then
    return why.in_use < (why.limit or math.huge) and ("%s waits for %s with %d of %d in use"):format(name, why.gate, why.in_use, why.limit) or nil
  end
  if why.gate == "max_msg_rate" and row.sessions > 0 then
    return nil                                  -- a session on its way will take what the rate lets go
  end
  return not KNOWN[why.gate] and ("%s waits for %s without end"):format(name, why.gate) or nil
end

function Play:check_gates()
  for _, site in ipairs(self.plan.sites) do
    for _, vmta in ipairs(self.plan.vmtas) do
      local name = site.name .. "/" .. vmta.name
      if self:check_gate(name) then
        self.world:run_for "100ms"              -- what has just come free is handed on at the next turn
        local wrong = self:check_gate(name)
        if wrong then
          self.watch:broken("%s", wrong)
        end
      end
    end
  end
end

-- ---- what must be true in the end ----

local function instant(text)
  local y, month, d, h, m, s = text:match("^(%d+)-(%d+)-(%d+) (%d+):(%d+):(%d+)")
  local days = 0
  for i = 1, month - 1 do
    days = days + ({ 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 })[i]
  end
  return ((y - 2026) * 365 + days + d - 1) * DAY + h * 3600 + m * MINUTE + s
end

local function is_between(list, from, to)
  for _, at in ipairs(list) do
    if at >= from and at <= to then
      return true
    end
  end
  return false
end

function Play:is_while_full(at)
  for _, time in ipairs(self.full) do
    if at >= time.from - RECORD_S and at <= time.to then
      return true
    end
  end
  return false
end

-- Was the connection cut while the final dot or its answer was on the way, or before we had written it down?
function Play:is_in_doubt(taken)
  return self:is_while_full(taken) or is_between(self.cuts, taken - self.watch.latency, taken + self.watch.latency + IN_DOUBT_S)
end

-- The node was up then, or came up later: when it could first look at it, and store a report.
function Play:seen_from(at)
  for _, full in ipairs(self.full) do
    if at >= full.from - MINUTE and at < full.to then
      return full.to + MINUTE
    end
  end
  for _, down in ipairs(self.downs) do
    if at >= down.from and at < down.to then
      return down.to
    end
  end
  return at
end

function Play:has_attempts_left(rcpt)
  local most = self:settings_of(rcpt).max_attempts
  self.attempts[rcpt] = (self.attempts[rcpt] or 0) + 1
  return not most or self.attempts[rcpt] < most.n
end

-- What the last attempt leads to has the same status as what took too long.
function Play:check_expiry(record, queued, logged)
  local left = self:has_attempts_left(record.rcpt)
  local ends = queued + self:settings_of(record.rcpt).bounce_after.n
  local latest = self:seen_from(ends) + MINUTE + RECORD_S
  if record.dsnStatus:find("^4%.4%.7") then
    if left and logged < ends - RECORD_S then
      self.watch:broken("%s expired %d s too early", record.rcpt, ends - logged)
    end
  elseif record.dlvSourceIp ~= "" then
    latest = latest + STUCK_S                   -- it was on its way
  end
  if logged > latest then
    self.watch:broken("%s: %s %s %d s after its time", record.rcpt, record.type, record.dsnStatus, logged - ends)
  end
end

function Play:read_records()
  local ends = {}
  for _, record in ipairs(self.world:records()) do
    local mine = record.rcpt:find("^u%d+@")
    if mine and record.type ~= "r" then
      local queued, logged = instant(record.timeQueued), instant(record.timeLogged)
      self:check_expiry(record, queued, logged)
      if record.type == "d" or record.type == "b" then
        ends[record.rcpt] = ends[record.rcpt] or {}
        table.insert(ends[record.rcpt], { type = record.type, at = logged })
      end
    end
  end
  return ends
end

-- Two ends of one recipient: only where a crash followed the first one at once.
function Play:check_end(rcpt, ends)
  if not ends then
    return self.watch:broken("%s was accepted, and is neither delivered nor bounced nor queued", rcpt)
  end
  for i = 2, #ends do
    local first = ends[i - 1].at
    if not self:is_while_full(first) and not is_between(self.crashes, first, first + RECORD_S + IN_DOUBT_S) then
      self.watch:broken("%s came to an end twice: %s at %d s, %s at %d s", rcpt, ends[i - 1].type, first, ends[i].type, ends[i].at)
    end
  end
end

function Play:check_taken(rcpt, ends)
  local taken = self.watch.taken[rcpt] or {}
  for i = 2, #taken do
    if not self:is_in_doubt(taken[i - 1]) then
      self.watch:broken("%s was delivered at %.3f s and again at %.3f s", rcpt, taken[i - 1], taken[i])
    end
  end
  if ends and ends[#ends].type == "d" and #taken == 0 then
    self.watch:broken("%s counts as delivered, and nobody took it", rcpt)
  elseif ends and ends[#ends].type == "b" and #taken > 0 and not self:is_in_doubt(taken[#taken]) then
    self.watch:broken("%s was taken at %.3f s, and bounced", rcpt, taken[#taken])
  end
end

function Play:check_recipients()
  local ends = self:read_records()
  for _, rcpt in ipairs(self.accepted) do
    self:check_end(rcpt, ends[rcpt])
    self:check_taken(rcpt, ends[rcpt])
  end
end

function Play:finish()
  self.world:fault { dns = "ok" }
  self:fill_disk(false)
  for _, host in ipairs(self.watch.hosts) do
    self.watch.receivers[host]:up()
  end
  self.world:run_until_idle()
  self.watch:check_rates()
  self:check_recipients()
end

-- A story of `n` steps drawn from the list of names; afterwards play.watch.faults says what was wrong.
return function(names, n)
  local seed = require("sluice.host").seed
  local dice = new_dice(seed)
  local workers_dice = new_dice(seed + 1000003)           -- its own, so that stories stay what they were
  local plan = random_policy(dice)
  local play = setmetatable({
    dice = dice, workers_dice = workers_dice, plan = plan, moods = {}, accepted = {}, attempts = {}, full = {}, made = 0, crashes = {}, cuts = {}, downs = {}, site_of = {},
    from = dice:pick { "", "sender@bounce.example" },
  }, Play)
  play.world = sim.world { policy = "random.lua", text = plan.text, seed = seed, workers = workers_dice:pick(WORKERS) }
  play.watch = watch_world(play.world, plan, dice:pick { 0.000002, 0.001, 0.05, 1 })
  play.watch.answer = answers_by(play)
  for _, site in ipairs(plan.sites) do
    for _, host in ipairs(site.hosts) do
      play.site_of[host] = site
    end
  end
  steps.inject(play)
  for _ = 1, n do
    steps[dice:pick(names)](play)
    play.world:run_for(dice:magnitude(1, 10000) / 10)
    play:check_gates()
  end
  play:finish()
  return play
end
