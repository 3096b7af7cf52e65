-- microsoft: Hotmail, Outlook.com, Live and MSN; microsoft365: the domains of companies that it hosts.
--
-- Two sites with reputations of their own, and the same words. Sources: S000, S002
-- and S004 are the seeds, K is what KumoMTA ships, SU, SIS and SFM are collections
-- of replies (Suped, sendinst, smtpfieldmanual), PM the postmaster's pages.
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

local backoff = {
  -- The address's reputation allows no more for now. S004 has 5 sessions and 1000 messages for an hour, of 20 sessions; with
  -- fewer to begin with, half of them.
  { "421 RP-001", lasts = "1h", max_smtp_out = "50%", max_msg_rate = "1000/h" },
  { "421 RP-002", lasts = "1h", max_connect_rate = "50%" },             -- connections come too fast (SU, S002)
  { "421 RP-003", lasts = "1h", max_smtp_out = "50%" },                 -- too many of them at once (SU)
  { "421 PR\\(ct1\\)", lasts = "1h", max_smtp_out = "50%" },            -- the same, in older words
  -- "Server busy", or too many at once for the whole forest: S004 has 45 minutes with 2 sessions and 500 an hour.
  { "421 4\\.3\\.2 ", name = "421 4.3.2", lasts = "45m", max_smtp_out = 2, max_msg_rate = "500/h" },
  { "exceeded the maximum number of connections|max concurrent connections", name = "connections", after = "2/1h", lasts = "1h", max_smtp_out = 1 },     -- K
  { "exceeded maximum number of messages per connection", name = "messages per connection", after = "2/1h", lasts = "1h", max_msg_per_connection = 2 },  -- K

  -- The address is limited for its reputation. K's base crawls for 90 minutes at once; its community stops at the third.
  { "451 4\\.7\\.65[01] ", name = "rate limited", lasts = "90m", max_smtp_out = 1, max_msg_rate = "1/m" },
  { "451 4\\.7\\.65[01] ", name = "rate limited again", after = "3/1h", lasts = "30m", suspend = true },
  -- Suspicious traffic: .500 to .699 (SIS); K stops for an hour at the fifth.
  { "4\\.7\\.[56]\\d\\d .*access denied, please try again later", name = "access denied", after = "5/1h", lasts = "1h", suspend = true },
  { "4\\.7\\.500 .*server busy", name = "server busy", after = "3/1h", lasts = "15m", max_msg_rate = "1/m" },                                        -- K
  { "4\\.7\\.500 .*server busy", name = "server still busy", after = "5/1h", lasts = "30m", suspend = true },                                       -- K
  { "451 4\\.3\\.2 .*temporary server error", name = "temporary server error", after = "5/1h", lasts = "1h", suspend = true },                      -- K
  { "451 4\\.7\\.8[5-9]\\d ", name = "suspicious activity", lasts = "1h", max_smtp_out = "50%" },                                                  -- SIS: wait
  { "451 4\\.7\\.700 ", name = "agent busy", skip_mx = true },                                                                                     -- SIS: one host's load

  -- Blocked: each further message is a bounce for nothing. K stops for two hours at the fifth; somebody has to ask for removal.
  { "\\(S31[45]0\\)|part of their network is on our block list", name = "block list", after = "5/1h", lasts = "2h", suspend = true, notify = true },
  { "550 (SC-00[124]|DY-00[12]|OU-00[12])", name = "policy block", after = "5/1h", lasts = "2h", suspend = true, notify = true },                   -- PM
  { "550 5\\.7\\.6(0[6-9]|[1-4]\\d) ", name = "banned address", lasts = "1d", disable_source = true, notify = true },                               -- SIS: delisting takes a day
  { "550 5\\.7\\.(511|50[1-3]) ", name = "banned sender", after = "5/1h", lasts = "2h", suspend = true, notify = true },                            -- SIS
  { "550 5\\.7\\.508 ", name = "range over its limit", lasts = "1h", max_smtp_out = 1, max_msg_rate = "100/h" },                                    -- SIS: slow down; IPv6
  -- DMARC, SPF, authentication of bulk senders (since 2025 .515): no retry mends it (SIS).
  { "5\\.7\\.(509|515|23) |4\\.7\\.26 ", name = "authentication", after = "5/1h", lasts = "1h", suspend = true, notify = true },
  -- The mailbox took its share of the hour. Said with a 5xx, and yet passing (SIS).
  { "5\\.2\\.12[12] ", name = "mailbox too busy", retry_recipients_after = "1h", scope = "recipient", skip_mx = true },
  inherit = true,
}

local consumer = tiers(provider, "microsoft") {
  domains = { "hotmail.com", "outlook.com", "live.com", "msn.com" },
  mx      = { "*.olc.protection.outlook.com" },         -- its national names: hotmail.fr, live.nl, …

  high    = { max_smtp_out = 5 },                       -- S002: 4-6; K has 5
  medium  = { max_smtp_out = 3,                         -- S002: 2-4; S000: 2-4 for one address
              max_msg_rate = "400/h",                   -- S000: conservative
              retry_after = "30m" },                    -- S004
  warming = { max_smtp_out = 2,                         -- S002: 1-2
              max_msg_rate = "50/h",                    -- S002: 1200 a day in the first week
              max_msg_per_connection = 5,               -- S000: low risk
              retry_after = "1h" },                     -- S000
  max_connect_rate       = "1/s",                       -- S002; and so RP-002 has something to halve
  max_msg_per_connection = 50,                          -- K
  retry_recipients_after = "30m",                       -- S000
  backoff                = backoff,
}

local companies = tiers(provider, "microsoft365") {
  mx = { "*.mail.protection.outlook.com", "*.mx.microsoft" },

  high    = { max_smtp_out = 5 },                       -- K
  medium  = { max_smtp_out = 3, retry_after = "20m" },  -- as the consumers' tiers (S002)
  warming = { max_smtp_out = 1, max_msg_rate = "50/h", retry_after = "30m" },
  max_connect_rate       = "1/s",                               -- S002: ten at once look like a storm
  max_msg_per_connection = 50,                          -- K
  backoff                = backoff,
}

return function(options, depth)
  consumer(options, (depth or 0) + 1)
  companies(options, (depth or 0) + 1)
end
