-- yahoo: Yahoo, AOL, Verizon, and what moves there (AT&T and Comcast since 2025), known by its hosts.
--
-- AOL's own codes (CON:B1, RLY:B1, HVU:B1 and the like) are not here: its mail has
-- gone to these hosts since 2018, and they don't say them.
-- Sources: S002 (the seeds), K (what KumoMTA ships), SIS (a collection of replies), the postmaster's pages.
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "yahoo") {
  domains = { "yahoo.com", "ymail.com", "rocketmail.com", "aol.com", "verizon.net" },
  mx      = { "*.yahoodns.net" },

  high    = { max_smtp_out = 6 },                       -- S002: 5-8
  medium  = { max_smtp_out = 4, retry_after = "20m" },  -- S002: 3-5
  warming = { max_smtp_out = 2, max_msg_rate = "50/h", retry_after = "30m" },   -- S002: 1-3
  max_connect_rate       = "1/s",                       -- S002
  max_msg_per_connection = 20,                          -- the published number; K has it too

  backoff = {
    -- Volume or complaints. K stops at once or at the second; a single one is often one bad batch.
    { "\\[(TSS|IPTS|TS)04\\]", name = "TSS04", after = "2/1h", lasts = "2h", suspend = true },
    { "\\[(TSS|IPTS|TS)05\\]", name = "TSS05", after = "2/1h", lasts = "4h", suspend = true },          -- K: the stronger form
    { "\\[TS01\\]", name = "TS01", lasts = "90m", max_smtp_out = 1, max_msg_rate = "1/m" },             -- K: complaints
    { "\\[TS02\\]", name = "TS02", after = "3/1h", lasts = "30m", max_msg_rate = "1/m" },               -- K: unusual traffic
    { "\\[TS03\\]", name = "TS03", after = "3/1h", lasts = "30m", max_msg_rate = "10/m" },              -- K: retries don't help while traffic goes on
    { "\\[TSS(09|11)\\]", name = "permanently deferred", lasts = "4h", suspend = true, notify = true }, -- SIS: stop from that address
    { "\\[BL2[13]\\]", name = "listed", after = "5/1h", lasts = "2h", suspend = true, notify = true },  -- K: Spamhaus
    -- 20 is what is published; who hears this is allowed less. K slows down to ten a minute.
    { "max message per connection", name = "messages per connection", after = "3/1h", lasts = "1h", max_msg_per_connection = "50%", max_msg_rate = "10/m" },
    { "451 .*resources temporarily not available", name = "overload", lasts = "30m", max_smtp_out = "50%" },
    -- Many unknown recipients: the list is old, and trying on costs reputation.
    { "VS1-(IP|MF) ", name = "unknown recipients", lasts = "1h", max_smtp_out = 1, max_msg_rate = "100/h", notify = true },
    -- The sender's domain has no DNS (SIS); authentication and policy (SIS): nothing that a retry mends.
    { "451 .*unresolvable RFC.?5321 from domain", name = "sender without DNS", after = "5/1h", lasts = "1h", suspend = true, notify = true },
    { "55[04] 5\\.7\\.9 |\\[PH01\\]", name = "authentication", after = "5/1h", lasts = "1h", suspend = true, notify = true },
    { "450 .*user receiving mail too quickly", name = "mailbox too busy", retry_recipients_after = "1h", scope = "recipient" },
    inherit = true,
  },
}
