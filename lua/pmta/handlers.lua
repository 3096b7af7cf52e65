-- handlers: what each directive does to the policy that is being put together.
-- SPDX-License-Identifier: Apache-2.0
local backoff = require "pmta.backoff"
local known = require "pmta.known"
local policy = require "pmta.policy"
local values = require "pmta.values"

local quote = values.quote
-- By row.own: function(self, s, row, value, verdict, notes, holder); `item` is a setting as it is.
local own = {}

local function tell(self, s, verdict, becomes, notes)
  return self:tell(s, verdict, becomes, unpack(notes))
end

local function plain(self, s, row, value, verdict, notes, holder)
  if row[2] == "hostname" and holder.by.hostname then
    notes[#notes + 1] = "a further name of its own: only the first is told to others"
    tell(self, s, verdict, "", notes)
    return
  end
  local entry = tell(self, s, verdict, nil, notes)
  self:add(holder, s, row[2], value, entry)
end
own.item = plain

function own.node(self, s, row, value, verdict, notes)
  plain(self, s, row, value, verdict, notes, self.node)
end

local function unsupported(self, s, why, notes, holder)
  notes[#notes + 1] = why
  tell(self, s, "unsupported", nil, notes)
  self:keep(holder, s, why)
end

-- Settings whose one value is what happens anyway.
local function no_effect(of)
  return function(self, s, row, value, verdict, notes, holder)
    if value == of then
      notes[#notes + 1] = "so it is anyway"
      tell(self, s, verdict, "", notes)
      self:keep(holder, s, "so it is anyway")
    else
      unsupported(self, s, row.why, notes, holder)
    end
  end
end
own.always_false, own.always_true = no_effect "false", no_effect "true"

function own.logged(self, s, row, value, verdict, notes, holder)
  if value == "true" and row.note and s.name == "log-delivery-failures" then
    self.wants_transient = true
  end
  notes[#notes + 1] = not row.note and "accounting has the records t and tq" or nil
  tell(self, s, verdict, "", notes)
  self:keep(holder, s, s.name == "log-fallback-failures" and "`sluice why` shows it" or "accounting: records t and tq")
end

function own.name_server(self, s, row, value, verdict, notes)
  local entry = tell(self, s, verdict, ("resolver = { %s }"):format(value), notes)
  local item = self.node.by.resolver
  if not item then
    self:add(self.node, s, "resolver", "{ " .. value .. " }", entry)
  elseif not item.value:find(value, 1, true) then
    item.value = item.value:sub(1, -3) .. ", " .. value .. " }"
  end
end

function own.spool_line(self, s, row, value, verdict, notes)
  local path = s.value:match("^%S+")
  s.value = path or ""
  self:add_spool(s, verdict, unpack(notes))
end

function own.macro(self, s, row, value, verdict, notes)
  local name, list = s.value:match("^%$?([%w%-_%.]+)%s+(.+)$")
  if not name then
    notes[#notes + 1] = "write domain-macro NAME domain,domain"
    tell(self, s, "error", nil, notes)
    return
  end
  notes[#notes + 1] = "each domain has its own full limits unless queue-to joins them"
  self.macros[name:lower()] = list
  local out, errors = {}, {}
  self:expand(list, {}, out, errors)
  -- A macro may be named before it is declared: what is missing is said where it is used.
  tell(self, s, verdict, #out > 0 and policy.show(out) or nil, notes)
end

function own.include(self, s, row, value, verdict, notes)
  local pattern = values.unquote(s.value)
  local why
  if #self.including >= policy.INCLUDES_MAX then
    why = "files that include each other are too deep"
  elseif pattern:match("^%a+://") then
    why = "nothing is fetched from the net"
  end
  local files = not why and host.find(pattern, s.file)
  if not why and (type(files) ~= "table" or #files == 0) then
    why = type(files) == "string" and files or "no such file"
  end
  if why then
    notes[#notes + 1] = why
    tell(self, s, "error", nil, notes)
    self:keep(self.globals, s, why)
    return
  end
  notes[#notes + 1] = ("%d file%s"):format(#files, #files == 1 and "" or "s")
  local entry = tell(self, s, verdict, "", notes)
  for _, file in ipairs(files) do
    if self.including[policy.plain_path(file)] then
      entry.verdict = "error"
      policy.add_note(entry, file .. " includes itself")
    else
      local text, reason = host.read(file)
      if text then
        self:read(text, file)
      else
        entry.verdict = "error"
        policy.add_note(entry, file .. ": " .. reason)
      end
    end
  end
end

-- ---- a queue's own ----

own["type"] = function(self, s, row, value, verdict, notes, holder)
  if s.value:lower() == "smtp" then
    tell(self, s, verdict, "", notes)
  else
    unsupported(self, s, "mail goes by SMTP only: write paused = true to hold it", notes, holder)
  end
end

function own.queue_to(self, s, row, value, verdict, notes, holder)
  local text = values.unquote(s.value)
  local target = host.valid("domain", text)
  if text == "" then
    tell(self, s, verdict, "", notes)
  elseif not target then
    notes[#notes + 1] = "write a domain"
    tell(self, s, "error", nil, notes)
    self:keep(holder, s, "no domain")
  elseif holder.owner then
    unsupported(self, s, "a provider groups domains for all virtual MTAs: write it outside of them", notes, holder)
  else
    holder.queue_to, holder.queue_to_s = target, s
    holder.queue_to_entry = tell(self, s, verdict, nil, notes)
  end
end

function own.pattern_list(self, s, row, value, verdict, notes, holder)
  holder.pattern_list = values.unquote(s.value)
  holder.pattern_list_s = s
  holder.pattern_list_entry = tell(self, s, verdict, nil, notes)
end

-- The target of a reroute must be there; that is known at the end.
function own.backoff(self, s, row, value, verdict, notes, holder)
  if row[2] == "reroute" then
    local name = policy.sender_name(s.value)
    if name == "" then
      tell(self, s, verdict, "", notes)
      return
    end
    value = quote(name)
  end
  local becomes = row[2] == "until_delivery" and "" or (row[2] == "reenable" and "lasts" or row[2]) .. " = " .. value
  local entry = tell(self, s, verdict, becomes, notes)
  if row[2] == "until_delivery" then
    policy.add_note(entry, value == "true" and "a delivery ends no overlay here; `lasts` does, an hour where nothing else is said"
                    or "so it is anyway")
  end
  holder.backoff[row[2]] = { value = value, s = s, entry = entry }
end

function own.mx_rollup(self, s, row, value, verdict, notes, holder)
  local domain = host.valid("domain", values.unquote(s.value))
  if not domain then
    notes[#notes + 1] = "write a domain"
    tell(self, s, "error", nil, notes)
    return
  end
  local provider = self:rollup_of(domain)
  if not holder.word then
    notes[#notes + 1] = "the domains of that MX set share one queue"
    tell(self, s, verdict, ("provider %s { … }"):format(quote(provider.name)), notes)
    return
  end
  notes[#notes + 1] = "the limits beside it hold for all domains of that MX set"
  local entry = tell(self, s, verdict, ("provider = { %s = { … } }"):format(provider.name), notes)
  if not holder.rollup then
    holder.rollup, holder.rollup_s = provider, s
  else
    entry.verdict = "error"
    policy.add_note(entry, "a second one: the limits are the first one's")
  end
end

-- The provider whose member the domain is: one that is known by name, or one of its own.
function policy:rollup_of(domain)
  for _, provider in ipairs(self.rollups) do
    if provider.of == domain then
      return provider
    end
  end
  local provider = { name = domain, of = domain, domains = { domain }, mx = {}, unknown_mx = true }
  for _, row in ipairs(known) do
    for _, name in ipairs(row.domains) do
      if name == domain then
        provider = { name = row.name, of = domain, domains = {}, mx = row.mx }
        for i, member in ipairs(row.domains) do
          provider.domains[i] = member
        end
      end
    end
  end
  self.rollups[#self.rollups + 1] = provider
  return provider
end

function own.bounce_on_4xx(self, s, row, value, verdict, notes, holder)
  if value == "false" then
    notes[#notes + 1] = "so it is anyway"
    tell(self, s, verdict, "", notes)
    self:keep(holder, s, "so it is anyway")
  else
    notes[#notes + 1] = "every temporary refusal becomes final"
    holder.rules[#holder.rules + 1] = { text = '{ "^4", at = "rcpt", bounce = "recipient" }', lead = s.lead, trail = s.trail }
    tell(self, s, verdict, '{ "^4", at = "rcpt", bounce = "recipient" }', notes)
  end
end

-- ---- senders ----

function own.source_host(self, s, row, value, verdict, notes, holder)
  local address, name = s.value:match("^(%S+)%s*(%S*)")
  local list = holder.word == "vmta" and holder or self.global_sources
  address = values.unquote(address):gsub("/32$", ""):gsub("/128$", "")
  if not host.valid("ip", address) then
    local why = address:find("/", 1, true) and "write each address of the network" or "this is no address"
    notes[#notes + 1] = why
    tell(self, s, address:find("/", 1, true) and "unsupported" or "error", nil, notes)
    self:keep(holder, s, why)
    return
  end
  address = host.valid("ip", address)
  if not list.sources[address] then
    list.sources[#list.sources + 1], list.sources[address] = address, true
  end
  name = values.unquote(name)
  local becomes = "source = " .. quote(address)
  if name ~= "" and host.valid("domain", name) then
    if not list.helo then
      list.helo, becomes = name, becomes .. ", hostname = " .. quote(name)
    elseif list.helo:lower() ~= name:lower() then
      notes[#notes + 1] = "one hostname a virtual MTA: " .. list.helo .. " is used for this address too"
    end
  elseif name ~= "" then
    notes[#notes + 1] = "this is no host name: " .. name
  end
  list.comments = list.comments or {}
  list.comments[#list.comments + 1] = { lead = s.lead, trail = s.trail }
  tell(self, s, verdict, becomes, notes)
end

function own.cold(self, s, row, value, verdict, notes, holder)
  if holder.cold then
    unsupported(self, s, "one cold virtual MTA each: the first warms up", notes, holder)
    return
  end
  holder.cold = { name = policy.sender_name(s.value), s = s, entry = tell(self, s, verdict, nil, notes) }
  self.colds[#self.colds + 1] = holder
end

function own.cold_days(self, s, row, value, verdict, notes, holder)
  local entry = tell(self, s, verdict, value == "off" and "" or "per_day = " .. value, notes)
  holder.cold_days = { value = value, s = s, entry = entry }
end

function own.member(self, s, row, value, verdict, notes, holder)
  local name = policy.sender_name(s.value)
  local entry = tell(self, s, verdict, quote(name), notes)
  holder.members[#holder.members + 1] = { name = name, entry = entry, lead = s.lead, trail = s.trail, s = s }
end

function own.pool_cap(self, s, row, value, verdict, notes, holder)
  notes[#notes + 1] = "over all that the pool's members send together; for a cap at each destination write it into <domain *> of the pool"
  local entry = tell(self, s, verdict, nil, notes)
  self:add(holder, s, row[2], value, entry)
end

-- ---- who may send ----

-- The same port of the same address, or of all addresses of the family.
local function clash(a, b)
  local host_a, port_a = a:match("^%[?(.-)%]?:(%d+)$")
  local host_b, port_b = b:match("^%[?(.-)%]?:(%d+)$")
  if port_a ~= port_b or (a:sub(1, 1) == "[") ~= (b:sub(1, 1) == "[") then
    return false
  end
  return host_a == host_b or not host.valid("ip", host_a) or not host.valid("ip", host_b)
end

function policy:add_listener(s, text)
  local at, source = text:match("^(%S+)%s*(.-)%s*$")
  at = values.unquote(at or ""):gsub("^0/0:", "0.0.0.0:"):gsub("^0:", "0.0.0.0:"):gsub("/32:", ":"):gsub("^%*:", "0.0.0.0:")
  if at ~= "" and not at:find(":%d+$") then
    at = at .. ":25"
  end
  at = host.valid("endpoint", at) or at
  if not host.valid("endpoint", at) then
    local wide = at:find("/", 1, true)
    self:tell(s, wide and "unsupported" or "error", nil, wide and "write each address of the network" or "write ADDRESS:PORT")
    self:keep(self.globals, s, "no single address and port")
    return nil
  end
  local listener = { at = at, items = {}, by = {}, lead = s.lead, trail = s.trail, line = s.line,
                     source = source:match("source=(%S+)") }
  for _, other in ipairs(self.listeners) do
    if clash(at, other.at) then
      self:tell(s, "error", nil, "listens where line " .. other.line .. " does")
      return nil
    end
  end
  listener.entry = self:tell(s, "known", ("listener %s { … }"):format(quote(at)))
  self.listeners[#self.listeners + 1] = listener
  return listener
end

function own.listener(self, s)
  self:add_listener(s, s.value)
end

function own.listener_source(self, s, row, value, verdict, notes, holder)
  holder.source = values.unquote(s.value)
  tell(self, s, verdict, "", notes)
end

function own.relay_domain(self, s, row, value, verdict, notes)
  self.relay_to[#self.relay_to + 1] = value
  tell(self, s, verdict, ("relay_to = { %s }"):format(value), notes)
end

function own.tls(self, s, row, value, verdict, notes, holder)
  local path = values.unquote(s.value:match("^%S+"))
  local text = ("tls = { certificate = %s, key = %s },"):format(quote(path), quote(path))
  notes[#notes + 1] = "written as a comment: a policy loads only where the files can be read, and a key with a password cannot"
  tell(self, s, verdict, (text:gsub(",$", "")), notes)
  local items = (holder.at and holder or self).tls_items or {}
  items[1] = { comment = text, lead = s.lead }
  if holder.at then
    holder.items[#holder.items + 1] = items[1]
  else
    self.tls_items = items
  end
end

function own.source(self, s, row, value, verdict, notes, holder)
  local becomes = ""
  if s.name == "always-allow-relaying" and value == "true" and holder.name:match("^{.*}$") then
    becomes, verdict = nil, "unsupported"
    notes[#notes + 1] = holder.name == "{auth}" and "inbound AUTH is not there yet" or "mail comes in by SMTP only"
    self:keep(self.globals, s, notes[#notes])
  elseif s.name == "always-allow-relaying" and value == "true" then
    becomes = holder.cidr and ("relay_from = { %s }"):format(quote(holder.cidr)) or "relay_from = { … }"
  elseif s.name == "process-x-virtual-mta" or s.name == "process-x-job" or s.name == "process-x-envid" then
    becomes = value == "true" and "on.message(…)" or ""
  elseif s.name == "default-virtual-mta" then
    becomes = "on.message(…)"
  elseif s.name == "require-auth" and value == "true" then
    notes[#notes + 1] = "inbound AUTH is not there yet: this source may not relay"
    verdict = "unsupported"
    self:keep(self.globals, s, "inbound AUTH is not there yet")
  end
  holder.set[s.name] = { value = row[1] == "word" and values.unquote(s.value) or value, entry = tell(self, s, verdict, becomes, notes), s = s }
end

function own.source_limit(self, s, row, value, verdict, notes, holder)
  if not holder.cidr then
    notes[#notes + 1] = "limits are the listener's, for all its clients"
  end
  local limits = self.source_limits or { items = {}, by = {} }
  self.source_limits = limits
  notes[#notes + 1] = "of the listeners, for all their clients"
  plain(self, s, row, value, verdict, notes, limits)
end

function own.allow_starttls(self, s, row, value, verdict, notes)
  notes[#notes + 1] = value == "true" and "offered by a listener with tls" or "a listener without tls offers none"
  tell(self, s, verdict, "", notes)
end

-- ---- accounting, lists ----

-- The last three are what articles write.
local RECORDS = { d = "d", delivery = "d", b = "b", bounce = "b", t = "t", transient = "t", tq = "tq", ["transient-queue"] = "tq", r = "r",
                  receipt = "r", delivered = "d", failed = "b", received = "r" }
local OTHERS = { f = true, rb = true, rs = true, ["feedback-loop"] = true, ["remote-bounce"] = true, ["remote-status"] = true }

function own.records(self, s, row, value, verdict, notes, holder)
  local list, seen = {}, {}
  for word in s.value:lower():gmatch("[^,%s]+") do
    local record = RECORDS[word]
    if record and not seen[record] then
      list[#list + 1], seen[record] = quote(record), true
    elseif OTHERS[word] then
      notes[#notes + 1] = "there is no record " .. word
    elseif not record then
      notes[#notes + 1] = "no type of record: " .. word
    end
  end
  if #list == 0 then
    tell(self, s, "error", nil, notes)
    return
  end
  local text = "{ " .. table.concat(list, ", ") .. " }"
  tell(self, s, verdict, "records = " .. text, notes)
  holder.records, holder.has = list, seen
end

function own.reply(self, s, row, value, verdict, notes, holder)
  local rule, why = backoff.parse(s.value)
  if not rule then
    if s.trail and not s.value:match("/.*/") then
      why = "a # begins a comment: write \\x23 within a pattern"
    end
    notes[#notes + 1] = why
    tell(self, s, "error", nil, notes)
    holder.rules[#holder.rules + 1] = { comment = s.raw .. (s.trail and "  #" .. s.trail or "") .. "   -- " .. why, lead = s.lead }
    self.kept[s.trail or ""] = true
    return
  end
  if rule.mode == "normal" and rule.pattern:match("^%^?[23]") then
    unsupported(self, s, "rules are asked about refusals only: `lasts` ends what a rule lays", notes, self.globals)
    return
  end
  rule.s, rule.lead, rule.trail, rule.line = s, s.lead, s.trail, s.line
  rule.entry = tell(self, s, verdict, backoff.render(rule, {})[1], notes)
  holder.rules[#holder.rules + 1] = rule
end

function own.mx(self, s, row, value, verdict, notes)
  local pattern, name, by_ip = s.value:lower():match("^(%S+)%s+(%S+)%s*(%S*)")
  pattern = pattern and pattern:gsub("%.$", "")
  if not pattern or not host.valid("pattern", pattern) or pattern == "*" then
    notes[#notes + 1] = "write mx HOST-or-*.suffix NAME.rollup"
    tell(self, s, "error", nil, notes)
    return
  end
  local base = policy.sender_name(name:gsub("%.rollup$", ""))
  if by_ip == "rollup-by-ip" then
    notes[#notes + 1] = "hosts are compared by name, not by address"
  end
  notes[#notes + 1] = "every host of the lowest preference must match"
  local entry = tell(self, s, verdict, ("provider %s { mx = { %s } }"):format(quote(base), quote(pattern)), notes)
  for _, provider in ipairs(self.rollups) do
    if provider.rollup == name then
      provider.mx[#provider.mx + 1] = pattern
      return
    end
  end
  self.rollups[#self.rollups + 1] = { name = base, rollup = name, domains = {}, mx = { pattern }, lead = s.lead, trail = s.trail, entry = entry }
end

return { own = own, tell = tell, unsupported = unsupported }
