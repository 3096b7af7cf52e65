-- yahoo_japan: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local yahoo_japan = {
  site = "yahoo_japan", domain = "yahoo.co.jp", host = "mx1.mail.yahoo.co.jp",
  rules = {
    { "VS98-IP0", "553 VS98-IP0 Message from 192.0.2.1 temporarily deferred - 4.16.50", at = "MAIL" },
    { "TSS04", "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to user complaints", at = "MAIL" },
    { "timeout", "421 Timeout waiting for command", at = "MAIL" },
  },
}

describe("yahoo_japan", function()
  replies.limits(yahoo_japan, { max_smtp_out = 1, max_msg_rate = "50/h", max_msg_per_connection = 20 })
  replies.of(yahoo_japan)
end)
