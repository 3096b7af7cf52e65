-- free: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local free = {
  site = "free", domain = "free.fr", host = "mx1.free.fr",
  rules = {
    { "too many", "421 Too many spams from your IP (192.0.2.1), please visit http://postmaster.free.fr/", at = "EHLO" },
    { "content", "550 spam detected", at = "." },
    { "content", "550 virus detected", at = "." },
  },
}

describe("free", function()
  replies.limits(free, { max_smtp_out = 1, max_msg_rate = "50/h" })
  replies.of(free)
end)
