-- import: a PowerMTA configuration becomes a policy.
-- SPDX-License-Identifier: Apache-2.0
local apply = require "pmta.apply"
local policy = require "pmta.policy"
local add_reactions = require "pmta.reactions"
local senders = require "pmta.senders"
local sites = require "pmta.sites"
local warm_up = require "pmta.cold"
local write_hook = require "pmta.hook"
local writer = require "pmta.writer"

local quote = policy.quote

local function write_header(self, w, path, body)
  local name = path:match("[^/]*$"):gsub("%c", " ")
  w:line("-- Made from " .. name .. " by `sluice import-pmta`. Look over, before it sends:")
  local function check(text)
    w:line("--  * " .. text)
  end
  local left = 0
  for _, entry in ipairs(self.lines) do
    left = left + ((entry.verdict == "unsupported" or entry.verdict == "error" or entry.verdict == "not-powermta") and 1 or 0)
  end
  if left > 0 then
    check(("%d line%s without counterpart, or wrong: each stands here as a comment, or in the report."):format(left, left == 1 and "" or "s"))
  end
  check("what is not written has sluice's default: PowerMTA's, but max_rcpt_per_message (100, was 1000),")
  w:line("--    connect_timeout (60s, was 2m), idle_timeout (5s, was none); a rate is spread evenly, without bursts;")
  if self.star_apart then
    check('rollup = false in domain "*" keeps a queue for each domain, as in PowerMTA; without it domains of one MX set share.')
  else
    check("domains of one MX set share a queue, where PowerMTA has one for each: write rollup = false to keep them apart.")
  end
  if #self.listeners == 0 then
    check("no listener: nothing in the configuration says who may send.")
  elseif not self.relays then
    check("no listener has relay_from: nobody may send to others than relay_to, until it names who may.")
  elseif self.open_relay then
    check("relay_from lets EVERYBODY send through this node, as the configuration said.")
  end
  if self.default_added and #self.vmtas > 1 then
    check('mail that names no virtual MTA leaves by "default", as in PowerMTA by {default}.')
  elseif self.default_added then
    check('who sends: the virtual MTA "default" leaves the choice of the address to the system.')
  end
  if #self.used_plans > 0 then
    check("a warm-up begins on the day that the configuration was last changed: write the real one.")
  end
  if self.hook and self.hook.by_header then
    check("X-Virtual-MTA is believed of every client that may send.")
  end
  if self.hidden_lines then
    check(("%d comment%s hold directives that are not in force."):format(self.hidden_lines, self.hidden_lines == 1 and "" or "s"))
  end
end

