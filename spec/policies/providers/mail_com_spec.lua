-- mail_com: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local mail_com = {
  site = "mail_com", domain = "mail.com", host = "mx00.mail.com",
  rules = {
    { "rate limit", "421 mail.com (mxgmxus001) Nemesis ESMTP Service not available. Rate limit reached", at = "MAIL" },
    { "block listed", "554 mail.com (mxgmxus001) Nemesis ESMTP Service not available. No SMTP service. IP address is block listed.", at = "EHLO" },
  },
}

describe("mail_com", function()
  replies.limits(mail_com, { max_smtp_out = 1, max_msg_rate = "50/h", max_msg_per_connection = 100 })
  replies.of(mail_com)
end)
