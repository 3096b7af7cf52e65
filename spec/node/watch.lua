-- watch: stands at every receiver of a world, writes down what the node does there, and holds it against the policy.
--
-- It knows nothing of the engine: what it says follows from what came over the wire. A window of a rate is
-- counted by when a transaction began, which is when the node paid for its recipients.
--
-- SPDX-License-Identifier: Apache-2.0
local Watch = {}
Watch.__index = Watch

local STAGES = { "connect", "EHLO", "MAIL", "RCPT", "DATA", "." }
local ROUNDING = 1e-6           -- seconds: times come as fractions

function Watch:broken(format, ...)
  if #self.faults < 10 then
    self.faults[#self.faults + 1] = ("at %.3f s: %s"):format(self.world:now(), format:format(...))
  end
end

local function limit(settings, name)
  return settings[name] and settings[name].n or math.huge
end

-- Connections open now, from a source or all, at these hosts.
function Watch:open(hosts, source)
  local n = 0
  for _, host in ipairs(hosts) do
    n = n + self.receivers[host]:open(source)
  end
  return n
end

function Watch:hold_to(what, n, most)
  if n > most then
    self:broken("%s: %d, where %d is the most", what, n, most)
  end
end

function Watch:check_connections(site, source)
  local s, vmta = site.settings, self.by_source[source]
  if not vmta then
    return self:broken("a connection from %s, which is nobody's address", source)
  end
  self:hold_to("max_smtp_out of " .. site.name .. "/" .. vmta.name, self:open(site.hosts, source), limit(s, "max_smtp_out"))
  self:hold_to("total_max_smtp_out of " .. site.name, self:open(site.hosts), limit(s, "total_max_smtp_out"))
  self:hold_to("max_smtp_out of " .. vmta.name, self:open(self.hosts, source), limit(vmta.settings, "max_smtp_out"))
  self:hold_to("max_smtp_out of the pool", self:open(self.hosts), limit(self.plan.pool, "max_smtp_out"))
  self:hold_to("max_smtp_out of the node", self:open(self.hosts), limit(self.plan.node, "max_smtp_out"))
end

local function note(lists, key, event)
  lists[key] = lists[key] or {}
  table.insert(lists[key], event)
end

-- One event, and the scopes in which it counts.
function Watch:spend(kind, site, source, event)
  local lists = self[kind]
  note(lists, site.name .. " " .. source, event)
  note(lists, site.name, event)
  note(lists, source, event)
  note(lists, "all", event)
end

local function address_of(line)
  return line:match("<(.-)>")
end

local on = {}

function on.connect(self, site, event)
  self:check_connections(site, event.source)
  self:spend("connects", site, event.source, { at = event.at, n = 1 })
end

function on.MAIL(self, site, event, session)
  session.messages = session.messages + 1
  self:hold_to("max_msg_per_connection of " .. site.name, session.messages, limit(site.settings, "max_msg_per_connection"))
  session.transaction, session.taken = { at = event.at, n = 0 }, {}
  self:spend("attempts", site, event.source, session.transaction)
end

function on.RCPT(self, site, event, session, refused)
  session.transaction.n = session.transaction.n + 1
  self:hold_to("max_rcpt_per_message of " .. site.name, session.transaction.n, limit(site.settings, "max_rcpt_per_message"))
  if not refused then
    table.insert(session.taken, address_of(event.line))
  end
end

on["."] = function(self, _, event, session, refused)
  for _, rcpt in ipairs(refused and {} or session.taken) do
    self.taken[rcpt] = self.taken[rcpt] or {}
    table.insert(self.taken[rcpt], event.at)
  end
end

function Watch:stand_at(site, host)
  local receiver = self.world:receiver(host) { latency = self.latency }
  self.receivers[host] = receiver
  self.hosts[#self.hosts + 1] = host
  for _, stage in ipairs(STAGES) do
    receiver:answer { to = stage, fn = function(event)
      local key = host .. " " .. event.connection
      local session = self.sessions[key] or { messages = 0 }
      self.sessions[key] = session
      local answer = self.answer and self.answer(host, stage, event) or nil
      if on[stage] then
        on[stage](self, site, event, session, answer)
      end
      return answer
    end }
  end
end

-- More than `most.n` in any half-open window of that length?
function Watch:check_rate(what, events, most)
  local first, n = 1, 0
  for _, event in ipairs(most and events or {}) do
    n = n + event.n
    while event.at - events[first].at >= most.window - ROUNDING do
      n = n - events[first].n
      first = first + 1
    end
    if n > most.n then
      return self:broken("%s: %d within %d s up to %.6f s, where %d is the most", what, n, most.window, event.at, most.n)
    end
  end
end

function Watch:check_rates()
  local kinds = { max_connect_rate = self.connects, max_msg_rate = self.attempts }
  for name, lists in pairs(kinds) do
    for _, site in ipairs(self.plan.sites) do
      self:check_rate("total_" .. name .. " of " .. site.name, lists[site.name], site.settings["total_" .. name])
      for source, vmta in pairs(self.by_source) do
        self:check_rate(("%s of %s/%s"):format(name, site.name, vmta.name), lists[site.name .. " " .. source], site.settings[name])
      end
    end
    for source, vmta in pairs(self.by_source) do
      self:check_rate(name .. " of " .. vmta.name, lists[source], vmta.settings[name])
    end
    self:check_rate(name .. " of the pool", lists.all, self.plan.pool[name])
    self:check_rate(name .. " of the node", lists.all, self.plan.node[name])
  end
end

-- latency: one for all, or a host's close and another's accept would change places on their way.
return function(world, plan, latency)
  local watch = setmetatable({
    world = world, plan = plan, latency = latency, receivers = {}, hosts = {}, by_source = {}, sessions = {},
    connects = {}, attempts = {}, taken = {}, faults = {},
  }, Watch)
  for _, vmta in ipairs(plan.vmtas) do
    watch.by_source[vmta.source] = vmta
  end
  for _, site in ipairs(plan.sites) do
    for _, host in ipairs(site.hosts) do
      watch:stand_at(site, host)
    end
  end
  watch:stand_at({ name = "bounce.example", hosts = { "bounce.example" }, settings = {} }, "bounce.example")
  return watch
end
