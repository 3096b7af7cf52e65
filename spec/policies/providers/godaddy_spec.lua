-- godaddy: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local godaddy = {
  site = "godaddy", domain = "company.example", host = "smtp.secureserver.net",
  rules = {
    { "IB007", "421 p3plibsmtp01-01.prod.phx3.secureserver.net bizsmtp Temporarily rejected. Too many sessions from 192.0.2.1. IB007", at = "MAIL" },
    { "busy", "421 p3plibsmtp01-01.prod.phx3.secureserver.net bizsmtp Server too busy. Please try again later. IB101", at = "MAIL", skips = true },
    { "hourly limit", "452 4.2.1 The recipient has reached its hourly limit. IB504", at = "MAIL" },
    { "recipients", "452 4.5.3 Too many recipients. IB605", at = "RCPT" },
    { "blocked for an hour", "554 p3plibsmtp01-01.prod.phx3.secureserver.net bizsmtp 192.0.2.1 blocked for one hour. IB110", at = "MAIL" },
    { "blocked for a day", "554 p3plibsmtp01-01.prod.phx3.secureserver.net bizsmtp 192.0.2.1 blocked for one day. IB111", at = "MAIL" },
    { "reverse DNS", "554 p3plibsmtp01-01.prod.phx3.secureserver.net bizsmtp 192.0.2.1 has no reverse DNS. IB108", at = "MAIL" },
    { "content", "552 5.2.0 Message rejected for its content. IB212", at = "." },
  },
}

describe("godaddy", function()
  replies.limits(godaddy, { max_smtp_out = 1, max_msg_rate = "50/h" })
  replies.of(godaddy)
end)
