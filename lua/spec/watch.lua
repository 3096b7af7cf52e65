-- spec.watch: waits until something that a run depends on has changed.
--
-- That is the specs, the modules beside them, and the policies: what a spec names as
-- "….lua", and the files of the same folder, since a policy requires others.
--
-- SPDX-License-Identifier: Apache-2.0
local find = require("spec.find")

local LOOK_S = 0.2
local FILE_MAX = 4 * 1024 * 1024

local function named_folders(host, path, folders)
  local file = io.open(path)
  local said = file and file:read(FILE_MAX) or ""
  if file then
    file:close()
  end
  for name in said:gmatch("[\"']([^\"'\n]+%.lua)[\"']") do
    if host.stat(name) == "file" then
      folders[name:match("^(.*)/") or "."] = true
    end
  end
end

-- What all of it looks like now, as one text.
local function look(host, paths, modules)
  local files, folders, lines = find.specs(host, paths) or {}, {}, {}
  for _, module in ipairs(modules) do
    files[#files + 1] = module
  end
  for _, path in ipairs(files) do
    named_folders(host, path, folders)
  end
  for folder in pairs(folders) do
    for _, path in ipairs(find.below(host, folder, ".lua")) do
      files[#files + 1] = path
    end
  end
  for _, path in ipairs(files) do
    local _, stamp = host.stat(path)
    lines[#lines + 1] = path .. " " .. (stamp or "gone")
  end
  return table.concat(lines, "\n")
end

return function(host, paths, modules)
  local before = look(host, paths, modules)
  io.stderr:write("waiting for a change (Ctrl-C ends)\n")
  local last = before
  repeat
    host.pause(LOOK_S)
    local now = look(host, paths, modules)
    local quiet = now == last
    last = now
  until now ~= before and quiet
end
