-- spec.select: which tests of a tree run, and in what order.
-- SPDX-License-Identifier: Apache-2.0
local select_tests = {}

local function words(list)
  local found = {}
  for word in (list or ""):gmatch("[^,%s]+") do
    found[#found + 1] = (word:gsub("^#", ""))
  end
  return found
end

local function has_tag(title, tags)
  for _, tag in ipairs(tags) do
    if (title .. " "):find("#" .. tag:gsub("%p", "%%%0") .. "[^%w_%-]") then
      return true
    end
  end
  return false
end

-- A function that says of a title whether it was asked for; nil and why not.
function select_tests.by(options)
  local wanted, unwanted, filter = words(options.tags), words(options.exclude_tags), options.filter
  if filter then
    local fine, problem = pcall(string.find, "", filter)
    if not fine then
      return nil, ("--filter: no Lua pattern: %s (%s)"):format(filter, problem:gsub("^[^\n]-:%d+: ", ""))
    end
  end
  return function(title)
    return (not filter or title:find(filter) ~= nil)
      and (#wanted == 0 or has_tag(title, wanted))
      and not has_tag(title, unwanted)
  end
end

-- Marks what is asked for; the number of it.
function select_tests.mark(block, asked)
  local n = 0
  for _, child in ipairs(block.children) do
    if child.kind == "test" then
      child.selected = asked(child.title)
      n = n + (child.selected and 1 or 0)
    else
      n = n + select_tests.mark(child, asked)
    end
  end
  block.selected = n
  return n
end

function select_tests.shuffle(list)
  for i = #list, 2, -1 do
    local j = math.random(i)
    list[i], list[j] = list[j], list[i]
  end
end

-- Blocks that call randomize are shuffled too, by the same seed.
function select_tests.order(block, all)
  if all or block.shuffle then
    select_tests.shuffle(block.children)
  end
  for _, child in ipairs(block.children) do
    if child.kind == "block" then
      select_tests.order(child, all or block.shuffle)
    end
  end
end

return select_tests
