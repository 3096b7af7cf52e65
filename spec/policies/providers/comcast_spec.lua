-- comcast: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local comcast = {
  site = "comcast", domain = "comcast.net", host = "mx1a1.comcast.net",
  rules = {
    { "volume", "421 4.1.0 192.0.2.1 Throttled - try again later. Please see http://postmaster.comcast.net/smtp-error-codes.php#RL000001", at = "MAIL" },
    { "volume", "421 4.1.0 192.0.2.1 Throttled - try again later. Please see http://postmaster.comcast.net/smtp-error-codes.php#RL000003", at = "MAIL" },
    { "RL000010", "452 4.1.0 example.com Throttled - try again later. Please see http://postmaster.comcast.net/smtp-error-codes.php#RL000010", at = "MAIL" },
    { "sessions", "421 resimta-po-01v.sys.comcast.net comcast 192.0.2.1 Too many sessions opened", at = "EHLO" },
    { "reverse DNS", "421 resimta-po-01v.sys.comcast.net comcast Try again later. Reverse DNS failure: not found for 192.0.2.1", at = "EHLO" },
    { "mailbox too busy", "452 4.1.1 <user@comcast.net> too many recent messages", waits = "1h" },
    { "blocked", "554 resimta-po-01v.sys.comcast.net comcast 192.0.2.1 Comcast block for spam. Please see http://postmaster.comcast.net/smtp-error-codes.php#BL000000", at = "MAIL" },
    { "blocked", "554 resimta-po-01v.sys.comcast.net comcast 192.0.2.1 Comcast requires that all mail servers must have a PTR record with a valid Reverse DNS entry. #ES000001", at = "MAIL" },
    { "DMARC", "550 5.2.0 Message rejected due to DMARC. Please see http://postmaster.comcast.net/smtp-error-codes.php#DM000001", at = "." },
  },
}

describe("comcast", function()
  replies.limits(comcast, { max_smtp_out = 2, max_msg_rate = "50/h", max_msg_per_connection = 1000, idle_timeout = 30 })
  replies.of(comcast)
end)
