-- values: a value of PowerMTA's as Lua text, or why it is none. What the loader accepts is asked of the loader (valid).
-- SPDX-License-Identifier: Apache-2.0
local values = {}

local valid = host.valid         -- valid(kind, text): nil where the loader of policies does not take the text; else its normal form

local TRUE = { yes = true, ["true"] = true, on = true, ["1"] = true }
local FALSE = { no = true, ["false"] = true, off = true, ["0"] = true }
local UNITS = { w = 604800, d = 86400, h = 3600, m = 60, s = 1 }

local function quote(text)
  local body = text:gsub("[%c\\\"]", function(c)
    if c == "\\" or c == '"' then
      return "\\" .. c
    end
    return ("\\%03d"):format(c:byte())
  end)
  return '"' .. body .. '"'
end
values.quote = quote

function values.unquote(text)
  local inner = text:match('^"(.*)"$')
  if not inner then
    return text
  end
  return (inner:gsub("\\(.)", "%1"))
end

function values.bool(text)
  text = text:lower()
  if TRUE[text] then
    return "true"
  elseif FALSE[text] then
    return "false"
  end
  return nil, "write yes or no"
end

function values.not_bool(text)
  local value, why = values.bool(text)
  if not value then
    return nil, why
  end
  return value == "true" and "false" or "true"
end

function values.no_mx(text)
  if text:lower() == "never" then
    return "false"
  end
  local value = values.bool(text)
  if value then
    return value
  elseif valid("duration", text:lower()) then
    return "true", nil, "at once; PowerMTA waited " .. text .. " for an MX"
  end
  return nil, "write yes, no or a time"
end

function values.count(text)
  if text:lower() == "unlimited" then
    return '"unlimited"'
  end
  local digits = text:match("^0*(%d+)$")
  if not digits or #digits > 9 then
    return nil, "write a whole number"
  elseif digits == "0" then
    return nil, "0 could mean none or no limit: write unlimited, or paused = true in the policy"
  end
  return digits
end

-- Where the guide says that 0 is no limit.
function values.count0(text)
  if text:match("^0+$") then
    return '"unlimited"'
  end
  return values.count(text)
end

-- Of a message that comes in.
function values.rcpt_in(text)
  local n = text:match("^0*%d%d?%d?%d?%d?$") and tonumber(text) or text:match("^%d+$") and 0 or text:lower() == "unlimited" and 0
  if not n then
    return nil, "write a whole number"
  elseif n < 1 or n > 65535 then
    return "65535", nil, "a message may have at most 65535"
  end
  return ("%d"):format(n)
end

function values.percent(text)
  local n = tonumber(text:match("^(%d%d?%d?)%%?$"))
  if not n or n < 1 or n > 100 then
    return nil, "write a percent from 1 to 100"
  end
  return quote(n .. "%")
end

function values.port(text)
  local n = text:match("^%d%d?%d?%d?%d?$") and tonumber(text)
  if not n or n < 1 or n > 65535 then
    return nil, "write a port from 1 to 65535"
  end
  return ("%d"):format(n)
end

-- "10/minute", "1200/H": the units that are meant.
local function tidy_rate(text)
  local count, times, unit = text:lower():match("^(%d+)/(%d*)(%a+)$")
  if not count then
    return text:lower()
  end
  local units = { hour = "h", hours = "h", hr = "h", minute = "m", minutes = "m", min = "m", second = "s", seconds = "s", sec = "s",
                  days = "d", day = "day" }
  return ("%s/%s%s"):format(count, times, units[unit] or unit)
end

function values.rate(text)
  local lower = text:lower()
  if lower == "unlimited" or lower:match("^0+$") or lower:match("^0+/") then
    return '"unlimited"'
  end
  local rate = tidy_rate(text)
  if not valid("rate", rate) then
    return nil, "write a rate such as 400/h"
  end
  return quote(rate)
end

-- max-msg-per-hour N
function values.hourly(text)
  if text:find("/") then
    return values.rate(text)
  elseif text:match("^0+$") or text:lower() == "unlimited" then
    return '"unlimited"'
  end
  local count, why = values.count(text)
  return count and quote(count .. "/h"), why
end

local function seconds_of(text)
  local total, at = 0, 1
  while at <= #text do
    local digits, unit, after = text:match("^(%d+)([wdhms])()", at)
    if not digits or #digits > 9 then
      return nil
    end
    total = total + tonumber(digits) * UNITS[unit]
    at = after
  end
  return total
end

