-- everybody: domain "*", who belongs to no provider, and the words that any server may say.
--
-- The lists of the providers go on with these (inherit = true). Sources: S002's row for unknown providers
-- (2-4, 1-2, 1 connections), K's rules for every site (KumoMTA), SFM on greylisting, and the pattern lists
-- that PowerMTA's users share.
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(domain, "*") {
  high    = { max_smtp_out = 4 },
  medium  = { max_smtp_out = 2, retry_after = { "20m", "40m", "1h" } },
  warming = { max_smtp_out = 1, max_msg_rate = "50/h", retry_after = { "30m", "1h" } },
  max_connect_rate       = "1/s",                       -- S002
  max_msg_per_connection = 100,                         -- K; some receivers close a longer session with an error
  -- Greylisting lets the second try pass after 5 to 15 minutes (SFM); who is down is asked less and less often.
  retry_recipients_after = { "15m", "30m", "1h", "3h" },

  backoff = {
    -- The address is limited, whoever says so: K crawls for 90 minutes.
    { "messages from .* (temporarily|permanently) deferred|temporarily rate limited due to IP reputation|messages from .* weren't sent|server busy.*try again later from",
      name = "limited", lasts = "90m", max_smtp_out = 1, max_msg_rate = "1/m" },
    -- Half of what is in force, again with each further word; then a session more every ten minutes.
    { "^4\\d\\d .*too many (concurrent |simultaneous )?(SMTP )?(connections|sessions)", name = "connections", lasts = "30m", max_smtp_out = "50%", recover = "+1/10m" },
    { at = "connect", "^5\\d\\d .*too many (concurrent |simultaneous )?(SMTP )?(connections|sessions)", name = "connections refused", lasts = "30m", max_smtp_out = "50%", recover = "+1/10m" },
    -- Says no, and means not now: the mail is kept.
    { "^5\\d\\d .*(temporar|try again|rate limit|frequency)", name = "not now", lasts = "1h", max_msg_rate = "60/h", skip_mx = true },
    -- One mailbox's trouble is not the queue's.
    { "^45[012] .*(gr[ae]y ?list|4\\.2\\.2 |over quota|mailbox (is )?full)", name = "one mailbox", retry_recipients_after = "15m,1h,6h", scope = "recipient" },
    { "^421 .*too many errors", name = "too many errors", lasts = "1h", max_errors_per_connection = 1 },
    { "excessive unknown recipients|high volume of complaints|user complaints", name = "complaints", lasts = "1h", max_smtp_out = 1, max_msg_rate = "60/h", notify = true },
    -- Our address is listed: each further message is a bounce for nothing.
    { "^5\\d\\d .*(blocked.*(spamhaus|barracuda|spamcop)|(spamhaus|spamcop)\\.\\S+)", name = "listed", after = "5/1h", lasts = "2h", suspend = true, notify = true },
  },
}
