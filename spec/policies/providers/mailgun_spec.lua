-- mailgun: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local mailgun = { site = "mailgun", domain = "smtp.mailgun.com", rules = {} }

describe("mailgun", function()
  replies.limits(mailgun, { max_smtp_out = 50, max_msg_rate = "unlimited", max_msg_per_connection = 3 })
end)
