-- spec.runner: `sluice spec`.
-- SPDX-License-Identifier: Apache-2.0
local host = require("sluice.host")
local execute = require("spec.execute")
local find = require("spec.find")
local select_tests = require("spec.select")
local tree = require("spec.tree")

local RUN_AGAIN = -1            -- sim/spec_host.c starts anew

local function complain(...)
  io.stderr:write("sluice: ", string.format(...), "\n")
end

-- A path as a shell takes it for one word.
local function quote(path)
  if path:find("^[%w_@%%+=:,./-]+$") then
    return path
  end
  return "'" .. path:gsub("'", "'\\''") .. "'"
end

local function sim_runner()
  local sim = package.loaded["sluice.sim"]
  return type(sim) == "table" and sim._runner or nil
end

local function set_seed(seed)
  host.seed = seed              -- and host.coverage: sluice.sim reads them
  math.randomseed(seed)
  if sim_runner() then
    sim_runner().seed(seed)
  end
end

local function load_file(run, path)
  return tree.load(path, function(file, chunk) return execute.guard(run, file, chunk) end)
end

-- All files with one seed.
local function run_files(run, paths, asked, options)
  local order = { unpack(paths) }
  set_seed(run.seed)
  if options.shuffle then
    select_tests.shuffle(order)
  end
  for _, path in ipairs(order) do
    if run.stopped then
      return
    end
    math.randomseed(run.seed)
    local file = load_file(run, path)
    run.selected = run.selected + select_tests.mark(file.root, asked)
    math.randomseed(run.seed)
    select_tests.order(file.root, options.shuffle)
    run.out.file(path)
    execute.file(run, file)
    for _, module in ipairs(file.modules) do
      run.modules[#run.modules + 1] = module
    end
    tree.unload(file)
  end
end

local function coverage()
  local runner = sim_runner()
  if not runner then
    return {}
  end
  local fine, rows = pcall(runner.coverage)
  if not fine then
    complain("coverage: %s", tostring(rows))
  end
  return fine and rows or {}
end

local function new_run(options)
  -- The spec's own words go where they spoil no report.
  if options.output ~= "pretty" then
    function print(...)
      local parts = {}
      for i = 1, select("#", ...) do
        parts[i] = tostring((select(i, ...)))
      end
      io.stderr:write(table.concat(parts, "\t"), "\n")
    end
    io.output(io.stderr)
  end
  return {
    host = host, timeout_s = options.timeout_s, seed = options.seed, fail_fast = options.fail_fast, quote = quote,
    totals = { passed = 0, failed = 0, pending = 0 }, selected = 0, modules = {},
  }
end

local function run_all(paths, asked, options)
  local run = new_run(options)
  run.progress = require("spec.progress")(host, run.totals)
  run.out = require("spec.output_" .. options.output)(host, options)
  local began = host.now()
  for i = 1, options.repeat_n do
    run.seed = options.seed + i - 1
    run_files(run, paths, asked, options)
    if run.stopped then
      break
    end
  end
  run.progress.clear()
  run.out.finish {
    passed = run.totals.passed, failed = run.totals.failed, pending = run.totals.pending, seed = options.seed,
    seconds = host.now() - began, coverage = options.coverage and coverage() or nil,
  }
  local ran = run.totals.passed + run.totals.failed + run.totals.pending
  if ran == 0 then
    complain(#paths == 0 and "no spec was found (files are called *_spec.lua)" or "no test was asked for, or there is none")
  end
  return run.totals.failed == 0 and ran > 0 and 0 or 1, run.modules
end

local function list_caught(file, caught)
  io.stderr:write(("%s%s: %s\n"):format(file.path, caught.line and ":" .. caught.line or "", caught.text))
end

-- The number of what could not be loaded.
local function list_block(file, block)
  local broken = block.caught and 1 or 0
  if block.caught then
    list_caught(file, block.caught)
  end
  for _, child in ipairs(block.children) do
    if child.kind == "block" then
      broken = broken + list_block(file, child)
    elseif child.selected then
      io.stdout:write(("%s:%d: %s\n"):format(file.path, child.line or 0, child.title:gsub("%c", " ")))
    end
  end
  return broken
end

local function list_all(paths, asked, options)
  local run, broken = new_run(options), 0
  set_seed(options.seed)
  for _, path in ipairs(paths) do
    local file = load_file(run, path)
    run.selected = run.selected + select_tests.mark(file.root, asked)
    file.root.caught = file.caught
    broken = broken + list_block(file, file.root)
    tree.unload(file)
  end
  return run.selected > 0 and broken == 0 and 0 or 1
end

return function(options)
  host.coverage = options.coverage
  local asked, problem = select_tests.by(options)
  if not asked then
    complain("%s", problem)
    return 2
  end
  local paths, missing = find.specs(host, options.paths)
  if not paths then
    complain("%s: no such file or folder", missing)
    return 2
  elseif options.list then
    return list_all(paths, asked, options)
  end
  local status, modules = run_all(paths, asked, options)
  if not options.watch then
    return status
  end
  io.stdout:flush()
  require("spec.watch")(host, options.paths, modules)
  return RUN_AGAIN
end
