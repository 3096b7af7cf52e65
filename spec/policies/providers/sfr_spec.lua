-- sfr: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local sfr = {
  site = "sfr", domain = "sfr.fr", host = "smtp-in.sfr.fr",
  rules = {
    { "content", "550 5.7.1 Mail rejected, content refused", at = "." },
  },
}

describe("sfr", function()
  replies.limits(sfr, { max_smtp_out = 1, max_msg_rate = "50/h" })
  replies.of(sfr)
end)
