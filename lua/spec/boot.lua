-- spec.boot: makes Lua's globals fit for specs, and starts the runner.
--
-- pcall, xpcall and coroutine.resume give a time limit no place to hide, and pairs
-- has an order, since a run must replay: the policies' own (prelude).
-- require finds what is embedded, C modules, and files beside the spec.
--
-- SPDX-License-Identifier: Apache-2.0
local host, options = ...

local prelude = assert(loadstring(host.embedded("prelude"), "=prelude"))(host.check, pcall, xpcall, coroutine.resume, table.sort)
pcall, xpcall, pairs = prelude.pcall, prelude.xpcall, prelude.pairs
coroutine.resume = prelude.resume

-- The limit's hook is the only one, nothing is compiled past it, and the runner ends
-- when all specs are over.
local function refuse(library, name, why)
  library[name] = function() error(why, 2) end
end
refuse(debug, "sethook", "debug.sethook: the hook is the time limit's")
refuse(jit, "on", "jit.on: the time limit does not reach into compiled code")
refuse(os, "exit", "os.exit: a spec does not end the runner")

local function find_embedded(name)
  local text = host.embedded(name)
  if not text then
    return nil
  end
  return assert(loadstring(text, "=" .. name))
end

package.loaders = { package.loaders[1], find_embedded }
package.path, package.cpath = "", ""
package.loaded["sluice.host"] = host
package.loaded["spec.boot"] = true

return require("spec.runner")(options)
