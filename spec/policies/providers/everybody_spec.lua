-- everybody: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local everybody = {
  site = "mx.company.example", file = "everybody", domain = "company.example", host = "mx.company.example",
  rules = {
    { "limited", "451 Messages from 192.0.2.1 temporarily deferred", at = "MAIL" },
    { "limited", "451 4.7.1 Server busy. Please try again later from 192.0.2.1", at = "MAIL" },
    { "connections", "421 4.7.0 mx.company.example Error: too many connections from 192.0.2.1", at = "EHLO" },
    { "connections refused", "554 5.7.1 Too many concurrent SMTP connections from 192.0.2.1", at = "connect" },
    { "not now", "550 5.7.1 Your message was temporarily rejected, try again later", at = "RCPT" },
    { "one mailbox", "450 4.2.0 <user@company.example>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/company.example.html", waits = "15m" },
    { "one mailbox", "452 4.2.2 Mailbox full", waits = "15m" },
    { "too many errors", "421 4.7.0 mx.company.example Error: too many errors", at = "RCPT" },
    { "complaints", "421 4.7.1 Refused for a high volume of complaints", at = "MAIL" },
    { "listed", "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", at = "RCPT" },
  },
}

describe("everybody", function()
  replies.limits(everybody, { max_smtp_out = 2, max_msg_per_connection = 100, retry_after = { 1200, 2400, 3600 } })
  replies.of(everybody)
end)
