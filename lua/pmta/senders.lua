-- senders: virtual MTAs, pools and listeners as the loader wants them: members that are there, one pool with limits each.
-- SPDX-License-Identifier: Apache-2.0
local policy = require "pmta.policy"
local writer = require "pmta.writer"

local quote, add_note = policy.quote, policy.add_note
local senders = {}

-- Members that are there, each once; a pool without any gets one of its own.
function senders.settle_pools(self)
  for _, pool in ipairs(self.pools) do
    local names, seen = {}, {}
    for _, member in ipairs(pool.members) do
      local there = self.senders[member.name]
      if seen[member.name] then
        add_note(member.entry, "is there twice")
      elseif not there or there.word ~= "vmta" then
        member.entry.verdict, member.entry.becomes = "error", nil
        add_note(member.entry, there and "is a pool: members are virtual MTAs" or "no such virtual MTA")
        pool.items[#pool.items + 1] = { comment = member.s.raw, why = "no such virtual MTA", lead = member.lead }
      else
        names[#names + 1], seen[member.name] = member, true
      end
    end
    if #names == 0 then
      local name = pool.name .. "-1"
      while self.senders[name] do
        name = name .. "-1"
      end
      local vmta = { word = "vmta", name = name, items = {}, by = {}, blocks = {}, settled = {}, sources = {}, lead = {},
                     trail = " the pool had no member: give this one its address" }
      self.vmtas[#self.vmtas + 1], self.senders[name] = vmta, vmta
      names[1] = { name = name }
      add_note(pool.entry, "an empty pool: it gets a virtual MTA of its own, " .. name)
    end
    pool.names = names
  end
end

local function has_limits(pool)
  for _, item in ipairs(pool.items) do
    if item.name then
      return true
    end
  end
  for _, block in ipairs(pool.settled) do
    if #block.items > 0 or block.reactions then
      return true
    end
  end
  return false
end

local function drop_item(item)
  if item.entry then
    item.entry.verdict = "unsupported"
    add_note(item.entry, "a virtual MTA in several pools: only one of them may have limits")
  end
  return item.name and { comment = item.name .. " = " .. item.value, lead = item.lead } or item
end

-- Two pools with limits may not share a member.
function senders.settle_claims(self)
  local claimed = {}
  for _, pool in ipairs(self.pools) do
    if has_limits(pool) then
      local taken = false
      for _, member in ipairs(pool.names) do
        taken = taken or claimed[member.name]
      end
      if taken then
        local kept = {}
        for _, item in ipairs(pool.items) do
          kept[#kept + 1] = drop_item(item)
        end
        for _, block in ipairs(pool.settled) do
          for _, item in ipairs(block.items) do
            kept[#kept + 1] = drop_item(item)
          end
          if block.entry then
            block.entry.verdict = "unsupported"
          end
        end
        pool.items, pool.settled = kept, {}
        add_note(pool.entry, "shares members with another pool that has limits: its own are comments")
      else
        for _, member in ipairs(pool.names) do
          claimed[member.name] = true
        end
      end
    end
  end
end

-- {default} is there in PowerMTA whether it is declared or not.
function senders.add_default(self)
  if not self.senders["default"] then
    local vmta = { word = "vmta", name = "default", items = {}, by = {}, blocks = {}, settled = {}, sources = self.global_sources.sources,
                   helo = self.global_sources.helo, comments = self.global_sources.comments, lead = {} }
    table.insert(self.vmtas, 1, vmta)
    self.senders["default"] = vmta
    self.default_added = true
  end
end

-- ---- listeners ----

local function relay_of(self, source)
  local set = source.set
  local relays = set["always-allow-relaying"] and set["always-allow-relaying"].value == "true"
  local auth = set["require-auth"] and set["require-auth"].value == "true"
  local off = set["smtp-service"] and set["smtp-service"].value == "false"
  return relays and not auth and not off and not source.name:match("^{.*}$")
end

local function relay_from(self, listener)
  local out, seen = {}, {}
  for _, source in ipairs(self.sources) do
    local nets = source.cidr and not listener.source and { source.cidr } or
      listener.source == source.name and (source.cidr and { source.cidr } or { "0.0.0.0/0", "::/0" }) or {}
    for _, net in ipairs(relay_of(self, source) and nets or {}) do
      net = host.valid("cidr", net)
      if not seen[net] then
        out[#out + 1], seen[net] = net, true
      end
      if net:match("/0$") then
        self.open_relay = true
      end
    end
  end
  return out
end

-- A wider network that may relay, and a narrower one that may not, or only after AUTH: relay_from has no exceptions.
local function note_exceptions(self)
  local wide, auth
  for _, source in ipairs(self.sources) do
    if source.cidr and host.valid("cidr", source.cidr):match("/0$") then
      wide = wide or relay_of(self, source)
      auth = auth or (source.set["require-auth"] and source.set["require-auth"].value == "true")
    end
  end
  for _, source in ipairs(self.sources) do
    local held = source.set["always-allow-relaying"]
    if held and held.value == "false" and wide then
      held.entry.verdict = "unsupported"
      add_note(held.entry, "relay_from has no exceptions: list the networks that may relay")
    elseif held and auth and relay_of(self, source) and not source.set["require-auth"] then
      add_note(held.entry, "in PowerMTA it inherits require-auth from the wider source: here it sends without")
    end
  end
end

function senders.settle_listeners(self)
  note_exceptions(self)
  local relays = #self.relay_to > 0
  for _, source in ipairs(self.sources) do
    local held = source.set["always-allow-relaying"]
    relays = relays or relay_of(self, source)
    if held and held.value == "true" and held.entry.verdict == "known" and not relay_of(self, source) then
      held.entry.becomes = nil
      add_note(held.entry, "not carried over: the source must sign in, or has no service")
    end
  end
  if #self.listeners == 0 and relays then
    self.listeners[1] = { at = "0.0.0.0:25", items = {}, by = {}, lead = { " PowerMTA's own listener, where the configuration names none." } }
  end
  for _, listener in ipairs(self.listeners) do
    local extra = {}
    local from = relay_from(self, listener)
    self.relays = self.relays or #from > 0
    if #from > 0 then
      extra[#extra + 1] = { name = "relay_from", value = writer.list(from, "  ") }
    end
    if #self.relay_to > 0 then
      extra[#extra + 1] = { name = "relay_to", value = "{ " .. table.concat(self.relay_to, ", ") .. " }" }
    end
    for _, item in ipairs(self.source_limits and self.source_limits.items or {}) do
      extra[#extra + 1] = item
    end
    local has_tls = false
    for _, item in ipairs(listener.items) do
      has_tls = has_tls or (item.comment and item.comment:match("^tls ="))
    end
    if not has_tls and self.tls_items then
      extra[#extra + 1] = self.tls_items[1]
    end
    listener.extra = extra
  end
end

return senders