local function write_node(self, w)
  local items = self.node.items
  local account = self.accounting
  if account then
    local records = account.records or { '"d"', '"b"' }
    local has = account.has or { d = true, b = true }
    for _, record in ipairs(self.wants_transient and { "t", "tq" } or {}) do
      if not has[record] then
        records[#records + 1] = quote(record)
      end
    end
    items[#items + 1] = { name = "accounting", lead = account.lead, trail = account.trail,
                          value = ("{ file = %s, records = { %s } }"):format(quote(account.path), table.concat(records, ", ")) }
  end
  if #items > 0 then
    w:blank()
    w:block("node ", { items = items })
  end
  if #self.globals.items > 0 then
    w:blank()
    w:items(self.globals.items, "")
  end
end

local function write_senders(self, w)
  w:blank()
  for _, vmta in ipairs(self.vmtas) do
    local extra = {}
    local comments = vmta.comments or {}
    local single = #comments == 1 and comments[1] or {}
    local sources = {}
    for i, text in ipairs(vmta.sources) do
      sources[i] = text
    end
    extra[1] = { name = "source", lead = single.lead, trail = single.trail,
                 value = #sources == 0 and '"any"' or #sources == 1 and quote(sources[1]) or writer.list(sources, "  ") }
    if vmta.helo and not vmta.by.hostname then
      extra[2] = { name = "hostname", value = quote(vmta.helo) }
    end
    local nested = w:nested(vmta)
    if #vmta.lead > 0 or #nested > 0 then
      w:blank()
    end
    w:lead(vmta.lead, "")
    local items = {}
    for _, list in ipairs { vmta.items, nested } do
      for _, item in ipairs(list) do
        items[#items + 1] = item
      end
    end
    w:block("vmta " .. quote(vmta.name) .. " ", { items = items, trail = vmta.trail, tail = vmta.tail }, extra)
  end
  for _, pool in ipairs(self.pools) do
    local extra, names = {}, {}
    for i, member in ipairs(pool.names) do
      names[i] = quote(member.name)
    end
    w:blank()
    w:lead(pool.lead, "")
    extra[1] = { value = table.concat(names, ", ") }
    local items = {}
    for _, list in ipairs { pool.items, w:nested(pool) } do
      for _, item in ipairs(list) do
        items[#items + 1] = item
      end
    end
    if #items == 0 then
      w:block("pool " .. quote(pool.name) .. " ", { items = {}, trail = pool.trail, tail = pool.tail }, extra)
    else
      extra[1] = { multi = function(at)
        local line = at
        for _, name in ipairs(names) do
          if #line + #name > 100 then
            w:line(line)
            line = at
          end
          line = line .. (line == at and "" or " ") .. name .. ","
        end
        w:line(line)
      end }
      w:block("pool " .. quote(pool.name) .. " ", { items = items, trail = pool.trail, tail = pool.tail }, extra)
    end
  end
end

local LISTS_MAX = 100           -- a Lua function has 200 locals

-- Rules that several blocks have get a name.
local function hoist(self, w)
  local by_text, taken = {}, {}
  local function each(fn)
    for _, block in ipairs(self.all_blocks) do
      if block.reactions and block.reactions.name then
        fn(block.reactions)
      end
    end
  end
  local function key_of(reactions)
    local parts = {}
    for i, rule in ipairs(reactions.rules) do
      parts[i] = rule.text or rule.comment
    end
    return table.concat(parts, "\n")
  end
  each(function(reactions)
    local key = key_of(reactions)
    by_text[key] = (by_text[key] or 0) + 1
  end)
  local named, n_named = {}, 0
  each(function(reactions)
    local key = key_of(reactions)
    if by_text[key] > 1 and not named[key] and n_named < LISTS_MAX then
      n_named = n_named + 1
      local base = reactions.name:gsub("[^%w]+", "_"):gsub("^%d", "_%0"):sub(1, 40)
      base = (base == "" or base == "_" or writer.reserved[base]) and "reactions" or base
      local name, n = base, 1
      while taken[name] or writer.declared[name] do
        n = n + 1
        name = base .. "_" .. n
      end
      taken[name], named[key] = true, name
      w:blank()
      w:lead(reactions.lead, "")
      w:line("local " .. name .. " = {")
      w:rules(reactions, "  ")
      w:line("}")
    end
    reactions.hoisted = named[key]
  end)
end

writer.declared = { node = true, listener = true, vmta = true, pool = true, provider = true, domain = true, on = true, reject = true,
                    senders = true, first_by = true }

local function names(block, matches)
  for _, pattern in ipairs(block.patterns) do
    if matches(pattern) then
      return true
    end
  end
  return false
end

local function is_star(pattern)
  return pattern == "*"
end

local function has_star(pattern)
  return pattern:find("*", 1, true) ~= nil
end

local function write_sites(self, w)
  for _, provider in ipairs(self.providers) do
    local block = provider.block or { items = {} }
    local extra = {}
    if #provider.domains > 0 then
      extra[1] = { name = "domains", value = writer.list(provider.domains, "  "), lead = provider.domains_lead, trail = provider.trail }
    end
    if #provider.mx > 0 then
      extra[#extra + 1] = { name = "mx", value = writer.list(provider.mx, "  ") }
    elseif provider.unknown_mx then
      extra[#extra + 1] = { comment = "mx = { … },   -- the hosts that `dig mx " .. provider.name .. "` names: the domains of that set" }
    end
    if #block.items > 0 and block.items[1].lead and #block.items[1].lead == 0 then
      block.items[1].blank = true
    end
    w:blank()
    w:lead(provider.lead or {}, "")
    w:block("provider " .. quote(provider.name) .. " ", { items = block.items, reactions = block.reactions, tail = block.tail,
                                                          trail = not provider.domains_lead and block.trail or nil }, extra)
  end
  local star_done = false
  for _, block in ipairs(self.settled) do
    if not block.provider and (#block.items > 0 or block.reactions or block.tail) then
      local extra = {}
      if self.star_apart and names(block, is_star) then
        extra[1] = { name = "rollup", value = "false" }
        star_done = true
      end
      w:blank()
      w:lead(block.lead, "")
      w:block("domain " .. (#block.patterns == 1 and quote(block.patterns[1]) or writer.list(block.patterns, "")) .. " ",
              { items = extra[1] and { extra[1], unpack(block.items) } or block.items, reactions = block.reactions, tail = block.tail,
                trail = block.trail })
    end
  end
  if self.star_apart and not star_done then
    w:blank()
    w:line('domain "*" { rollup = false }')
  end
end

-- What was said of lines that are written elsewhere, or nowhere.
local function write_left(self, w, path)
  local left = {}
  for _, comment in ipairs(self.comments) do
    local key = writer.key(comment.text)
    if not writer.written[key] and not self.kept[comment.text] then
      local file = comment.file ~= path and comment.file:gsub("%c", " ") .. ":" or "line "
      left[#left + 1] = (" %s%d: %s"):format(file, comment.line, key)
    end
  end
  if #left > 0 then
    w:blank()
    w:line("-- Comments of lines that became something else:")
    w:lead(left, "")
  end
end

local function write(self, path)
  local w, body = writer.new(), writer.new()
  self.all_blocks = {}
  for _, provider in ipairs(self.providers) do
    self.all_blocks[#self.all_blocks + 1] = provider.block
  end
  for _, block in ipairs(self.settled) do
    if not block.provider then
      self.all_blocks[#self.all_blocks + 1] = block
    end
  end
  for _, list in ipairs { self.vmtas, self.pools } do
    for _, owner in ipairs(list) do
      for _, block in ipairs(owner.settled) do
        self.all_blocks[#self.all_blocks + 1] = block
      end
    end
  end
  for _, block in ipairs(self.settled) do
    if not block.provider and names(block, has_star) and (#block.items > 0 or block.reactions) then
      self.star_apart = true
    end
  end
  write_node(self, body)
  for _, listener in ipairs(self.listeners) do
    body:blank()
    body:lead(listener.lead, "")
    body:block("listener " .. quote(listener.at) .. " ", listener, listener.extra)
  end
  hoist(self, body)
  write_senders(self, body)
  write_sites(self, body)
  write_hook(self, body)
  body:lead(self.footer, "")
  write_left(self, body, path)
  write_header(self, w, path)
  w:blank()
  for _, line in ipairs(body.out) do
    if line == "" then
      w:blank()
    else
      w:line(line)
    end
  end
  return w:text()
end

-- The answer: { refusal = } or { policy =, lines = }.
return function(path, options)
  local text, why = host.read(path)
  if not text then
    return { refusal = why }
  elseif text:find("\0", 1, true) then
    return { refusal = "is not a PowerMTA configuration: it is not a text" }
  end
  local self = apply.new(options)
  if text:match("^#!") then
    return { refusal = "is not a PowerMTA configuration: it is a script" }
  end
  text = text:gsub("^\239\187\191", "")
  self:read(text, path)
  local held = self.hidden_lines or 0
  if self.recognised + held == 0 or self.foreign > 4 * (self.recognised + held) then
    return { refusal = "is not a PowerMTA configuration: " .. (self.recognised == 0 and "none of its lines is a directive" or
                                                               "most of its lines are no directives") }
  end
  self.no_reroute = options.no_reroute
  sites.settle(self)
  senders.settle_pools(self)
  warm_up(self)
  for _, vmta in ipairs(self.vmtas) do
    vmta.settled = vmta.settled or {}
  end
  senders.add_default(self)
  add_reactions(self)
  senders.settle_claims(self)
  senders.settle_listeners(self)
  return { policy = write(self, path), lines = self.lines }
end
