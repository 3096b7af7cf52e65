-- yandex: each reaction fires on a reply as it is said.
-- SPDX-License-Identifier: Apache-2.0
local replies = require "replies"

local yandex = {
  site = "yandex", domain = "yandex.ru", host = "mx.yandex.ru",
  rules = {
    { "timeout", "421 4.4.2 mxfront1o.mail.yandex.net Error: timeout exceeded", at = "MAIL", skips = true },
    { "suspicion", "554 5.7.1 [1] Message rejected under suspicion of SPAM; https://ya.cc/1IrBc", at = "." },
    { "statistics", "554 5.7.1 [1] Blocked by spam statistics - see http://feedback.yandex.ru/?from=mail-rejects", at = "." },
  },
}

describe("yandex", function()
  replies.limits(yandex, { max_smtp_out = 1, max_msg_rate = "50/h" })
  replies.of(yandex)
end)
