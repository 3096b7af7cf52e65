-- mimecast: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local mimecast = {
  site = "mimecast", domain = "company.example", host = "eu-smtp-inbound-1.mimecast.com",
  rules = {
    { "resources", "451 Internal resources are temporarily unavailable - https://community.mimecast.com/docs/DOC-1369#451", at = "RCPT" },
    { "reputation, for now", "451 IP temporarily blacklisted - https://community.mimecast.com/docs/DOC-1369#451", at = "RCPT" },
    { "greylisted", "451 Recipient temporarily unavailable - https://community.mimecast.com/docs/DOC-1369#451", waits = "15m" },
    { "reputation", "550 local CT IP reputation policy - envelope rejected - https://community.mimecast.com/docs/DOC-1369#550", at = "RCPT" },
  },
}

describe("mimecast", function()
  replies.limits(mimecast, { max_smtp_out = 2, max_msg_rate = "50/h", max_msg_per_connection = 100 })
  replies.of(mimecast)
end)