-- The text that the loader takes: units in order, each once.
local function duration_text(text)
  text = text:lower()
  if text:match("^0*[1-9]%d*$") then
    text = text:match("^0*(%d+)$") .. "s"
  end
  if valid("duration", text) then
    return text
  end
  local left = seconds_of(text)
  if not left or left <= 0 or left > 315360000 then
    return nil
  end
  local out = {}
  for _, unit in ipairs { "w", "d", "h", "m", "s" } do
    local n = math.floor(left / UNITS[unit])
    if n > 0 then
      out[#out + 1] = ("%d%s"):format(n, unit)
    end
    left = left - n * UNITS[unit]
  end
  return table.concat(out)
end

function values.duration(text)
  local note = text:match("^%d+$") and "taken as seconds" or nil
  if text:lower() == "never" then
    return '"520w"', nil, "never: ten years here"
  end
  local tidy = duration_text(text)
  if not tidy then
    return nil, text:match("^0*%a?$") and "0 is no time here" or "write a time such as 30m or 1h30m"
  end
  return quote(tidy), nil, note
end

function values.duration_or_never(text)
  if text:lower() == "never" then
    return '"forever"'
  end
  return values.duration(text)
end

function values.durations(text)
  local list = {}
  for part in text:gmatch("[^,%s]+") do
    local tidy = duration_text(part)
    if not tidy or #list == 30 then
      return nil, "write times such as 10m,20m,1h: at most 30"
    end
    list[#list + 1] = quote(tidy)
  end
  if #list == 0 then
    return nil, "write a time such as 30m"
  elseif #list == 1 then
    return list[1], nil, text:match("^%d+$") and "taken as seconds" or nil
  end
  return "{ " .. table.concat(list, ", ") .. " }"
end

-- max-cold-virtual-mta-msg: the days of a warm-up.
function values.per_day(text)
  local days = {}
  for part in text:gmatch("[^,%s]+") do
    local digits = part:lower():match("^0*(%d+)/1?da?y?$") or part:match("^0*(%d+)$")
    if not digits or #digits > 9 or #days == 366 then
      return nil, "write how many on each day: 50/day,100/day, at most 366 days"
    end
    days[#days + 1] = digits
  end
  if #days == 0 then
    return nil, "write how many on each day: 50/day,100/day"
  elseif #days == 1 and days[1] == "0" then
    return "off"
  end
  for _, digits in ipairs(days) do
    if digits == "0" then
      return nil, "a day of 0 among others: begin with the first that sends"
    end
  end
  return "{ " .. table.concat(days, ", ") .. " }"
end

function values.size(text)
  if text:lower() == "unlimited" then
    return nil, "a size must be written"
  end
  local digits, unit = text:lower():match("^(%d+)([bkmgt]?)b?$")
  local size = digits and digits .. (unit == "b" and "" or unit:upper())
  if not size or size:match("^0+%a?$") or not valid("size", size) then
    return nil, "write a size such as 25M"
  end
  return size:match("^%d+$") and size or quote(size)
end

function values.size0(text)
  if text:match("^0+$") then
    return "0"
  end
  return values.size(text)
end

function values.host(text)
  local name = valid("domain", text)
  if not name or name:find("[", 1, true) then
    return nil, "write a host name"
  end
  return quote(name)
end

function values.ip(text)
  local address = valid("ip", text:match("^%[(.*)%]$") or text)
  if not address then
    return nil, "write an address"
  end
  return quote(address)
end

function values.pattern(text)
  local pattern = valid("pattern", text)
  if not pattern then
    return nil, "write a domain, *.domain, [*.]domain or *"
  end
  return quote(pattern)
end

-- One host of smtp-hosts: "mx.example.com:25", "[192.0.2.1]", "[IPv6:2001:db8::1]:25".
local function host_text(text)
  local literal, port = text:match("^%[(.-)%](.*)$")
  local host = text
  if literal then
    host = literal:gsub("^[Ii][Pp][Vv]6:", "")
    if not valid("ip", host) then
      return nil
    end
    host = "[" .. host .. "]"
  else
    host, port = text:match("^([^:]+)(.*)$")
    if not host or not (valid("domain", host) or valid("ip", host)) then
      return nil
    end
  end
  if port == "" then
    return host
  end
  local number = values.port(port:match("^:(%d+)$") or "")
  return number and host .. ":" .. number
end

function values.hosts(text)
  local out, n = {}, 0
  for group in text:gmatch("[^;]+") do
    local hosts = {}
    for word in group:gmatch("[^,%s]+") do
      local host = host_text(word)
      n = n + 1
      if not host or n > 100 then
        return nil, word:find("lookup-mx:", 1, true) and "a look-up of another domain's MX is not there: write its hosts"
          or "write hosts such as mx.example.com, [192.0.2.1]:25"
      end
      hosts[#hosts + 1] = host
    end
    if #hosts > 0 then
      out[#out + 1] = table.concat(hosts, ",")
    end
  end
  if #out == 0 then
    return nil, "write hosts such as mx.example.com, [192.0.2.1]:25"
  end
  return quote(table.concat(out, ";"))
end

function values.word(text)
  return quote(text)
end
values.text, values.rest = values.word, values.word

return values
