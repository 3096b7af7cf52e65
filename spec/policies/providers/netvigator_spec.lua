-- netvigator: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local netvigator = {
  site = "netvigator", domain = "netvigator.com", host = "mx1.netvigator.com",
  rules = {
    { "messages per connection", "421 Too many messages for this session", at = "MAIL" },
    { "messages", "421 Too many messages for this session", at = "MAIL" },
  },
}

describe("netvigator", function()
  replies.limits(netvigator, { max_smtp_out = 1, max_msg_rate = "50/h", max_msg_per_connection = 10 })
  replies.of(netvigator)
end)
