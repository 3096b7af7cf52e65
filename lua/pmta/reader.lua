-- reader: a configuration's text as statements with their places and comments.
--
-- PowerMTA wants a directive a line. Text that was pasted has lost its newlines, so a line is read on behind a
-- complete value as long as a tag or a known name follows. What a "#" hides stays hidden: it is only told.
-- SPDX-License-Identifier: Apache-2.0
local directives = require "pmta.directives"

local reader = {}

local LINE_MAX = 65536

-- Kinds whose values tell themselves from prose.
local STRICT = {
  count = "^%d+$", count0 = "^%d+$", hourly = "^%d+$", rate = "^%d+/%d*%a+$", duration = "^%d+[wdhms%d]*$",
  durations = "^%d+[wdhms,%d]*$", duration_or_never = "^%d+[wdhms%d]*$", bool = "^%a+$", not_bool = "^%a+$", port = "^%d+$",
  percent = "^%d+$", size = "^%d+%a?$",
}
local TOLD_BY_VALUE = { ["queue-to"] = "%w%.%a", ["mx-rollup"] = "%w%.%a", ["virtual-mta-pool"] = "%w%-%w", ["virtual-mta"] = "%w%-%w" }
local BOOLS = { yes = true, no = true, ["true"] = true, ["false"] = true }

local function is_value(kind, text)
  if not STRICT[kind] or not text:match(STRICT[kind]) then
    return false
  end
  return not (kind == "bool" or kind == "not_bool") or BOOLS[text:lower()] == true
end

