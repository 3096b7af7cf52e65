-- cold: who warms up for whom.
--
-- In PowerMTA the first messages of a day to a domain that are for the warm virtual MTA leave by the cold one. Here
-- it is the cold one that has the day's number, and what is more goes by the warm one: so mail that names the warm
-- one is given to the cold one first (pmta.hook), and a pool that holds the one gets the other.
-- SPDX-License-Identifier: Apache-2.0
local policy = require "pmta.policy"

local quote, add_note = policy.quote, policy.add_note

local function wrong(self, holder, why, verdict)
  local cold = holder.cold
  cold.entry.verdict, cold.entry.becomes = verdict or "error", nil
  add_note(cold.entry, why)
  self:keep(holder, cold.s, why)
end

-- The plan for all domains, or that of the first provider that has one, and of those that have the same.
local function plan_of(self, holder)
  local days, names
  for _, blocks in ipairs { holder.settled, self.settled } do
    for _, block in ipairs(blocks) do
      if block.patterns[1] == "*" and block.cold_days and not days then
        days = block.cold_days
      end
    end
  end
  for _, blocks in ipairs { days and {} or holder.settled, days and {} or self.settled } do
    for _, block in ipairs(blocks) do
      local own = block.cold_days
      if own and own.value ~= "off" and block.provider and (not names or own.value == days.value) then
        days, names = days or own, names or {}
        names[#names + 1] = not names[block.provider.name] and quote(block.provider.name) or nil
        names[block.provider.name] = true
      end
    end
  end
  return days, names
end

local function is_member(pool, name)
  for _, member in ipairs(pool.names) do
    if member.name == name then
      return true
    end
  end
  return false
end

-- Only into one: of several pools one alone may have limits.
local function into_pool(self, warm, cold)
  local home
  for _, pool in ipairs(self.pools) do
    home = home or (is_member(pool, cold.name) and pool)
  end
  for _, pool in ipairs(self.pools) do
    if (pool == warm or is_member(pool, warm.name)) and not home then
      pool.names[#pool.names + 1] = { name = cold.name }
      home = pool
      add_note(warm.cold.entry, "a member of the pool " .. pool.name .. " from now on")
    elseif (pool == warm or is_member(pool, warm.name)) and home ~= pool then
      add_note(warm.cold.entry, "is in the pool " .. home.name .. ": mail for " .. pool.name .. " does not warm it up")
    end
  end
end

local function settle(self, holder)
  local cold = self.senders[holder.cold.name]
  if not cold or cold.word ~= "vmta" then
    return wrong(self, holder, cold and "is a pool: a virtual MTA warms up" or "no such virtual MTA")
  elseif cold == holder or cold.cold then
    return wrong(self, holder, "is itself a warm one")
  elseif cold.by.warmup then
    return wrong(self, holder, "warms up for another already", "unsupported")
  end
  local days, names = plan_of(self, holder)
  if not days or days.value == "off" then
    return wrong(self, holder, "no max-cold-virtual-mta-msg says how many a day, for all domains or for a provider", "unsupported")
  end
  days.used = true
  local text = ("{ start = %s, per_day = %s, %soverflow = %s }"):format(quote(self.options.written or "1970-01-01"), days.value,
    names and "provider = { " .. table.concat(names, ", ") .. " }, " or "", quote(holder.name))
  self:add(cold, { lead = {}, line = holder.cold.s.line }, "warmup", text, holder.cold.entry)
  add_note(holder.cold.entry, "the day that the file was last changed is taken for the first: see to start")
  into_pool(self, holder, cold)
  if holder.word == "vmta" then
    self.first_by = self.first_by or {}
    self.first_by[#self.first_by + 1] = { name = "[" .. quote(holder.name) .. "]", value = quote(cold.name) }
    self.first_by[holder.name] = cold.name
  end
end

-- Plans that nobody took.
local function leave_rest(self, blocks, holder)
  for _, block in ipairs(blocks) do
    local days = block.cold_days
    if days and not days.used and days.value ~= "off" then
      local same
      for _, other in ipairs(self.used_plans) do
        same = same or other == days.value
      end
      if not (same and block.provider) then
        days.used, days.entry.verdict, days.entry.becomes = true, "unsupported", nil
        local why = #self.used_plans == 0 and "no cold-virtual-mta that it would be for" or
          "a virtual MTA has one plan: for all domains, or for providers"
        add_note(days.entry, why)
        self:keep(block, days.s, why)
      end
    end
  end
end

return function(self)
  for _, holder in ipairs(self.colds) do
    settle(self, holder)
  end
  self.used_plans = {}
  for _, vmta in ipairs(self.vmtas) do
    local item = vmta.by.warmup
    self.used_plans[#self.used_plans + 1] = item and item.value:match("per_day = ({.-})")
  end
  leave_rest(self, self.settled)
  for _, list in ipairs { self.vmtas, self.pools } do
    for _, owner in ipairs(list) do
      leave_rest(self, owner.settled)
    end
  end
end
