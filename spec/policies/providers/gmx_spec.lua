-- gmx: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local gmx = {
  site = "gmx", domain = "gmx.de", host = "mx00.emig.gmx.net",
  rules = {
    { "rate limit", "421 gmx.net (mxgmx115) Nemesis ESMTP Service not available. Rate limit reached", at = "MAIL" },
    { "too many connections", "421 gmx.net (mxgmx115) Nemesis ESMTP Service not available. Too many connections", at = "MAIL" },
    { "policy, for now", "450 Requested mail action not taken: mailbox unavailable. Reject due to policy restrictions.", at = "RCPT" },
    { "policy", "554 Transaction failed. Reject due to policy restrictions. For explanation visit https://postmaster.gmx.net/en/case?c=hi", at = "." },
    { "policy violations", "554 Transaction failed. Reject due to policy violations.", at = "." },
    { "block listed", "554 web.de (mxweb112) Nemesis ESMTP Service not available. No SMTP service. IP address is block listed. For explanation visit https://www.mail.com/senderguidelines?c=bl", at = "EHLO" },
  },
}

describe("gmx", function()
  replies.limits(gmx, { max_smtp_out = 1, max_msg_rate = "50/h", max_msg_per_connection = 20 })
  replies.of(gmx)
end)
