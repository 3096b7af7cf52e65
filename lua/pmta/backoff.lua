-- backoff: lists of patterns and the values of backoff mode as reactions.
--
-- PowerMTA has one backoff mode a queue, with the queue's backoff-… values; here each rule bears them itself.
-- SPDX-License-Identifier: Apache-2.0
local values = require "pmta.values"

local backoff = {}

local quote = values.quote

-- What the regular expression between slashes says as a pattern here, or why it is none.
function backoff.pattern(text)
  local body, rest = text:match("^/(.*)/%s*(.*)$")
  if not body then
    body, rest = text:match('^"(.-)"%s*(.*)$')
  end
  if not body then
    return nil, "write /pattern/ action,action"
  end
  -- A slash within the pattern may be escaped: the last one is the end.
  if rest ~= "" and not rest:match("^[%a%-]+[=,%w%-]*") then
    return nil, "write /pattern/ action,action"
  end
  body = body:gsub("\\/", "/")
  if body == "" then
    return nil, "the pattern is empty"
  elseif #body > 1000 or body:find("%c") then
    return nil, "the pattern is longer than 1000 bytes, or has a control character"
  elseif not host.valid("regex", body) then
    return nil, "PCRE2 does not take this pattern"
  end
  return body, rest
end

local PLAIN = { ["skip-mx"] = "skip_mx", ["defer-queue"] = "defer" }

-- One action into rule.actions; what is wrong with it, if anything is.
local function add_action(rule, word)
  local name, value = word:match("^([%w%-]+)=(.+)$")
  name = (name or word):lower()
  if name == "mode" and (value == "backoff" or value == "normal") then
    if rule.mode then
      return "one mode a rule"
    end
    rule.mode = value
  elseif name == "backoff-to-normal-after" or name == "reenable-after" then
    local key = name == "reenable-after" and "reenable" or "lasts"
    if key == "lasts" and rule.mode ~= "backoff" or key == "reenable" and not rule.disable then
      return name .. " belongs behind " .. (key == "lasts" and "mode=backoff" or "disable-source-ip")
    elseif rule[key] then
      return name .. " stands twice"
    end
    local text, why = values.duration_or_never(value or "")
    if not text then
      return why
    end
    rule[key] = text
  elseif name == "disable-source-ip" then
    rule.disable = true
  elseif name == "bounce-queue" then
    rule.bounce = "queue"
  elseif name == "bounce-rcpt" then
    rule.bounce = rule.bounce or "recipient"
  elseif PLAIN[name] then
    rule[PLAIN[name]] = true
  else
    return "no such action: " .. word
  end
end

-- The rule that a line `reply /regex/ actions` is, or why it is none.
function backoff.parse(text)
  local pattern, rest = backoff.pattern(text)
  if not pattern then
    return nil, rest
  end
  local rule = { pattern = pattern }
  for word in rest:gmatch("[^,%s]+") do
    local why = add_action(rule, word)
    if why then
      return nil, why
    end
  end
  if rule.skip_mx and rule.bounce == "queue" then
    return nil, "skip-mx and bounce-queue exclude each other"
  elseif not (rule.mode or rule.disable or rule.bounce or rule.skip_mx or rule.defer) then
    return nil, "has no action"
  end
  return rule
end

