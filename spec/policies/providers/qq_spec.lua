-- qq: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local qq = {
  site = "qq", domain = "qq.com", host = "mx1.qq.com",
  rules = {
    { "kept", "550 Ip frequency limited [abc123 IP: 192.0.2.1]. https://open.work.weixin.qq.com/help", at = "MAIL", skips = true },
    { "frequency", "550 Domain frequency limited [abc123 IP: 192.0.2.1]. https://open.work.weixin.qq.com/help", at = "MAIL" },
    { "content", "550 Mail content denied [abc123 IP: 192.0.2.1]. https://open.work.weixin.qq.com/help", at = "." },
  },
}

describe("qq", function()
  replies.limits(qq, { max_smtp_out = 1, max_msg_rate = "50/h", max_msg_per_connection = 8 })
  replies.of(qq)
end)
