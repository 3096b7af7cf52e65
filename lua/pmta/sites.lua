-- sites: when all is read, which blocks are whose: domains, or providers that queue-to and roll-up make.
--
-- In PowerMTA a domain's values come from every block that matches it, and an explicit one beats one that a
-- macro made. Here a domain is declared once: blocks that name the same domain are put together.
-- SPDX-License-Identifier: Apache-2.0
local known = require "pmta.known"
local policy = require "pmta.policy"

local sites = {}

local quote, add_note = policy.quote, policy.add_note

-- Values of `from` that `to` lacks, or all of them where `from` comes later.
local function merge(to, from, override)
  for _, item in ipairs(from.items) do
    local there = item.name and to.by[item.name]
    if not there or override then
      if there then
        for i, other in ipairs(to.items) do
          if other == there then
            table.remove(to.items, i)
            break
          end
        end
      end
      to.items[#to.items + 1] = item
      if item.name then
        to.by[item.name] = item
      end
    end
  end
  for key, value in pairs(from.backoff) do
    if override or not to.backoff[key] then
      to.backoff[key] = value
    end
  end
  for _, rule in ipairs(from.rules) do
    to.rules[#to.rules + 1] = rule
  end
  for _, key in ipairs { "pattern_list", "queue_to", "queue_to_entry", "queue_to_s", "pattern_list_entry", "cold_days" } do
    if from[key] and (override or not to[key]) then
      to[key] = from[key]
    end
  end
end

-- So that what matches a domain is found without asking each block.
local function index(list)
  list.exact, list.wild = {}, {}
  for _, block in ipairs(list) do
    for _, pattern in ipairs(block.patterns) do
      if pattern:find("*", 1, true) then
        table.insert(list.wild, { block, pattern })
      else
        list.exact[pattern] = block
      end
    end
  end
  return list
end

-- Declares each pattern once: macro-made blocks give way to the explicit one.
local function settle(list)
  local of = {}
  for _, block in ipairs(list) do
    for _, pattern in ipairs(block.patterns) do
      of[pattern] = of[pattern] or {}
      table.insert(of[pattern], block)
    end
  end
  local seen, out = {}, {}
  for _, block in ipairs(list) do
    local left = {}
    for _, pattern in ipairs(block.patterns) do
      local blocks = of[pattern]
      if #blocks == 1 then
        left[#left + 1] = pattern
      elseif not seen[pattern] then
        seen[pattern] = true
        local joined = policy.new_block({ pattern }, true, nil, block.owner)
        for _, other in ipairs(blocks) do
          if not other.explicit then
            merge(joined, other, true)
          end
        end
        for _, other in ipairs(blocks) do
          if other.explicit then
            merge(joined, other, true)
            joined.lead = #joined.lead > 0 and joined.lead or other.lead
          end
        end
        joined.joined = blocks
        joined.entry = blocks[#blocks].entry
        joined.line = blocks[1].line
        out[#out + 1] = joined
      end
    end
    if #left > 0 then
      block.patterns = left
      out[#out + 1] = block
    end
  end
  return index(out)
end

local function known_provider(domain)
  for _, row in ipairs(known) do
    for _, name in ipairs(row.domains) do
      if name == domain then
        return row
      end
    end
  end
end

local function provider_named(self, name)
  local base, n = policy.sender_name(name), 1
  name = base
  while self.provider_names[name] do
    n = n + 1
    name = base .. "-" .. n
  end
  self.provider_names[name] = true
  return { type = "provider", name = name, domains = {}, mx = {} }
end

local function take_domain(self, provider, domain)
  if not self.provider_of[domain] then
    self.provider_of[domain] = provider
    provider.domains[#provider.domains + 1] = domain
    return true
  end
  return self.provider_of[domain] == provider
end

-- Where queue-to leads in the end; nil: in a circle.
local function final_target(targets, target)
  local seen = {}
  while targets[target] and targets[target] ~= target do
    if seen[target] then
      return nil
    end
    seen[target] = true
    target = targets[target]
  end
  return target
end

local function is_pseudo(target)
  return not target:find(".", 1, true) or target:match("%.queue$") or target:match("%.rollup$") or target:match("%.local$")
end

sites.is_pseudo = is_pseudo

-- The fragment of one provider: the domains that everybody knows to be its.
local function fragment_provider(self, block, target)
  local row = known_provider(target)
  local provider = provider_named(self, row and row.name or target)
  for _, domain in ipairs(row and row.domains or { target }) do
    take_domain(self, provider, domain)
  end
  provider.mx = row and row.mx or {}
  provider.block, provider.trail = block, block.queue_to_s.trail
  provider.domains_lead, provider.lead = block.queue_to_s.lead, block.lead
  provider.reach = target
  block.queue_to_entry.becomes = ("provider %s { domains = %s, … }"):format(quote(provider.name), policy.show(provider.domains))
  add_note(block.queue_to_entry, row and "the domains that are known to be " .. row.name .. "'s: look the list over" or
           "it belongs into the <domain> of each member: list them in domains")
  return provider
end

-- Fragments before the others: what a block says of the same queue goes into the fragment's provider.
local function fragments_first(blocks)
  local out = {}
  for _, fragment in ipairs { true, false } do
    for _, block in ipairs(blocks) do
      if (block.patterns[1] == "*" and not block.as_domain) == fragment then
        out[#out + 1] = block
      end
    end
  end
  return out
end

-- Providers of queue-to: a target, with every domain that is sent to it.
local function queue_to(self, blocks)
  local targets, made, out = {}, {}, {}
  for _, block in ipairs(blocks) do
    for _, pattern in ipairs(block.queue_to and block.patterns or {}) do
      targets[pattern] = block.queue_to
    end
  end
  for _, block in ipairs(fragments_first(blocks)) do
    local target = block.queue_to and final_target(targets, block.queue_to)
    if block.queue_to and not target then
      block.queue_to_entry.verdict = "error"
      add_note(block.queue_to_entry, "leads in a circle")
      block.queue_to = nil
    elseif target and block.patterns[1] == "*" and not block.as_domain then
      block.provider = made[target] or fragment_provider(self, block, target)
      if not made[target] then
        made[target] = block.provider
        out[#out + 1] = block.provider
      end
    elseif target then
      local row = known_provider(target)
      local provider = made[target]
      if not provider then
        provider = provider_named(self, row and row.name or target:gsub("%.queue$", ""))
        provider.reach, provider.lead, provider.trail, provider.line = target, block.lead, block.trail, block.line
        made[target] = provider
        out[#out + 1] = provider
        if not is_pseudo(target) then
          take_domain(self, provider, target)
        end
      end
      for _, pattern in ipairs(block.patterns) do
        if pattern:find("*", 1, true) then
          add_note(block.queue_to_entry, pattern .. ": a provider names its domains, or their MX")
          block.queue_to_entry.verdict = "unsupported"
        else
          take_domain(self, provider, pattern)
        end
      end
      block.queue_to_entry.becomes = block.queue_to_entry.becomes or ("provider %s { domains = … }"):format(quote(provider.name))
      if block.entry then
        block.entry.becomes = ("provider %s { domains = %s, … }"):format(quote(provider.name), policy.show(block.patterns))
      end
      block.provider = provider
      provider.members = provider.members or {}
      table.insert(provider.members, block)
    end
  end
  return out, made
end

-- Bare lines speak of all; what they leave open the members say.
local function fill_fragment(provider)
  for _, member in ipairs(provider.members or {}) do
    for _, item in ipairs(member.items) do
      if item.entry and item.name and provider.block.by[item.name] then
        item.entry.becomes = nil
        add_note(item.entry, "has no effect beside queue-to: the lines that stand in no block say otherwise")
      elseif item.entry then
        add_note(item.entry, "of all domains of the provider together")
      end
    end
    merge(provider.block, member, false)
  end
end

-- A member's own values count only where no block of the target says otherwise: there PowerMTA has none of them.
local function fill_provider(self, provider, blocks)
  local target
  for _, block in ipairs(blocks) do
    if not block.provider and #block.patterns == 1 and block.patterns[1] == provider.reach then
      target = block
    end
  end
  if provider.block then
    return fill_fragment(provider)
  end
  local own = target or policy.new_block({ provider.reach }, true)
  own.provider, own.provider_own = provider, true
  provider.block = own
  if target and target.entry then
    target.entry.becomes = ("provider %s { … }"):format(quote(provider.name))
  end
  provider.lead = target and #target.lead > 0 and target.lead or provider.lead
  for _, member in ipairs(provider.members or {}) do
    local is_member = false
    for _, pattern in ipairs(member.patterns) do
      is_member = is_member or pattern == provider.reach
    end
    if target and not is_member then
      for _, item in ipairs(member.items) do
        if item.entry then
          item.entry.becomes = nil
          add_note(item.entry, "has no effect beside queue-to: the queue's values are those of <domain " .. provider.reach .. ">")
        end
      end
    else
      merge(own, member, not target)
      own.tail = own.tail or member.tail
      for _, item in ipairs(target and {} or not is_member and member.items or {}) do
        if item.entry then
          add_note(item.entry, "of all domains of the provider together; PowerMTA wants it in <domain " .. provider.reach .. ">")
        end
      end
    end
  end
end

local function roll_up(self, blocks)
  local out = {}
  for _, row in ipairs(self.rollups) do
    local provider = provider_named(self, row.name)
    provider.mx, provider.reach, provider.lead, provider.trail = row.mx, row.rollup or row.of, row.lead, row.trail
    provider.unknown_mx = row.unknown_mx
    for _, domain in ipairs(row.domains) do
      take_domain(self, provider, domain)
    end
    row.provider = provider
    for _, block in ipairs(blocks) do
      if not block.provider and #block.patterns == 1 and (block.patterns[1] == row.rollup or block.patterns[1] == row.of) then
        block.provider, block.provider_own, provider.block = provider, true, block
        provider.lead = #block.lead > 0 and block.lead or provider.lead
        if block.entry then
          block.entry.becomes = ("provider %s { … }"):format(quote(provider.name))
        end
      end
    end
    out[#out + 1] = provider
  end
  return out
end

-- ---- owners ----

-- What an owner's block says, into its block for the provider.
local function give(hand, block, pattern, provider)
  hand.given[block] = provider
  if block.entry then
    block.entry.becomes = ("provider = { [%s] = { … } }"):format(quote(provider.name))
  end
  local own = hand.block_of[provider]
  if own and own ~= block then
    merge(own, block, false)
  elseif not own then
    own = policy.new_block({ pattern }, true, nil, hand.owner)
    merge(own, block, false)
    own.lead, own.trail, own.tail, own.entry, own.provider = block.lead, block.trail, block.tail, block.entry, provider
    hand.block_of[provider] = own
    hand.settled[#hand.settled + 1] = own
  end
end

-- Takes from the owner's blocks the patterns for which takes(block, pattern) is true.
local function take_patterns(owner, takes)
  for _, block in ipairs(owner.settled) do
    if not block.provider then
      local left = {}
      for _, pattern in ipairs(block.patterns) do
        if not takes(block, pattern) then
          left[#left + 1] = pattern
        end
      end
      block.patterns = left
    end
  end
end

-- What is left over of the blocks stays; one that lost all its domains and gave nothing has no effect.
local function settle_rest(hand)
  for _, block in ipairs(hand.owner.settled) do
    if block.provider or #block.patterns > 0 then
      hand.settled[#hand.settled + 1] = block
    elseif not hand.given[block] then
      for _, item in ipairs(block.items) do
        if item.entry then
          item.entry.becomes = nil
        end
      end
    end
  end
  hand.owner.settled = index(hand.settled)
end

-- What an owner says of a provider's domains: the queue is the target's, and so its block's values are. Where none
-- names the target, a member's are taken, as outside of owners.
local function give_to_providers(self, owner)
  local hand = { owner = owner, settled = {}, block_of = {}, given = {} }
  for _, block in ipairs(owner.settled) do
    if block.provider then
      hand.block_of[block.provider] = block
    end
  end
  take_patterns(owner, function(block, pattern)
    local provider = self.by_reach[pattern]
    if provider then
      give(hand, block, pattern, provider)
    end
    return provider ~= nil
  end)
  local by_target = {}
  for provider in pairs(hand.block_of) do
    by_target[provider] = true
  end
  take_patterns(owner, function(block, pattern)
    local provider = self.provider_of[pattern]
    if provider and by_target[provider] and not hand.given[block] and block.entry then
      add_note(block.entry, ("%s has no effect beside queue-to: the queue's values are those of <domain %s>"):format(pattern, provider.reach))
    elseif provider and not by_target[provider] and hand.given[block] ~= provider then
      give(hand, block, pattern, provider)
      if block.entry then
        add_note(block.entry, "of all domains of the provider together; PowerMTA wants it in <domain " .. provider.reach .. ">")
      end
    end
    return provider ~= nil
  end)
  settle_rest(hand)
end

-- The blocks of a virtual MTA or pool: by provider or by domain.
local function settle_owner(self, owner)
  owner.settled = settle(owner.blocks)
  if owner.rollup then
    -- Its limits go to what it rolls up; its name stays.
    local block = policy.new_block({ owner.rollup.of }, true, nil, owner)
    for i = #owner.items, 1, -1 do
      local item = owner.items[i]
      if item.name and item.name ~= "hostname" then
        table.remove(owner.items, i)
        table.insert(block.items, 1, item)
        block.by[item.name], owner.by[item.name] = item, nil
        item.entry.note = "at each queue of " .. owner.rollup.name .. ", as the line mx-rollup asks"
      end
    end
    block.rollup_lead, block.provider = owner.rollup_s, owner.rollup.provider
    table.insert(owner.settled, 1, block)
  end
  give_to_providers(self, owner)
  for _, block in ipairs(owner.settled) do
    if block.patterns[1] == "*" and block.entry then
      add_note(block.entry, "a named site outside beats \"*\" here, for a setting that both have")
    end
  end
end

function sites.settle(self)
  self.provider_names, self.provider_of, self.by_reach = {}, {}, {}
  if self.fragment then
    self.fragment.as_domain = self.fragment.as
  end
  self.settled = settle(self.blocks)
  local providers, made = queue_to(self, self.settled)
  for _, provider in ipairs(providers) do
    fill_provider(self, provider, self.settled)
  end
  for _, provider in ipairs(roll_up(self, self.settled)) do
    providers[#providers + 1] = provider
  end
  for _, provider in ipairs(providers) do
    self.by_reach[provider.reach] = provider
  end
  self.providers = providers
  for _, list in ipairs { self.vmtas, self.pools } do
    for _, owner in ipairs(list) do
      settle_owner(self, owner)
    end
  end
end

return sites
