-- writer: the policy as a person would have written it: a table a block, columns aligned, comments kept.
-- SPDX-License-Identifier: Apache-2.0
local policy = require "pmta.policy"

local writer = {}
writer.__index = writer

local quote = policy.quote
local WIDTH = 110

function writer.new()
  return setmetatable({ out = {} }, writer)
end

function writer:line(text)
  self.out[#self.out + 1] = text
end

-- One blank line, unless one is there.
function writer:blank()
  if #self.out > 0 and self.out[#self.out] ~= "" then
    self.out[#self.out + 1] = ""
  end
end

function writer:text()
  return table.concat(self.out, "\n") .. "\n"
end

-- A comment's words, by which it is known again.
function writer.key(text)
  return text:gsub("%c", " "):match("^%s*(.-)%s*$")
end

writer.written = {}             -- the comments that stand in the policy

local function comment(text)
  writer.written[writer.key(text)] = true
  text = text:gsub("%c", " "):gsub("%s+$", "")
  return text == "" and "--" or "--" .. (text:match("^ ") and "" or " ") .. text
end

function writer:lead(lead, indent)
  for _, text in ipairs(lead or {}) do
    if text == false then
      self:blank()
    else
      self:line(indent .. comment(text))
    end
  end
end

local function trail_of(text)
  return text and text:match("%S") and comment(" " .. text:match("^%s*(.-)%s*$")) or nil
end

local function pad(text, width)
  return text .. (" "):rep(math.max(0, width - #text))
end

-- Settings that stand together, in columns; members of a list have no name.
function writer:run(rows, indent)
  local name_width, text_width = 0, 0
  for _, row in ipairs(rows) do
    name_width = math.max(name_width, row.name and #row.name or 0)
  end
  for i, row in ipairs(rows) do
    rows[i].text = indent .. (row.name and pad(row.name, name_width) .. " = " or "") .. row.value .. ","
    if row.trail and #row.text < 70 then
      text_width = math.max(text_width, #row.text)
    end
  end
  for _, row in ipairs(rows) do
    local trail = trail_of(row.trail)
    self:line(trail and pad(row.text, text_width) .. "  " .. trail or row.text)
  end
end

function writer:items(items, indent)
  local rows = {}
  local function flush()
    self:run(rows, indent)
    rows = {}
  end
  for i, item in ipairs(items) do
    if (item.lead and #item.lead > 0) or item.blank or item.comment or item.multi then
      flush()
    end
    if i > 1 and item.blank then
      self:blank()
    end
    self:lead(item.lead, indent)
    if item.comment then
      self:line(indent .. comment(" " .. item.comment .. (item.why and "   -- " .. item.why or "")))
    elseif item.multi then
      item.multi(indent)
    else
      rows[#rows + 1] = { name = item.name, value = item.value, trail = item.trail }
    end
  end
  flush()
end

-- { "a", "b", … } in lines of WIDTH.
function writer.list(list, indent)
  local whole = {}
  for i, text in ipairs(list) do
    whole[i] = quote(text)
  end
  local one = "{ " .. table.concat(whole, ", ") .. " }"
  if #one + #indent < WIDTH - 20 then
    return one
  end
  local out, line = { "{" }, indent .. " "
  for _, text in ipairs(whole) do
    if #line + #text + 2 > WIDTH and line:match("%S") then
      out[#out + 1], line = line, indent .. " "
    end
    line = line .. " " .. text .. ","
  end
  out[#out + 1] = line
  out[#out + 1] = indent .. "}"
  return table.concat(out, "\n")
end

function writer:rules(reactions, indent)
  for _, rule in ipairs(reactions.rules) do
    self:lead(rule.lead, indent)
    if rule.comment then
      self:line(indent .. comment(" " .. rule.comment:gsub("%c", " ")))
    else
      local trail = trail_of(rule.trail)
      local whole = indent .. rule.text .. "," .. (trail and "  " .. trail or "")
      if trail and #whole > WIDTH then
        self:line(indent .. trail)
        self:line(indent .. rule.text .. ",")
      else
        self:line(whole)
      end
    end
  end
end

-- What a block's table holds: items, and the reactions at their end.
function writer:body(block, indent)
  local items = {}
  for _, item in ipairs(block.items) do
    items[#items + 1] = item
  end
  local reactions = block.reactions
  if reactions then
    items[#items + 1] = { blank = #items > 0 and not reactions.hoisted, multi = function(at)
      if reactions.hoisted then
        self:line(at .. "backoff = " .. reactions.hoisted .. ",")
      elseif #reactions.rules == 0 then
        self:line(at .. "backoff = {},")
      else
        self:line(at .. "backoff = {")
        self:rules(reactions, at .. "  ")
        self:line(at .. "},")
      end
    end }
  end
  self:items(items, indent)
  self:lead(block.tail, indent)
end

local function is_plain(items)
  for _, item in ipairs(items) do
    if item.comment or item.multi or item.trail or (item.lead and #item.lead > 0) then
      return false
    end
  end
  return true
end

-- head { … }: on one line where it fits and nothing is to be said of it.
function writer:block(head, block, extra, indent, stop)
  indent, stop = indent or "", stop or ""
  local trail = trail_of(block.trail)
  local items = {}
  for _, item in ipairs(extra or {}) do
    items[#items + 1] = item
  end
  for _, item in ipairs(block.items) do
    items[#items + 1] = item
  end
  if #items <= 3 and is_plain(items) and not block.reactions and not (block.tail and #block.tail > 0) then
    local parts = {}
    for i, item in ipairs(items) do
      parts[i] = item.name and item.name .. " = " .. item.value or item.value
    end
    local one = indent .. head .. (#parts > 0 and "{ " .. table.concat(parts, ", ") .. " }" or "{}") .. stop
    if #one < WIDTH and not one:find("\n") then
      self:line(trail and one .. "  " .. trail or one)
      return
    end
  end
  self:line(indent .. head .. "{" .. (trail and "  " .. trail or ""))
  local inner = { items = items, reactions = block.reactions, tail = block.tail }
  self:body(inner, indent .. "  ")
  self:line(indent .. "}" .. stop)
end

-- provider = { … } and domain = { … } of a virtual MTA or pool, as items.
function writer:nested(owner)
  local providers, domains = {}, {}
  for _, block in ipairs(owner.settled) do
    if #block.items > 0 or block.reactions then
      for _, pattern in ipairs(block.provider and { block.provider.name } or block.patterns) do
        local list = block.provider and providers or domains
        list[#list + 1] = { pattern, block }
      end
    end
  end
  local out = {}
  for _, pair in ipairs { { "provider", providers }, { "domain", domains } } do
    local word, list = pair[1], pair[2]
    if #list > 0 then
      out[#out + 1] = { multi = function(at)
        self:line(at .. word .. " = {")
        for _, entry in ipairs(list) do
          local key = entry[1]:match("^[%a_][%w_]*$") and word == "provider" and not writer.reserved[entry[1]] and entry[1] or
            "[" .. quote(entry[1]) .. "]"
          self:lead(entry[2].lead, at .. "  ")
          self:block(key .. " = ", entry[2], nil, at .. "  ", ",")
        end
        self:line(at .. "},")
      end }
    end
  end
  return out
end

writer.reserved = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then true until while]]):gmatch("%a+") do
  writer.reserved[word] = true
end

return writer
