-- laposte: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local laposte = {
  site = "laposte", domain = "laposte.net", host = "smtpz4.laposte.net",
  rules = {
    { "too many connections", "421 4.7.0 Trop de connexions / Too many connections. LPN105_104", at = "MAIL" },
    { "service refused", "421 4.7.1 Service refuse, veuillez essayer plus tard. LPN007_505", at = "MAIL" },
    { "blocked", "550 5.7.1 Service unavailable; client [192.0.2.1] blocked. LPN007_102", at = "MAIL" },
    { "blocked", "550 5.7.1 Service unavailable; client [192.0.2.1] blocked by Spamhaus. LPN006_101", at = "MAIL" },
    { "spam", "550 5.5.0 Service refuse. Service refused. LPN005_510", at = "." },
    { "sender", "550 5.1.8 Sender address rejected: domain not found. LPN_405", at = "MAIL" },
  },
}

describe("laposte", function()
  replies.limits(laposte, { max_smtp_out = 1, max_msg_rate = "50/h" })
  replies.of(laposte)
end)