-- The directives that a comment holds: "max-smtp-out 8". A name must have a hyphen and its value be one, for the
-- rest is prose; what a lost newline has glued before the name is cut off.
function reader.hidden(comment)
  local found = {}
  for at, word, value in comment:gmatch("()(%a[%w%-]*%-[%w%-]+)[ \t=]+([^%s<]+)") do
    for cut = 1, #word do
      local name = word:sub(cut):lower()
      local kind = name:find("-", 1, true) and directives.is_name(name) and directives.kind(name, "domain")
      local told = kind and (is_value(kind, value) or kind == "word" and BOOLS[value:lower()])
      if told or TOLD_BY_VALUE[name] and value:match(TOLD_BY_VALUE[name]) then
        found[#found + 1] = { name = name, value = value, at = at + cut - 1 }
        break
      end
    end
  end
  for at, code, rest in comment:gmatch("()%f[%d]([45]%d%d) ([^,#]-%*), ?%d+%a") do
    found[#found + 1] = { name = code .. " " .. rest, value = "", at = at }
  end
  return found
end

-- "a # b # c" into lines: only the first may stand behind a directive.
local function add_lines(out, text, is_comment)
  local first = true
  for part in (text .. " # "):gmatch("(.-)%s+#+%s") do
    if first and not is_comment then
      out[#out + 1] = part
    elseif not first and not is_comment and #out > 0 and not out[#out]:find("#", 1, true) then
      out[#out] = out[#out] .. " # " .. part
    elseif part:match("%S") then
      out[#out + 1] = "# " .. part
    end
    first = false
  end
end

-- The comment cut before each directive that it holds; what stood before the first is a comment still.
function reader.pieces(comment)
  local places, out, from = {}, {}, 1
  for _, found in ipairs(reader.hidden(comment)) do
    places[#places + 1] = found.at
  end
  if #places < 2 then
    return { comment }
  end
  table.sort(places)
  for _, at in ipairs(places) do
    add_lines(out, comment:sub(from, at - 1), from == 1)
    from = at
  end
  add_lines(out, comment:sub(from), false)
  return out
end

-- Behind a name that is not known only a tag or a name with a hyphen is taken for a beginning: the rest may be prose.
local function next_begins(rest, strange)
  if rest:match("^</?%a") or rest:match("^[45]%d%d%s[^,]*,%s*%d+%a,") then
    return true
  end
  local word = rest:match("^([^%s=<]+)")
  return word ~= nil and (not strange or word:find("-", 1, true) ~= nil) and directives.is_name(word)
end

-- How far the value goes that begins at `at`: the text, and where what follows begins.
local function take_value(code, at, kind)
  if kind == "rest" then
    local close = code:match("()%s*</[%w%-]+>%s*$", at)
    return code:sub(at, (close or #code + 1) - 1), close or #code + 1
  end
  if code:sub(at, at) == '"' then
    local stop = at + 1
    while stop <= #code and code:sub(stop, stop) ~= '"' do
      stop = stop + (code:sub(stop, stop) == "\\" and 2 or 1)
    end
    return code:sub(at, stop), stop + 1
  end
  local from = at
  while true do
    local word, after = code:match("^([^%s<]+)%s*()", at)
    if not word then
      break
    end
    at = after
    local list = (kind == "durations" or kind == "hosts") and (word:match("[,;]$") or code:match("^[,;]", at))
    local known = kind ~= nil or next_begins(code:sub(at, at + 200), true)
    if known and not list then
      break
    end
  end
  return code:sub(from, at - 1):gsub("%s+$", ""), at
end

-- What stands behind a value and begins nothing: it belongs to the value, which then is no good.
local function take_surplus(code, at)
  local from = at
  while at <= #code and not next_begins(code:sub(at, at + 200)) do
    local after = code:match("^<?[^%s<]*%s*()", at)
    if after == at then
      break
    end
    at = after
  end
  return code:sub(from, at - 1):gsub("%s+$", ""), at
end

-- "<domain a.com" without its ">" is a block all the same, or what stands in it would be taken for everybody.
local function read_endless_tag(code, at)
  local slash, name, after = code:match("^<%s*(/?)%s*([%w%-_]+)%s*()", at)
  local why = "this tag does not end: > is missing"
  name = name and directives.canonical(name)
  if not name or not directives.blocks[directives.aliases[name] or name] then
    return { kind = "error", name = name or "<", why = why }, #code + 1
  elseif slash == "/" then
    return { kind = "close", name = name, broken = why }, after
  end
  local value, behind = code:match("^([^%s<>]*)()", after)
  return { kind = "open", name = name, value = value, broken = why }, behind
end

local function read_tag(code, at)
  local closing, after = code:match("^</%s*([%w%-_]+)%s*>()", at)
  if closing then
    return { kind = "close", name = directives.canonical(closing) }, after
  end
  local name, content, stop = code:match("^<([%w%-_]+)>%s*([^<>]-)%s*</%1>()", at)
  if name and content ~= "" and not content:find("%s") then
    return { kind = "set", name = directives.canonical(name), value = content, form = "element" }, stop
  end
  local opening, value, behind = code:match("^<%s*([%w%-_]+)%s*([^<>]*)>()", at)
  if opening then
    return { kind = "open", name = directives.canonical(opening), value = value:gsub("%s+$", "") }, behind
  end
  return read_endless_tag(code, at)
end

-- 421 RP-001 *, 1h, 5, 1000
local function read_rule(code, at)
  local code_text, text, lasts, sessions, rate, after =
    code:match("^([45]%d%d)%s+([^,]-)%s*,%s*([^%s,]+)%s*,%s*([^%s,]+)%s*,%s*([^%s,]+)()", at)
  if not code_text then
    return nil
  end
  return { kind = "rule", name = code_text .. " " .. text:gsub("%s*%*+$", ""), code = code_text, text = text, lasts = lasts,
           sessions = sessions, rate = rate, value = "" }, after
end

local function read_directive(code, at, context)
  local name, equals, value_at = code:match("^([^%s=<]+)%s*(=?)%s*()", at)
  if not name then
    return { kind = "error", name = code:sub(at):match("^%S+"), why = "no directive begins so" }, #code + 1
  end
  local kind = directives.kind(name, context)
  local value, after = take_value(code, value_at, kind)
  local surplus
  if kind and kind ~= "rest" and after <= #code then
    surplus, after = take_surplus(code, after)
  end
  return { kind = "set", name = directives.canonical(name), written = name, value = value, equals = equals ~= "",
           surplus = surplus ~= "" and surplus or nil }, after
end

-- The statements of one line without its comments. `state.context` is the innermost block's kind.
local function split(code, state, emit)
  local at, n = 1, 0
  while true do
    at = code:match("^[%s;]*()", at)
    if at > #code then
      return n
    end
    local from, statement = at, nil
    if code:sub(at, at) == "<" then
      statement, at = read_tag(code, at)
    elseif code:sub(at, at) == "/" or directives.blocks[state.context or ""] and directives.blocks[state.context].why and
      not (directives.contexts[state.context]) then
      statement = { kind = "set", name = code:sub(at):match("^/.-/") or code:sub(at):match("^[^%s<]+") or "?",
                    value = "" }
      local _, after = take_value(code, at, "rest")
      at = math.max(after, at + 1)
    else
      local after
      statement, after = read_rule(code, at)
      if not statement then
        statement, after = read_directive(code, at, state.context)
      end
      at = after
    end
    statement.raw = code:sub(from, at - 1):gsub("%s+$", "")
    statement.is_last = code:match("^[%s;]*()", at) > #code
    statement.is_first = n == 0
    n = n + 1
    emit(statement)
  end
end

-- Takes <!-- … --> out of the line: the code that is left, and the comments.
local function cut_xml(line, state)
  local comments = {}
  while true do
    if state.xml then
      local stop, after = line:match("()%-%->()")
      comments[#comments + 1] = line:sub(1, stop and stop - 1 or #line):match("^%s*(.-)%s*$")
      if not stop then
        return "", comments
      end
      state.xml, line = false, state.before .. " " .. line:sub(after)
    end
    local from, after = line:match("()<!%-%-()")
    if not from or (line:find("#", 1, true) or #line + 1) < from then
      return line, comments
    end
    state.xml, state.before = true, line:sub(1, from - 1)
    line = line:sub(after)
  end
end

local function cut_comment(line)
  local code, comment = line:match("^(.-)#(.*)$")
  if not code then
    return line, nil
  end
  return code, (comment:gsub("%s+$", ""))
end

-- One reading of one file: where it is, and the comments and blank lines that nothing has taken yet.
local reading = {}
reading.__index = reading

function reading:comment(text, stands_alone)
  if stands_alone then
    self.lead[#self.lead + 1] = text
  end
  local found = reader.hidden(text)
  if #found > 0 then
    self.emit { kind = "hidden", file = self.file, line = self.number, found = found, value = "", raw = text, name = found[1].name, lead = {} }
  end
end

function reading:wrong(name, raw, why)
  self.emit { kind = "error", file = self.file, line = self.number, name = name, value = "", raw = raw, lead = {}, why = why }
end

-- The comment hides directives, and is to be read: each piece as a line of its own. False: it hides none.
function reading:pieces(code, comment)
  local pieces = reader.pieces(comment)
  if #pieces < 2 then
    return false
  end
  self.state.split = false
  if code:match("%S") then
    self:line(code)
  end
  for _, piece in ipairs(pieces) do
    self:line(piece)
  end
  self.state.split = true
  return true
end

function reading:line(line)
  local code, comments = cut_xml(line, self.state)
  for _, text in ipairs(comments) do
    if text ~= "" then
      self:comment(" " .. text, true)
    end
  end
  local comment
  code, comment = cut_comment(code)
  if comment and self.state.split and self:pieces(code, comment) then
    return
  end
  local n = split(code, self.state, function(s)
    s.file, s.line = self.file, self.number
    s.lead, s.blank = s.is_first and self.lead or {}, s.is_first and self.blank
    s.trail = s.is_last and comment or nil
    s.glued = s.is_first and not s.is_last
    self.lead, self.blank = {}, false
    self.emit(s)
  end)
  if comment then
    self:comment(comment, n == 0)
  elseif n == 0 and #comments == 0 and #self.lead == 0 then
    self.blank = true
  elseif n == 0 and #comments == 0 then
    self.lead[#self.lead + 1] = false           -- a blank line between comments
  end
end

-- Reads the text and hands each statement to emit(); answers with the comments at its end. Statements of kind
-- "hidden" are comments that hold directives. state: `context`, the innermost block's kind; `split`, whether
-- what comments hide is read.
function reader.read(text, file, state, emit)
  local self = setmetatable({ file = file, state = state, emit = emit, lead = {}, blank = false, number = 0 }, reading)
  for line in (text .. "\n"):gmatch("([^\n]*)\n") do
    self.number = self.number + 1
    line = line:gsub("\r$", "")
    if #line > LINE_MAX then
      self:wrong(line:match("^%s*([%w%-<]*)"):sub(1, 40), line:sub(1, 60) .. "…", "the line is longer than 64 KiB")
    else
      self:line(line)
    end
  end
  if state.xml then
    self:wrong("<!--", "<!--", "the comment does not end")
    state.xml = false
  end
  return self.lead
end

return reader
