-- apply: each statement finds its row, its place and its value, and is handed on.
-- SPDX-License-Identifier: Apache-2.0
local backoff = require "pmta.backoff"
local directives = require "pmta.directives"
local handlers = require "pmta.handlers"
local policy = require "pmta.policy"
local reader = require "pmta.reader"
local sites = require "pmta.sites"
local values = require "pmta.values"

local own, tell, unsupported = handlers.own, handlers.tell, handlers.unsupported

local function is_context(context, name)
  return directives.contexts[context] ~= nil and directives.contexts[context][name] ~= nil
end

-- Where the directive goes, and what is to be said of that; nil: it stands where PowerMTA has none such.
local function holder_for(self, s, top, real, row)
  if is_context(top.kind, real) then
    return top.kind == "global" and self.globals or top.object
  end
  local foreign = directives.foreign[real]
  local of_queue = directives.contexts.domain[real] or (foreign and (foreign[2] or foreign.of_queue))
  if foreign and foreign.own == "mx_rollup" and (top.kind == "virtual-mta-pool" or top.kind == "virtual-mta" or top.kind == "domain") then
    return top.object
  elseif foreign and foreign.own == "mx_rollup" then
    return self.globals
  elseif of_queue and (top.kind == "global" or top.kind == "virtual-mta" or top.kind == "virtual-mta-pool") then
    local block = self:star_block(top, s)
    if top.kind ~= "global" then
      return block, "a setting of domains: it goes into <domain *> of this block"
    elseif not self.fragment_told then
      self.fragment_told = true
      return block, block.as and "stands in no block: taken for <domain " .. block.as .. ">, as asked" or
        "stands in no block: taken for <domain *>"
    end
    return block
  elseif foreign and not (of_queue and top.kind ~= "domain") then
    return (top.kind == "global" or not top.object or not top.object.items) and self.globals or top.object
  end
end

-- The queue that domains are joined in has no MX of its own, and here each of them goes by its own: the look-up is
-- for nothing. Anywhere else it sends to another's hosts.
local function goes_by_own_mx(holder, looked_up)
  for _, pattern in ipairs(holder.patterns or {}) do
    if pattern ~= looked_up and not sites.is_pseudo(pattern) then
      return false
    end
  end
  return true
end

