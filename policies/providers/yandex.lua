-- yandex: Yandex.
--
-- Sources: SFM, and its help pages: who is blocked by its statistics is let in again after 24 hours.
-- S002's row for unknown providers for the tiers.
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "yandex") {
  domains = { "yandex.ru", "yandex.com", "ya.ru" },
  mx      = { "*.yandex.ru", "*.yandex.net" },

  high    = { max_smtp_out = 4 },
  medium  = { max_smtp_out = 2, retry_after = "20m" },
  warming = { max_smtp_out = 1, max_msg_rate = "50/h", retry_after = "30m" },
  max_connect_rate = "1/s",                               -- S002: ten at once look like a storm

  backoff = {
    { "421 4\\.4\\.2 ", name = "timeout", skip_mx = true },
    { "554 5\\.7\\.1 .*under suspicion of spam", name = "suspicion", after = "5/1h", lasts = "1h", suspend = true, notify = true },
    { "blocked by spam statistics", name = "statistics", lasts = "1d", suspend = true, notify = true },
    inherit = true,
  },
}
