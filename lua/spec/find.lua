-- spec.find: which files a run is about.
-- SPDX-License-Identifier: Apache-2.0
local find = {}

local DEPTH_MAX = 64

local function search(host, folder, ending, found, depth)
  local names = depth < DEPTH_MAX and host.list(folder) or {}
  table.sort(names)
  for _, name in ipairs(names) do
    local path = folder:gsub("([^/])/*$", "%1/") .. name
    local kind = host.stat(path)
    if kind == "folder" then
      search(host, path, ending, found, depth + 1)
    elseif kind == "file" and name:sub(-#ending) == ending then
      found[#found + 1] = path
    end
  end
  return found
end

-- All files in a folder whose name ends so, sorted; folders that are links are left out.
function find.below(host, folder, ending)
  return search(host, folder, ending, {}, 0)
end

-- The spec files of the command line, each once; nil and a path where nothing is.
function find.specs(host, paths)
  local found, seen = {}, {}
  for _, path in ipairs(#paths > 0 and paths or { "spec" }) do
    local kind = host.stat(path)
    if not kind then
      return nil, path
    end
    for _, file in ipairs(kind == "file" and { path } or find.below(host, path, "_spec.lua")) do
      if not seen[file] then
        seen[file] = true
        found[#found + 1] = file
      end
    end
  end
  return found
end

return find