local function misplaced(self, s, top, notes, real)
  local home = directives.any[real]
  notes[#notes + 1] = "belongs into <" .. (home and home.context or "domain") .. ">, not " ..
    (top.kind == "global" and "outside of blocks" or "into <" .. top.kind .. ">")
  tell(self, s, "error", nil, notes)
  self:keep(top.object and top.object.items and top.object or self.globals, s, "misplaced")
  if not real:find("-", 1, true) then           -- "server", "client": other configurations have them too
    self.recognised, self.foreign = self.recognised - 1, self.foreign + 1
  end
end

local function set_in_place(self, s, top, row, verdict, note, real)
  local notes = {}
  notes[1] = note
  local holder, where = holder_for(self, s, top, real, row)
  notes[#notes + 1] = where
  if not holder then
    misplaced(self, s, top, notes, real)
    return
  end
  local items = holder.items and holder or self.globals
  if top.dropped then
    unsupported(self, s, "its block is not carried over", notes, self.globals)
    return
  end
  if s.value == "" or s.surplus then
    notes[#notes + 1] = s.surplus and ("what is %s? one value is expected"):format(s.surplus:sub(1, 40)) or "has no value"
    tell(self, s, "error", nil, notes)
    self:keep(items, s, notes[#notes])
    return
  end
  if row.why and not row.own then
    unsupported(self, s, row.why, notes, items)
    if verdict == "not-powermta" then
      self.lines[#self.lines].verdict = verdict
    end
    return
  end
  local looked_up = row[1] == "hosts" and s.value:lower():match("^lookup%-mx:([^,;%s]+)$")
  if looked_up and goes_by_own_mx(holder, looked_up) then
    notes[#notes + 1] = "each domain goes by its own MX"
    tell(self, s, verdict, "", notes)
    self:keep(items, s, "each domain goes by its own MX")
    return
  end
  if row[1] == "size" and s.value:lower() == "unlimited" then
    unsupported(self, s, "every listener has a limit: 25M where none is written", notes, items)
    return
  end
  if looked_up then
    unsupported(self, s, "a look-up of another domain's MX is not there: write its hosts", notes, items)
    return
  end
  local value, why, meaning = (values[row[1]])(values.unquote(s.value))
  notes[#notes + 1] = why or row.note
  notes[#notes + 1] = meaning
  if not value then
    tell(self, s, "error", nil, notes)
    self:keep(items, s, why)
    return
  end
  s.name_found = real
  local handler = own[row.own or "item"]
  handler(self, s, row, value, verdict, notes, holder)
end

local function opaque(self, s, top)
  local def = directives.blocks[top.kind]
  local row = directives.contexts[top.kind] and directives.contexts[top.kind][s.name]
  local why = row and row.why or def and def.why or top.why or "the block is not carried over"
  local entry = self:tell(s, top.kind == "skipped" and not directives.any[s.name] and "not-powermta" or "unsupported", nil, why)
  if top.kind == "skipped" and top.entry and top.entry.verdict == "error" then
    entry.verdict = "error"
  end
  self:keep(self.globals, s, nil)
  if top.kind == "pattern-list" and s.raw:match("<pattern%-list>$") then
    self.stack[#self.stack + 1] = { kind = "pattern-list", why = why, entry = entry }
  end
end

function policy:set(s)
  local top = self:top()
  local header = directives.bare_headers[directives.aliases[s.name] or s.name]
  if header and (top.kind == "global" or top.bare) and not is_context(top.kind, s.name) then
    if top.bare then
      policy.leave(self)
    end
    s.bare = true
    self:open(s)
    return
  end
  if top.kind == "skipped" or top.why then
    opaque(self, s, top)
    return
  end
  local row, verdict, note, real = self:find(s, top.kind)
  if row and top.bare and is_context("global", real) and not holder_for(self, s, top, real, row) then
    policy.leave(self)                  -- a block without its brackets has no end of its own
    top = self:top()
    row, verdict, note, real = self:find(s, top.kind)
  end
  if not row then
    self.foreign = self.foreign + 1
    self:tell(s, "not-powermta", nil, self:nearest(s.name))
    self:keep(top.object and top.object.items and top.object or self.globals, s, "no directive of PowerMTA's")
    return
  end
  self.recognised = self.recognised + 1
  -- A row's own handlers tell the directives apart by their right names.
  local written = s.name
  s.name = verdict == "alias" and written or real
  set_in_place(self, s, top, row, verdict, note, real)
  s.name = written
end

function policy:rule(s)
  local top = self:top()
  self.recognised = self.recognised + 1
  if top.kind ~= "domain" and top.kind ~= "global" and top.kind ~= "virtual-mta" and top.kind ~= "virtual-mta-pool" then
    self:tell(s, "error", nil, "stands in no <domain>")
    return
  end
  local holder = top.kind == "domain" and top.object or self:star_block(top, s)
  local text, why = backoff.seed_rule(s)
  if not text then
    self:tell(s, "error", nil, why)
    self:keep(holder, s, why)
    return
  end
  self:tell(s, "alias", text, "alias of reply in an <smtp-pattern-list>, with limits of its own, which PowerMTA cannot give a rule")
  holder.rules[#holder.rules + 1] = { text = text, lead = s.lead, trail = s.trail, line = s.line }
end

-- A comment that holds directives: one of them alone was put out of force, several have lost their newlines.
function policy:hidden(s)
  local names = {}
  for i = 1, math.min(#s.found, 20) do
    names[i] = s.found[i].name .. (s.found[i].value ~= "" and " " .. s.found[i].value or "")
  end
  if #s.found == 1 and s.raw:match("^%s*(%S+)") == s.found[1].name then
    self:tell(s, "known", nil, "commented out: not in force")
    return
  end
  self.hidden_lines = (self.hidden_lines or 0) + 1
  local what = ("the comment holds %d directive%s that PowerMTA does not read: %s"):format(#s.found, #s.found == 1 and "" or "s",
                                                                                       table.concat(names, ", "))
  self:tell(s, "error", nil, what, "give each a line of its own, or use --split")
end

local function note_comments(self, s, texts)
  for _, text in ipairs(texts) do
    if text and text:find("%w") then
      self.comments[#self.comments + 1] = { file = s.file, line = s.line, text = text }
    end
  end
end

function policy:take(s)
  note_comments(self, s, s.lead)
  note_comments(self, s, { s.trail })
  if s.kind == "open" then
    self:open(s)
  elseif s.kind == "close" then
    self:close(s)
  elseif s.kind == "set" then
    self:set(s)
  elseif s.kind == "rule" then
    self:rule(s)
  elseif s.kind == "hidden" then
    self:hidden(s)
  else
    self:tell(s, "error", nil, s.why)
    self:keep(self.globals, s, s.why)
  end
end

function policy:read(text, file)
  local key = policy.plain_path(file)
  self.including[key] = true
  self.including[#self.including + 1] = file
  local state = { xml = false, context = self:top().kind, split = self.options.split }
  local rest = reader.read(text, file, state, function(s)
    self:take(s)
    state.context = self:top().kind
  end)
  self.including[#self.including] = nil
  self.including[key] = nil
  while rest[#rest] == false do
    rest[#rest] = nil
  end
  if #rest > 0 then
    local top = self:top()
    local holder = top.object or self.fragment
    if holder then
      holder.tail = rest
    else
      self.footer = rest
    end
  end
  if #self.including == 0 then
    while #self.stack > 1 do
      policy.not_closed(policy.leave(self))
    end
  end
end

return policy
