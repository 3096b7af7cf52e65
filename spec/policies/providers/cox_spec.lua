-- cox: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local cox = {
  site = "cox", domain = "cox.net", host = "cxr.mx.a.cox.net",
  rules = {
    { "AUP#CXCNCT", "421 cxr.mx.a.cox.net cox 192.0.2.1 Too many concurrent connections. AUP#CXCNCT", at = "MAIL" },
    { "AUP#CXMXRT", "452 cxr.mx.a.cox.net cox 192.0.2.1 This sender has exceeded the maximum number of messages allowed per connection. AUP#CXMXRT", at = "MAIL" },
    { "blocked", "554 cxr.mx.a.cox.net cox 192.0.2.1 Blocked. AUP#CXBL", at = "MAIL" },
    { "blocked", "554 cxr.mx.a.cox.net cox 192.0.2.1 Blocked by Spamhaus. AUP#IPBL1000", at = "MAIL" },
    { "authentication", "554 cxr.mx.a.cox.net cox rejected: no reverse DNS for 192.0.2.1. AUP#CXDNS", at = "MAIL" },
    { "authentication", "550 5.1.0 rejected: sender not authenticated. AUP#CXSNDR", at = "MAIL" },
  },
}

describe("cox", function()
  replies.limits(cox, { max_smtp_out = 1, max_msg_rate = "50/h" })
  replies.of(cox)
end)
