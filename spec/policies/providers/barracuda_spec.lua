-- barracuda: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local barracuda = {
  site = "barracuda", domain = "company.example", host = "d12345.a.ess.barracudanetworks.com",
  rules = {
    { "blocked", "550 permanently blocked (192.0.2.1)", at = "RCPT" },
    { "spoofed", "550 Rejecting spoofed message", at = "." },
  },
}

describe("barracuda", function()
  replies.limits(barracuda, { max_smtp_out = 2, max_msg_rate = "50/h", max_msg_per_connection = 15 })
  replies.of(barracuda)
end)
