-- spectrum: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local spectrum = {
  site = "spectrum", domain = "charter.net", host = "mx0.charter.net",
  rules = {
    { "connections", "421 4.7.0 192.0.2.1 Too many connections from your IP. AUP#In-1310", at = "MAIL" },
    { "rate", "421 4.7.0 192.0.2.1 Message rate limit exceeded. AUP#In-1430", at = "MAIL" },
    { "rate", "452 4.7.0 192.0.2.1 Rate limited. AUP#In-1580", at = "MAIL" },
    { "recipients", "452 4.5.3 Too many recipients. AUP#In-1550", at = "RCPT" },
    { "listed", "550 5.7.1 192.0.2.1 Blocked by Cloudmark. AUP#In-1210", at = "MAIL" },
    { "reverse DNS", "554 5.7.1 192.0.2.1 No reverse DNS. AUP#In-1130", at = "MAIL" },
  },
}

describe("spectrum", function()
  replies.limits(spectrum, { max_smtp_out = 1, max_msg_rate = "50/h" })
  replies.of(spectrum)
end)
