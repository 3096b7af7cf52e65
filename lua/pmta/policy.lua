-- policy: statements become what will be declared, and each gets its verdict.
--
-- A block holds items (settings, and comments for what has no counterpart). Which of them end together is
-- settled when all is read (pmta.sites), for in PowerMTA the order in the file means nothing.
-- SPDX-License-Identifier: Apache-2.0
local backoff = require "pmta.backoff"
local directives = require "pmta.directives"
local known = require "pmta.known"
local reader = require "pmta.reader"
local values = require "pmta.values"

local policy = {}
policy.__index = policy

local quote = values.quote
local INCLUDES_MAX = 16
local NEAREST_MAX = 300         -- names looked up: each is compared with every name that PowerMTA has

function policy.new(options)
  return setmetatable({
    options = options,
    lines = {},                                 -- the report
    stack = { { kind = "global" } },            -- the blocks that are open
    including = {},                             -- the files that are being read
    recognised = 0, foreign = 0,                -- names that are PowerMTA's, or meant to be; and others
    near = {}, near_n = 0,
    comments = {}, kept = {},                   -- those of the configuration, and those that a kept line bears
    node = { items = {}, by = {} }, globals = { items = {}, by = {} },
    vmtas = {}, pools = {}, senders = {}, global_sources = { sources = {} },
    sources = {}, listeners = {}, relay_to = {},
    macros = {}, colds = {}, blocks = {}, lists = {}, rollups = {},
  }, policy)
end

