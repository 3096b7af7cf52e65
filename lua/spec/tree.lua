-- spec.tree: a spec file becomes a tree of blocks and tests.
--
-- The bodies of describe run while the file is loaded, those of `it` later. Each
-- file has globals of its own, and so have the modules that lie beside it.
--
-- SPDX-License-Identifier: Apache-2.0
local host = require("sluice.host")
local assertions = require("spec.assert")
local failures = require("spec.failure")
local spies = require("spec.spy")
local text = require("spec.text")

local tree = {}

local hook_words = {
  before_each = "before_each", after_each = "after_each",
  setup = "setup", lazy_setup = "setup", strict_setup = "setup",
  teardown = "teardown", lazy_teardown = "teardown", strict_teardown = "teardown",
}

local function new_block(parent, name)
  return {
    kind = "block", parent = parent, name = name, title = parent and parent.title ~= "" and parent.title .. " " .. name or name,
    children = {}, before_each = {}, after_each = {}, setup = {}, teardown = {},
  }
end

local function need(word, name, fn)
  if type(name) ~= "string" then
    error(("%s: a name, then a function"):format(word), 0)
  elseif fn ~= nil and type(fn) ~= "function" then
    error(("%s: a function after the name, not a %s"):format(word, type(fn)), 0)
  end
end

-- Words that stand in the file or in a describe; `loading.at` is that place.
local function place(loading, word)
  return loading.at or error(word .. ": not inside of a test", 0)
end

local function add_block(file, loading, name, fn)
  local parent = place(loading, "describe")
  need("describe", name, fn)
  local block = new_block(parent, name)
  parent.children[#parent.children + 1] = block
  loading.at = block
  local fine, caught = xpcall(fn or function() end, failures.handler(file))
  loading.at = parent
  block.caught = not fine and caught or nil
end

local function add_test(file, loading, word, name, fn, pending)
  local parent = place(loading, word)
  need(word, name, fn)
  parent.children[#parent.children + 1] = {
    kind = "test", parent = parent, name = name, title = parent.title ~= "" and parent.title .. " " .. name or name,
    fn = fn, pending = pending or not fn, line = failures.line_in(file),
  }
end

local function add_hook(loading, word, fn)
  local list = place(loading, word)[hook_words[word]]
  if type(fn) ~= "function" then
    error(word .. ": a function, not a " .. type(fn), 0)
  end
  list[#list + 1] = fn
end

-- A file's globals, but for Lua's own.
local function vocabulary(file, loading)
  local words = { assert = assertions.assert, spy = spies.spy, stub = spies.stub, mock = spies.mock }
  for _, word in ipairs { "describe", "context", "insulate", "expose" } do
    words[word] = function(name, fn) add_block(file, loading, name, fn) end
  end
  for _, word in ipairs { "it", "test", "spec" } do
    words[word] = function(name, fn) add_test(file, loading, word, name, fn) end
  end
  for word in pairs(hook_words) do
    words[word] = function(fn) add_hook(loading, word, fn) end
  end
  function words.pending(name, fn)
    if not loading.at then
      error(setmetatable({ reason = name and tostring(name) }, failures.PENDING), 0)
    end
    add_test(file, loading, "pending", name, type(fn) == "function" and fn or nil, true)
  end
  function words.randomize(wanted)
    place(loading, "randomize").shuffle = wanted ~= false
  end
  function words.finally(fn)
    if not file.finally then
      error("finally: only inside of a test", 0)
    end
    file.finally[#file.finally + 1] = fn
  end
  words._G = words
  return setmetatable(words, { __index = _G })
end

-- What a module beside the spec is: FOLDER/a/b.lua or FOLDER/a/b/init.lua for a.b.
local function find_beside(file)
  return function(name)
    local base = file.folder .. name:gsub("%.", "/")
    for _, path in ipairs { base .. ".lua", base .. "/init.lua" } do
      if host.stat(path) == "file" then
        local chunk, problem = loadfile(path, "t", file.env)
        file.modules[#file.modules + 1] = path
        return chunk or error(problem, 0)
      end
    end
    return ("\n\tno file %s.lua"):format(base)
  end
end

local function loaded_names()
  local names = {}
  for name in next, package.loaded do
    names[name] = true
  end
  return names
end

-- A file's own modules go with it; what is embedded, or C, keeps its state.
local function forget(names)
  for _, name in ipairs(text.sorted_keys(package.loaded)) do
    if not names[name] and not package.preload[name] and not host.embedded(name) then
      package.loaded[name] = nil
    end
  end
end

-- A file, with its tests in file.root; file.caught where it could not be loaded.
-- guard(file, chunk) calls it under the time limit: true, or false and what was caught.
function tree.load(path, guard)
  local file = { path = path, source = "@" .. path, folder = path:match("^(.*/)") or "", modules = {} }
  local loading = { at = new_block(nil, "") }
  file.env, file.root, file.names = vocabulary(file, loading), loading.at, loaded_names()
  package.loaders[3] = find_beside(file)
  local chunk, problem = loadfile(path, "t", file.env)
  if not chunk then
    file.caught = failures.of_text(file, problem)
  else
    file.short = debug.getinfo(chunk, "S").short_src
    local fine, caught = guard(file, chunk)
    file.caught = not fine and caught or nil
  end
  loading.at = nil
  return file
end

function tree.unload(file)
  forget(file.names)
  package.loaders[3] = nil
end

return tree
