-- kpn: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local kpn = { site = "kpn", domain = "company.example", host = "mx.kpnmail.nl", rules = {} }

describe("kpn", function()
  replies.limits(kpn, { max_smtp_out = 2, max_msg_rate = "50/h", max_msg_per_connection = 10, require_starttls = true })
end)