-- One name for a file that is reached by "conf.d/../conf.d/" as well.
function policy.plain_path(path)
  local out = {}
  for part in path:gmatch("[^/]+") do
    if part == ".." and #out > 0 and out[#out] ~= ".." then
      out[#out] = nil
    elseif part ~= "." then
      out[#out + 1] = part
    end
  end
  return (path:match("^/") or "") .. table.concat(out, "/")
end

function policy:top()
  return self.stack[#self.stack]
end

local function clip(text)
  text = text:gsub("%c", " ")
  return #text > 200 and text:sub(1, 200) .. "…" or text
end

-- An entry of the report. Several notes are joined.
function policy:tell(s, verdict, becomes, ...)
  local notes = {}
  for i = 1, select("#", ...) do
    notes[#notes + 1] = (select(i, ...))
  end
  notes[#notes + 1] = s.equals and "PowerMTA wants a blank, not =" or nil
  notes[#notes + 1] = s.glued and "PowerMTA wants a line for each directive" or nil
  s.glued = nil
  local entry = { file = s.file, line = s.line, directive = clip(s.name), verdict = verdict, becomes = becomes,
                  note = #notes > 0 and table.concat(notes, "; ") or nil }
  self.lines[#self.lines + 1] = entry
  return entry
end

local function add_note(entry, note)
  entry.note = entry.note and entry.note .. "; " .. note or note
end
policy.add_note = add_note

-- Keeps the original line as a comment where it stood.
function policy:keep(holder, s, why)
  local raw = clip(s.raw) .. (s.trail and "  #" .. clip(s.trail) or "")
  if s.trail then
    self.kept[s.trail] = true
  end
  local items = holder.items
  items[#items + 1] = { comment = raw, why = why, lead = s.lead, blank = s.blank }
end

-- A setting into a block; one of the same name before it has lost.
function policy:add(holder, s, name, value, entry)
  local old = holder.by[name]
  if old then
    for i, item in ipairs(holder.items) do
      if item == old then
        table.remove(holder.items, i)
        break
      end
    end
    if old.entry then
      add_note(old.entry, ("has no effect: line %d says it again"):format(s.line))
    end
  end
  local item = { name = name, value = value, lead = s.lead, trail = s.trail, blank = s.blank, entry = entry, line = s.line }
  holder.by[name] = item
  holder.items[#holder.items + 1] = item
  if entry and not entry.becomes then
    entry.becomes = name .. " = " .. value
  end
end

-- ---- blocks ----

local function new_block(patterns, explicit, s, owner)
  return { kind = "domain", patterns = patterns, explicit = explicit, owner = owner, items = {}, by = {}, backoff = {}, rules = {},
           lead = s and s.lead or {}, trail = s and s.trail, line = s and s.line or 0 }
end
policy.new_block = new_block

-- The comments before the first directive: what stands before the last blank line is about the whole.
local function part_lead(lead)
  local cut = #lead
  for i, text in ipairs(lead) do
    cut = text == false and i - 1 or cut
  end
  local head, rest = {}, {}
  for i, text in ipairs(lead) do
    table.insert(i <= cut and head or rest, text)
  end
  if rest[1] == false then
    table.remove(rest, 1)
  end
  return head, rest
end

-- The block that a directive of a queue goes into which stands where none does: that of all domains.
function policy:star_block(top, s)
  if top.kind == "global" then
    if not self.fragment then
      local as = self.options.as
      self.fragment = new_block({ as or "*" }, false)
      self.fragment.as, self.fragment.line = as, s.line
      self.fragment.lead, s.lead = part_lead(s.lead)
      self.blocks[#self.blocks + 1] = self.fragment
    end
    return self.fragment
  end
  local owner = top.object
  if not owner.star then
    owner.star = new_block({ "*" }, false, nil, owner)
    owner.blocks[#owner.blocks + 1] = owner.star
  end
  return owner.star
end

-- The names in <domain …>: macros expanded. A macro loop is an error.
function policy:expand(text, seen, out, errors)
  for word in text:gmatch("[^%s,]+") do
    word = values.unquote(word)
    local macro = word:match("^%$(.+)$")
    if macro and not self.macros[macro:lower()] then
      errors[#errors + 1] = "no such macro: " .. word
    elseif macro and seen[macro:lower()] then
      errors[#errors + 1] = "the macro " .. word .. " names itself"
    elseif macro then
      seen[macro:lower()] = true
      self:expand(self.macros[macro:lower()], seen, out, errors)
      seen[macro:lower()] = nil
    elseif #out >= 10000 then
      errors[1] = "more than 10000 domains"
    elseif not host.valid("pattern", word) then
      errors[#errors + 1] = word .. " is no domain"
    elseif not out[host.valid("pattern", word)] then
      word = host.valid("pattern", word)
      out[#out + 1] = word
      out[word] = true
    end
  end
end

local openers = {}

local function show(patterns)
  local names = {}
  for i = 1, math.min(#patterns, 4) do
    names[i] = quote(patterns[i])
  end
  local more = #patterns > 4 and ", …" or ""
  return #patterns == 1 and names[1] or "{ " .. table.concat(names, ", ") .. more .. " }"
end
policy.show = show

openers["domain"] = function(self, s, top)
  local owner = (top.kind == "virtual-mta" or top.kind == "virtual-mta-pool") and top.object or nil
  local verdict, notes, patterns, errors = "known", {}, {}, {}
  if s.value:match("^{.*}$") then
    self:keep(self.globals, s, "a queue of PowerMTA's own")
    return { kind = "skipped", of = "domain", entry = self:tell(s, "unsupported", nil, "a queue of PowerMTA's own") }
  elseif s.value:lower() == "default" then
    verdict, patterns = "alias", { "*" }
    notes[1] = "alias of <domain *>; in PowerMTA it would be a domain called \"default\""
  else
    self:expand(s.value, {}, patterns, errors)
    if s.value:find("%S%s+%S") then
      verdict = "alias"
      notes[1] = "a tag names one domain, or a macro; each of these has its own full limits"
    elseif s.value:find("%$") and #patterns > 1 then
      notes[1] = "each domain of the macro has its own full limits; with queue-to they would share one"
    end
  end
  notes[#notes + 1] = errors[1]
  if #patterns == 0 then
    local entry = self:tell(s, "error", nil, notes[1] or "names no domain")
    self:keep(self.globals, s, notes[1] or "names no domain")
    return { kind = "skipped", of = "domain", entry = entry }
  end
  local block = new_block(patterns, not s.value:find("%$"), s, owner)
  local list = owner and owner.blocks or self.blocks
  list[#list + 1] = block
  block.entry = self:tell(s, #errors > 0 and "error" or verdict,
                          owner and ("domain = { [%s] = { … } }"):format(quote(patterns[1])) or ("domain %s { … }"):format(show(patterns)),
                          unpack(notes))
  return { kind = "domain", object = block, entry = block.entry }
end

local function sender_name(text)
  local name = values.unquote(text):gsub('[%s/%*"%c]', "-")
  return name == "{default}" and "default" or name:sub(1, 60)
end
policy.sender_name = sender_name

local function open_sender(self, s, list, word)
  local name = sender_name(s.value)
  if name == "" then
    self:keep(self.globals, s, "has no name")
    return { kind = "skipped", of = s.name, entry = self:tell(s, "error", nil, "has no name") }
  end
  local there = self.senders[name]
  if there and there.word ~= word then
    self:keep(self.globals, s, "the name is taken")
    local entry = self:tell(s, "error", nil, ("the name is taken by line %d: virtual MTAs and pools share their names"):format(there.line))
    return { kind = "skipped", of = s.name, entry = entry }
  end
  local note = there and ("continues line %d"):format(there.line) or nil
  if not there and name ~= values.unquote(s.value) and s.value ~= "{default}" then
    note = "the name is written so here"
  end
  local entry = self:tell(s, s.verdict or "known", ("%s %s { … }"):format(word, quote(name)), note)
  local object = there or { word = word, name = name, items = {}, by = {}, blocks = {}, sources = {}, members = {}, lead = s.lead,
                            trail = s.trail, line = s.line, entry = entry }
  if not there then
    list[#list + 1], self.senders[name] = object, object
  end
  return { kind = word == "vmta" and "virtual-mta" or "virtual-mta-pool", object = object, entry = entry }
end

openers["virtual-mta"] = function(self, s)
  return open_sender(self, s, self.vmtas, "vmta")
end

openers["virtual-mta-pool"] = function(self, s)
  return open_sender(self, s, self.pools, "pool")
end

openers["source"] = function(self, s)
  local source = { name = values.unquote(s.value), line = s.line, items = {}, by = {}, set = {}, s = s }
  if host.valid("cidr", source.name) then
    source.cidr = source.name
  elseif source.name:match("^[%d%.:/]+$") then
    self:keep(self.globals, s, "this is no network")
    return { kind = "skipped", of = "source", entry = self:tell(s, "error", nil, "this is no network") }
  end
  self.sources[#self.sources + 1] = source
  source.entry = self:tell(s, "known", nil, source.cidr and "what of it relays stands in the listener's relay_from" or nil)
  return { kind = "source", object = source, entry = source.entry }
end

openers["smtp-listener"] = function(self, s)
  local listener = self:add_listener(s, s.value)
  return listener and { kind = "smtp-listener", object = listener, entry = listener.entry } or { kind = "skipped", of = "smtp-listener" }
end

openers["acct-file"] = function(self, s)
  local path = values.unquote(s.value)
  local why = self.accounting and "there is one accounting file" or #path > 900 and "has too long a path"
    or path:match("^|") and "programs are not fed: the file can be followed with tail -F" or (path == "" or path:find("%c")) and "has no path" or nil
  local account = { path = path, lead = s.lead, trail = s.trail, line = s.line, records = nil }
  if why then
    account.entry = self:tell(s, "unsupported", nil, why)
    self:keep(self.globals, s, why)
    return { kind = "acct-file", object = account, entry = account.entry, dropped = true }
  end
  self.accounting = account
  account.entry = self:tell(s, "known", ("accounting = { file = %s }"):format(quote(path)), "the name is taken as it is, without a date")
  return { kind = "acct-file", object = account, entry = account.entry }
end

openers["spool"] = function(self, s)
  return { kind = "spool", object = self.node, entry = self:add_spool(s, "known") }
end

function policy:add_spool(s, verdict, ...)
  local path = values.unquote(s.value)
  if self.node.by.spool then
    self:keep(self.globals, s, "there is one spool")
    return self:tell(s, "unsupported", nil, "there is one spool", ...)
  elseif path == "" or #path > 900 or path:find("%c") then
    return self:tell(s, "error", nil, "has no path that can be")
  end
  local entry = self:tell(s, verdict, nil, "the files are sluice's own: let PowerMTA empty its spool first", ...)
  self:add(self.node, s, "spool", quote(path), entry)
  return entry
end

openers["smtp-pattern-list"] = function(self, s)
  local name = values.unquote(s.value)
  local list = self.lists[name] or { name = name, rules = {}, lead = s.lead, line = s.line }
  self.lists[name] = list
  self.lists[#self.lists + 1] = list
  list.entry = self:tell(s, "known", "backoff = { … }")
  return { kind = "smtp-pattern-list", object = list, entry = list.entry }
end

openers["mx-rollup-list"] = function(self, s)
  return { kind = "mx-rollup-list", object = { items = {}, by = {} }, entry = self:tell(s, "known", "provider \"…\" { mx = { … } }") }
end

local function may_stand(name, top)
  return top.kind == "global" or (name == "domain" and (top.kind == "virtual-mta" or top.kind == "virtual-mta-pool")) or
    top.kind == "bounce-processor" or top.kind == "feedback-loop-processor" or top.kind == "pattern-list"
end

local function leave(self)
  local top = self:top()
  if #self.stack > 1 then
    self.stack[#self.stack] = nil
  end
  return top
end

local function not_closed(top)
  if top.entry and not top.bare then
    top.entry.verdict = "error"
    add_note(top.entry, "the block is not closed: </" .. (top.of or top.kind) .. "> is missing")
  end
end

function policy:open(s)
  local written = s.name
  local name = directives.aliases[written] or written
  s.name = name
  while #self.stack > 1 and not may_stand(name, self:top()) do
    not_closed(leave(self))
  end
  local top = self:top()
  local def = directives.blocks[name]
  if not def then
    local near = directives.foreign[name]
    s.name = written
    local entry = self:tell(s, "not-powermta", nil, near and "nearest " .. (near.nearest or near.alias) or self:nearest(written))
    self:keep(self.globals, s, "no block of PowerMTA's")
    self[near and "recognised" or "foreign"] = self[near and "recognised" or "foreign"] + 1
    self.stack[#self.stack + 1] = { kind = "skipped", of = written, entry = entry }
    return
  end
  self.recognised = self.recognised + 1
  s.verdict = written ~= name and "alias" or nil
  local frame
  if openers[name] then
    frame = openers[name](self, s, top)
  else
    frame = { kind = name, why = def.why, entry = self:tell(s, "unsupported", nil, def.why) }
    self:keep(self.globals, s, def.why)
  end
  if s.verdict and frame.entry then
    frame.entry.verdict = "alias"
    add_note(frame.entry, "alias of <" .. name .. ">")
  end
  self.stack[#self.stack + 1] = frame
  if s.broken and frame.entry then
    frame.entry.verdict = "error"
    add_note(frame.entry, s.broken)
  end
  if s.bare then
    frame.bare = true
    add_note(frame.entry, "a block without its angle brackets, up to the next one")
  end
end

function policy:close(s)
  local name = directives.aliases[s.name] or s.name
  local top = self:top()
  local open = #self.stack > 1 and (top.of or top.kind)
  if s.broken then
    self:tell(s, "error", nil, s.broken)
  elseif open and not directives.blocks[name] and open ~= name and #name < 40 and host.distance(name, open) <= 2 then
    self:tell(s, "error", nil, "taken for </" .. open .. ">")
    name = open
  end
  for i = #self.stack, 2, -1 do
    if (self.stack[i].of or self.stack[i].kind) == name then
      while #self.stack > i do
        not_closed(leave(self))
      end
      local frame = leave(self)
      if frame.object and #s.lead > 0 then
        frame.object.tail = s.lead
      end
      return
    end
  end
  self:tell(s, "error", nil, "</" .. s.name .. "> closes nothing")
end

-- ---- names ----

function policy:nearest(name)
  name = directives.canonical(name)
  if #name > 40 or #name < 3 then
    return nil
  end
  if self.near[name] == nil and self.near_n >= NEAREST_MAX then
    return nil
  elseif self.near[name] == nil then
    self.near_n = self.near_n + 1
    local best, least = false, 1 + math.floor(#name / 3)
    for candidate in pairs(directives.any) do
      local far = math.abs(#candidate - #name) <= least and host.distance(name, candidate) or least + 1
      if far < least or far == least and best and candidate < best then
        best, least = candidate, far
      end
    end
    self.near[name] = best
  end
  return self.near[name] and "nearest " .. self.near[name] or nil
end

-- The row, verdict and note for a name where it stands; fourth, the name that it means.
function policy:find(s, kind)
  local rows = directives.contexts[kind] or {}
  local name = s.name
  local row = rows[name]
  local underscored = s.written and s.written:find("_", 1, true)
  if row then
    return row, underscored and "alias" or row.now and "deprecated" or "known",
      underscored and "alias of " .. name or row.now and "deprecated, now " .. row.now or nil, name
  end
  local real = directives.aliases[name]
  if real and (rows[real] or directives.any[real]) then
    return rows[real] or directives.any[real].row, "alias", "alias of " .. real, real
  end
  row = directives.foreign[name]
  if row then
    return row, row.alias and "alias" or "not-powermta", row.alias and "alias of " .. row.alias or row.nearest and "nearest " .. row.nearest, name
  end
  row = directives.any[name]
  if row then
    return row.row, row.row.now and "deprecated" or "known", row.row.now and "deprecated, now " .. row.row.now or nil, name
  end
end

policy.quote, policy.known = quote, known
policy.reader, policy.backoff, policy.leave, policy.not_closed, policy.INCLUDES_MAX = reader, backoff, leave, not_closed, INCLUDES_MAX
return policy
