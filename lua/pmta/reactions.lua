-- reactions: when it is known which blocks are whose, the rules of their lists of patterns with the values of backoff mode.
-- SPDX-License-Identifier: Apache-2.0
local backoff = require "pmta.backoff"
local policy = require "pmta.policy"

local add_note = policy.add_note

-- Whether all that `pattern` stands for is matched by `general`.
local function covers(general, pattern)
  if general == "*" or general == pattern then
    return true
  end
  local base = general:match("^%*%.(.+)$") or general:match("^%[%*%.%](.+)$")
  if not base then
    return false
  end
  local name = pattern:match("^%*%.(.+)$") or pattern:match("^%[%*%.%](.+)$") or pattern
  return name:sub(-#base - 1) == "." .. base or (name == base and (general:sub(1, 1) == "[" or pattern:sub(1, 2) == "*."))
end

-- The blocks whose values hold for `block`, nearest first.
local function chain(self, block)
  local out = { block }
  local pattern = block.patterns[1]
  local function add(list)
    local matching = {}
    if list.exact[pattern] and list.exact[pattern] ~= block then
      matching[1] = { list.exact[pattern], math.huge }
    end
    for _, pair in ipairs(list.wild) do
      local other, general = pair[1], pair[2]
      if other ~= block and covers(general, pattern) then
        matching[#matching + 1] = { other, general == "*" and 0 or #general }
      end
    end
    table.sort(matching, function(a, b) return a[2] > b[2] end)
    for _, pair in ipairs(matching) do
      out[#out + 1] = pair[1]
    end
  end
  if block.owner then
    add(block.owner.settled)
  end
  add(self.settled)
  return out
end

local function effective(self, block)
  local own, list_name = {}, nil
  for _, other in ipairs(chain(self, block)) do
    for key, held in pairs(other.backoff) do
      own[key] = own[key] or held.value
    end
    own.normal_max_smtp_out = own.normal_max_smtp_out or (other.by.max_smtp_out and other.by.max_smtp_out.value)
    list_name = list_name or other.pattern_list
  end
  return own, list_name
end

-- What a queue in backoff mode is rerouted to must be there, and not be where the mail is.
local function check_reroute(self, own, block)
  local name = own.reroute and own.reroute:match('^"(.*)"$')
  if own.reroute and (not self.senders[name] or self.no_reroute) then
    local held = block.backoff.reroute
    if held then
      held.entry.verdict, held.entry.becomes = "error", nil
      add_note(held.entry, self.no_reroute and "the mail would go round" or "no such virtual MTA or pool")
    end
    own.reroute = nil
  end
end

local function note_unused(self, block)
  for key, held in pairs(block.backoff) do
    add_note(held.entry, "only a rule leads into backoff mode, and no smtp-pattern-list holds here")
    if not held.kept then
      held.kept = true
      self:keep(block, held.s, "no smtp-pattern-list holds here")
    end
  end
end

local function has_own(block)
  return block.pattern_list ~= nil or #block.rules > 0 or next(block.backoff) ~= nil
end

local function add_backoff(self, block)
  if not has_own(block) then
    return
  end
  local own, list_name = effective(self, block)
  check_reroute(self, own, block)
  local list = list_name and list_name ~= "" and self.lists[list_name] or nil
  if block.pattern_list_entry then
    local entry = block.pattern_list_entry
    if list then
      entry.becomes = "backoff = { … }"
    elseif list_name == "" then
      entry.becomes = "backoff = {}"
    else
      entry.verdict = "error"
      add_note(entry, "no such list")
    end
  end
  local rules = {}
  for _, rule in ipairs(block.rules) do
    rules[#rules + 1] = rule
  end
  for _, rule in ipairs(list and list.rules or {}) do
    list.used = true
    if rule.comment then
      rules[#rules + 1] = { comment = rule.comment, lead = rule.lead }
    else
      local texts = backoff.render(rule, own)
      for i, text in ipairs(texts) do
        rules[#rules + 1] = { text = text, lead = i == 1 and rule.lead or {}, trail = i == #texts and rule.trail or nil }
      end
      for _, text in ipairs(texts) do
        if text:find('lasts = "forever"', 1, true) then
          block.forever = true
        end
      end
      if not rule.rendered then
        rule.rendered, rule.entry.becomes = true, table.concat(texts, ", ")
      end
    end
  end
  if #rules > 0 then
    block.reactions = { rules = rules, name = #block.rules == 0 and list and list.name or nil, lead = list and list.lead }
    if not list then
      note_unused(self, block)
    elseif block.forever and block.pattern_list_entry then
      add_note(block.pattern_list_entry, "\"forever\": no backoff-to-normal-after says when it ends, `sluice lift` does")
    end
  elseif list_name == "" and block.pattern_list == "" then
    block.reactions = { rules = {} }
  else
    note_unused(self, block)
  end
end

return function(self)
  for _, list in ipairs(self.lists) do
    backoff.mark_conflicts(list.rules)
  end
  for _, block in ipairs(self.settled) do
    add_backoff(self, block)
  end
  for _, provider in ipairs(self.providers) do
    if provider.block and not provider.block.reactions then
      add_backoff(self, provider.block)
    end
  end
  for _, list in ipairs { self.vmtas, self.pools } do
    for _, owner in ipairs(list) do
      for _, block in ipairs(owner.settled) do
        add_backoff(self, block)
      end
    end
  end
  for _, list in ipairs(self.lists) do
    if not list.used and not list.told then
      list.told = true
      add_note(list.entry, "no <domain> uses this list")
    end
  end
end

