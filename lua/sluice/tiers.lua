-- sluice.tiers: settings that come in three tiers of the sender's reputation.
--
-- `tiers(provider, "google") { … }` is written as the declaration itself, with a
-- table of settings more for each tier, and gives a function of options: called
-- with { tier = "warming" }, it declares what holds for every tier and that one's.
-- SPDX-License-Identifier: Apache-2.0
local _, nearest = ...

local names = { "high", "medium", "warming" }
local is_tier = { high = true, medium = true, warming = true }

-- Level 1 is here, 2 the module's function, 3 who gave the options.
local function refuse(depth, ...)
  error(string.format(...), 4 + depth)
end

local function guess(word, words)
  local near = type(word) == "string" and nearest(word, words)
  return near and " (" .. near .. "?)" or ""
end

local function check(what, options, words, depth)
  if options == nil then
    return
  elseif type(options) ~= "table" then
    refuse(depth, '%s: %s will not do: write { tier = "medium" }', what, type(options))
  end
  for key, value in pairs(options) do
    local known = false
    for _, word in ipairs(words) do
      known = known or word == key
    end
    if not known then
      refuse(depth, "%s: %s: no such option%s", what, tostring(key), guess(key, words))
    elseif not is_tier[value] then
      refuse(depth, '%s: %s: %s is no tier%s: write "high", "medium" or "warming"', what, key,
        type(value) == "string" and '"' .. value .. '"' or tostring(value), guess(value, names))
    end
  end
end

local tiers = {}

-- For modules that take more options of the same kind; words are their names. Called from the module's function.
function tiers.check(what, options, words)
  check(what, options, words, 1)
end

-- The parts' fields in one table, a later part's over an earlier one's; `__from`
-- tells the loader where to look for their lines.
local function merge(...)
  local all = {}
  for _, part in ipairs { ... } do
    for key, value in pairs(part) do
      if not is_tier[key] then
        all[key] = value
      end
    end
  end
  return setmetatable(all, { __from = { ... } })
end

local function tiered(_, declare, name)
  return function(settings)
    -- depth: how many calls lie between the policy and this one.
    return function(options, depth)
      check(name == "*" and "everybody" or name, options, { "tier" }, depth or 0)
      local tier = options and options.tier or "medium"
      declare(name)(merge(settings, settings[tier]))
    end
  end
end

return setmetatable(tiers, { __call = tiered })
