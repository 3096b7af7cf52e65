-- spec.execute: runs the tree of a file and tells an output what came of each test.
--
-- The worlds of sluice.sim live as long as the test that made them. What they were
-- doing is asked when it fails, before after_each can change it.
--
-- SPDX-License-Identifier: Apache-2.0
local failures = require("spec.failure")
local spies = require("spec.spy")

local execute = {}

-- run: host, timeout_s, seed, out, progress, totals, fail_fast; made by spec.runner.

-- Calls fn under the time limit: true, or false and what was caught.
function execute.guard(run, file, fn)
  local fine, caught, why = run.host.call(run.timeout_s, fn, failures.handler(file))
  if why then
    local over = failures.of_text(file, why)
    over.line = over.line or type(caught) == "table" and caught.line or nil
    return false, over
  elseif not fine and type(caught) ~= "table" then
    caught = failures.of(file, caught)          -- no memory left: no handler ran
  end
  return fine, caught
end

local function worlds(run, file, word)
  local sim = package.loaded["sluice.sim"]
  local runner = type(sim) == "table" and sim._runner
  if not runner then
    return true
  end
  local lines
  local fine, caught = execute.guard(run, file, function() lines = runner[word]() end)
  return fine, caught, lines
end

local function tell(run, file, item, result)
  local failure = result.failure
  result.name, result.title, result.depth, result.file = item.title, item.name, item.depth or 0, file.path
  if failure then
    result.status = "failed"
    failure.name, failure.file, failure.seed = result.name, file.path, run.seed
    failure.line = failure.line or item.line
    failure.again = ("sluice spec --seed %d %s"):format(run.seed, run.quote(file.path))
  end
  run.totals[result.status] = run.totals[result.status] + 1
  run.progress.clear()
  run.out.result(result)
  run.stopped = run.stopped or (failure ~= nil and run.fail_fast)
end

local function call_outer_first(block, list)
  if block.parent then
    call_outer_first(block.parent, list)
  end
  for _, fn in ipairs(block[list]) do
    fn()
  end
end

-- What is to be called after a test: its own, then the blocks' from the inside out.
local function endings(file, test)
  local list = {}
  for i = #file.finally, 1, -1 do
    list[#list + 1] = file.finally[i]
  end
  local block = test.parent
  while block do
    for _, fn in ipairs(block.after_each) do
      list[#list + 1] = fn
    end
    block = block.parent
  end
  return list
end

local function run_body(run, file, test)
  local result, failure = { status = "passed" }, nil
  local function note(fine, caught)
    if fine or failure then
      return
    elseif getmetatable(caught) == failures.PENDING then
      result.status, result.reason = "pending", caught.reason
      return
    end
    failure = caught
    local _, _, lines = worlds(run, file, "report")
    failure.world = lines
  end
  note(worlds(run, file, "begin"))
  note(execute.guard(run, file, function()
    call_outer_first(test.parent, "before_each")
    test.fn()
  end))
  for _, fn in ipairs(endings(file, test)) do
    note(execute.guard(run, file, fn))
  end
  note(worlds(run, file, "finish"))
  result.failure = failure
  return result
end

local function run_test(run, file, test)
  if test.pending then
    return tell(run, file, test, { status = "pending" })
  end
  run.progress.show(test.title)
  local mark, began = spies.mark(), run.host.now()
  math.randomseed(run.seed)
  file.finally = {}
  local result = run_body(run, file, test)
  file.finally = nil
  spies.revert(mark)
  result.seconds = run.host.now() - began
  tell(run, file, test, result)
end

-- False: one of them failed, which is told as a failure of the block.
local function call_each(run, file, block, list)
  for _, fn in ipairs(block[list]) do
    local fine, caught = execute.guard(run, file, fn)
    if not fine and getmetatable(caught) ~= failures.PENDING then
      local title = (block.title ~= "" and block.title or file.path) .. " (" .. list .. ")"
      tell(run, file, { title = title, name = title, depth = block.depth }, { failure = caught })
      return false
    end
  end
  return true
end

local run_block

local function run_children(run, file, block)
  for _, child in ipairs(block.children) do
    if run.stopped then
      return
    elseif child.kind == "block" then
      child.depth = block.depth + 1
      run_block(run, file, child)
    elseif child.selected then
      child.depth = block.depth + 1
      run_test(run, file, child)
    end
  end
end

local function has_caught(block)
  for _, child in ipairs(block.children) do
    if child.kind == "block" and (child.caught or has_caught(child)) then
      return true
    end
  end
  return false
end

function run_block(run, file, block)
  if block.selected == 0 and not block.caught and not has_caught(block) then
    return
  end
  if block.parent then
    run.out.block(block)
  end
  if block.caught then
    tell(run, file, { title = block.title, name = block.name, depth = block.depth }, { failure = block.caught })
  end
  local mark = spies.mark()
  if block.selected == 0 or call_each(run, file, block, "setup") then
    run_children(run, file, block)
  end
  if block.selected > 0 then
    call_each(run, file, block, "teardown")
  end
  spies.revert(mark)
end

function execute.file(run, file)
  file.root.depth = 0
  if file.caught then
    tell(run, file, { title = file.path, name = file.path, depth = 1 }, { failure = file.caught })
  end
  if not run.stopped then
    run_block(run, file, file.root)
  end
end

return execute