-- 421 RP-001 *, 1h, 5, 1000
function backoff.seed_rule(statement)
  local text = statement.text:gsub("%s*%*+%s*$", "")
  local lasts, why = values.duration(statement.lasts)
  local sessions = values.count(statement.sessions)
  local rate = values.hourly(statement.rate)
  if not lasts or not sessions or not rate then
    return nil, why or "write CODE TEXT *, time, connections, messages an hour"
  end
  local escaped = text:gsub("[%^%$%.%[%]%|%(%)%?%*%+%{%}\\]", "\\%0")
  local pattern = statement.code .. (escaped ~= "" and " " .. escaped or "")
  if #pattern > 1000 or pattern:find("%c") or not host.valid("regex", pattern) then
    return nil, "this text makes no pattern"
  end
  local fields = { quote(pattern), "lasts = " .. lasts }
  if sessions ~= '"unlimited"' then
    fields[#fields + 1] = "max_smtp_out = " .. sessions
  end
  if rate ~= '"unlimited"' then
    fields[#fields + 1] = "max_msg_rate = " .. rate
  end
  if #fields == 2 then
    return nil, "lays no limit"
  end
  return "{ " .. table.concat(fields, ", ") .. " }"
end

-- What of backoff mode a rule lays. `own` holds the queue's backoff-… values by what they become.
local function mode_fields(rule, own, fields)
  local lasts = rule.lasts or own.lasts or (own.until_delivery == "true" and '"1h"') or '"forever"'
  fields[#fields + 1] = "lasts = " .. lasts
  local sessions = own.max_smtp_out
  if not sessions and (tonumber(own.normal_max_smtp_out) or 0) > 20 then
    sessions = "20"                     -- PowerMTA's default in backoff mode
  end
  for _, pair in ipairs { { "max_smtp_out", sessions }, { "max_connect_rate", own.max_connect_rate },
                          { "max_msg_rate", own.max_msg_rate } } do
    if pair[2] and pair[2] ~= '"unlimited"' then
      fields[#fields + 1] = pair[1] .. " = " .. pair[2]
    end
  end
  fields[#fields + 1] = "retry_after = " .. (own.retry_after or '"1h"')
  if own.reroute then
    fields[#fields + 1] = "reroute = " .. own.reroute
  end
end

-- The rules, as Lua text, that one line of a list is for a queue with these values.
function backoff.render(rule, own)
  local head, out = quote(rule.pattern), {}
  if rule.mode == "normal" then
    out[1] = "{ " .. head .. ", function(reply, queue) queue:lift() end }"
  end
  local fields = { head }
  if rule.mode == "backoff" then
    mode_fields(rule, own, fields)
  end
  if rule.bounce then
    if rule.bounce == "recipient" then
      fields[#fields + 1] = 'at = "rcpt"'
    end
    fields[#fields + 1] = ("bounce = %q"):format(rule.bounce)
  end
  for _, flag in ipairs { "skip_mx", "defer" } do
    if rule[flag] then
      fields[#fields + 1] = flag .. " = true"
    end
  end
  local disable = { "lasts = " .. (rule.reenable or own.reenable or '"forever"'), "disable_source = true" }
  if #fields > 1 then
    if rule.stop then
      fields[#fields + 1] = "stop = true"
    end
    -- Each with an end of its own; the one that stops comes last.
    if rule.disable then
      out[#out + 1] = "{ " .. head .. ", " .. table.concat(disable, ", ") .. " }"
    end
    out[#out + 1] = "{ " .. table.concat(fields, ", ") .. " }"
  elseif rule.disable then
    out[#out + 1] = "{ " .. head .. ", " .. table.concat(disable, ", ") .. (rule.stop and ", stop = true" or "") .. " }"
  end
  return out
end

local function outcome(rule)
  return rule.mode and rule.mode .. (rule.lasts or "") or nil
end

-- Of entries that contradict each other the first wins in PowerMTA; here all rules that match apply, unless one stops.
function backoff.mark_conflicts(rules)
  local seen_mode, seen_way = {}, {}
  for i = #rules, 1, -1 do
    local rule = rules[i]
    local mode = outcome(rule)
    local way = rule.skip_mx and "skip" or rule.bounce
    for other in pairs(seen_mode) do
      rule.stop = rule.stop or (mode ~= nil and other ~= mode)
    end
    for other in pairs(seen_way) do
      rule.stop = rule.stop or (way ~= nil and other ~= way)
    end
    if mode then
      seen_mode[mode] = true
    end
    if way then
      seen_way[way] = true
    end
  end
end

return backoff
