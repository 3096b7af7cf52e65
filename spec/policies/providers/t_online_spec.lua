-- t_online: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local t_online = {
  site = "t_online", domain = "t-online.de", host = "mx00.t-online.de",
  rules = {
    { "not on the allow list", "554 IP=192.0.2.1 - None/bad reputation. Ask your postmaster for help or to contact tosa@rx.t-online.de for reset. (NOWL)", at = "connect" },
    { "blocked", "554 IP=192.0.2.1 - A problem occurred. Ask your postmaster for help or to contact tosa@rx.t-online.de to clarify. (BL)", at = "connect" },
  },
}

describe("t_online", function()
  replies.limits(t_online, { max_smtp_out = 1, max_msg_rate = "50/h" })
  replies.of(t_online)
end)
