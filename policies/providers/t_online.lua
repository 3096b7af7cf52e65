-- t_online: Telekom's t-online.de.
--
-- It talks only to addresses that it knows: a new one is refused in the greeting, and
-- let in after a mail to the address named there. Sources: its postmaster's page, and
-- operators' reports; S002's row for unknown providers for the tiers.
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "t_online") {
  domains = { "t-online.de", "magenta.de" },
  mx      = { "*.t-online.de" },

  high    = { max_smtp_out = 4 },
  medium  = { max_smtp_out = 2, retry_after = "20m" },
  warming = { max_smtp_out = 1, max_msg_rate = "50/h", retry_after = "30m" },
  max_connect_rate = "1/s",                               -- S002: ten at once look like a storm

  backoff = {
    -- A 5xx at connect is a failure of the connection, so nothing bounces; but each further try is counted there.
    { at = "connect", "554 .*(bad|none) ?/? ?(bad )?reputation|\\(NOWL\\)", name = "not on the allow list", lasts = "4h", suspend = true, notify = true },
    { at = "connect", "554 .*a problem occurred", name = "blocked", lasts = "12h", suspend = true, notify = true },
    inherit = true,
  },
}
