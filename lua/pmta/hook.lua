-- hook: X-Virtual-MTA, X-Job, X-Envid and a source's default as an on.message.
-- SPDX-License-Identifier: Apache-2.0
local policy = require "pmta.policy"

local quote, add_note = policy.quote, policy.add_note

local function wants(self, name)
  for _, source in ipairs(self.sources) do
    if source.set[name] and source.set[name].value == "true" then
      return source
    end
  end
end

local function default_sender(self)
  local found
  for _, source in ipairs(self.sources) do
    local held = source.set["default-virtual-mta"]
    if held then
      local name = policy.sender_name(held.value)
      if not self.senders[name] then
        held.entry.becomes = nil
        held.entry.verdict = held.value == "by-smtp-source-ip" and "unsupported" or "error"
        add_note(held.entry, held.value == "by-smtp-source-ip" and "msg.session.local_address tells a hook which address was called" or
                 "no such virtual MTA or pool")
      elseif found and found ~= name then
        held.entry.verdict = "unsupported"
        add_note(held.entry, "one default for all sources: " .. found .. "; a hook can tell clients apart by msg.source")
      else
        found = found or name
      end
    end
  end
  return found ~= "default" and found or nil
end

local function write_names(self, w)
  w:line("-- What the header X-Virtual-MTA may name.")
  w:line("local senders = {")
  local rows = {}
  for _, list in ipairs { self.vmtas, self.pools } do
    for _, sender in ipairs(list) do
      rows[#rows + 1] = { name = "[" .. quote(sender.name) .. "]", value = quote(sender.word) }
    end
  end
  w:run(rows, "  ")
  w:line("}")
  w:blank()
  if self.first_by then
    w:line("-- Who warms up for whom: it gets the mail first, and the rest of the day goes by the one that is named.")
    w:line("local first_by = {")
    w:run(self.first_by, "  ")
    w:line("}")
    w:blank()
  end
end

return function(self, w)
  local by_header, job, envid = wants(self, "process-x-virtual-mta"), wants(self, "process-x-job"), wants(self, "process-x-envid")
  local default = default_sender(self)
  local first_by = self.first_by
  default = default or (first_by and first_by["default"] and "default") or nil
  if default and first_by and first_by[default] then
    default = first_by[default]
  end
  if not (by_header or job or envid or default) then
    return
  end
  self.hook = { by_header = by_header, default = default }
  w:blank()
  if by_header then
    write_names(self, w)
  end
  w:line("on.message(function(msg)")
  if by_header then
    w:line('  local name = msg:header "X-Virtual-MTA"')
    w:line("  if name then")
    w:line('    if not senders[name] then return reject "550 5.5.0 no such virtual MTA" end')
    if first_by then
      w:line("    name = first_by[name] or name")
    end
    w:line("    msg[senders[name]] = name")
    if not wants(self, "retain-x-virtual-mta") then
      w:line('    msg:remove_header "X-Virtual-MTA"')
    end
    if default then
      w:line("  else")
      w:line(("    msg.%s = %s"):format(self.senders[default].word, quote(default)))
    end
    w:line("  end")
  elseif default then
    w:line(("  msg.%s = %s"):format(self.senders[default].word, quote(default)))
  end
  if job then
    local header = job.set["jobid-header"] and job.set["jobid-header"].value or "X-Job"
    w:line(("  msg.job = msg:header(%s)"):format(quote(header)))
    if not wants(self, "retain-x-job") then
      w:line(("  msg:remove_header(%s)"):format(quote(header)))
    end
  end
  if envid then
    w:line('  msg.envid = msg:header "X-Envid"')
    w:line('  msg:remove_header "X-Envid"')
  end
  w:line("end)")
end
