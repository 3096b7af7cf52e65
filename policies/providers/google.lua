-- google: Gmail, and the domains of companies that it hosts (Workspace).
--
-- Sources: S002 is the table of safe connection counts by reputation in the seeds
-- (Gmail 6-10, 3-5, 1-3, and its example pools of 8, 4 and 2); K is what KumoMTA
-- ships; SIS and SFM are collections of replies (sendinst, smtpfieldmanual).
-- SPDX-License-Identifier: Apache-2.0
local tiers = require "sluice.tiers"

return tiers(provider, "google") {
  domains = { "gmail.com", "googlemail.com" },
  mx      = { "*.google.com", "*.googlemail.com" },     -- Workspace domains are known by their hosts only

  high    = { max_smtp_out = 8 },                       -- S002: 6-10, its pool of high reputation has 8
  medium  = { max_smtp_out = 4,                         -- S002: 3-5, 4 while recovering; K has 5
              retry_after = "20m" },                    -- S002: asks less often while recovering
  warming = { max_smtp_out = 2,                         -- S002: 1-3
              max_msg_rate = "50/h",                    -- S002: 1200 a day in the first week
              retry_after = "30m" },                    -- S002
  max_connect_rate       = "1/s",                       -- S002: ten at once look like a storm of connections
  max_msg_per_connection = 50,                          -- K
  require_starttls       = true,                        -- K: mail in clear is limited or refused (4.7.29)

  backoff = {
    -- Counted by address, netblock, DKIM domain and URL, and over by itself: K slows down at the second within an hour.
    { "421 4\\.7\\.(0|28) .*unusual rate", name = "unusual rate", after = "2/1h", lasts = "30m", max_msg_rate = "10/m" },
    -- Reputation does not come back within the hour; K stops at the fifth.
    { "421 4\\.7\\.0 .*very low reputation", name = "low reputation", after = "5/1h", lasts = "1h", suspend = true, notify = true },
    -- Said at connect or EHLO when connections come too fast (SIS): one session, and slowly to the next.
    { "421 4\\.7\\.0 .*try again later, closing connection", name = "try again later", lasts = "30m", max_smtp_out = 1, max_connect_rate = "1/m" },
    -- Refused for what it is: who goes on loses more than this campaign (SIS).
    { "550 5\\.7\\.(1|28) .*(unusual rate|unsolicited|low reputation|suspicious)", name = "unsolicited", after = "5/1h", lasts = "1h", suspend = true, notify = true },
    -- What is asked of bulk senders: .23 PTR, .24 and .27 SPF, .26 SPF or DKIM, .30 DKIM, .32 alignment. No retry mends it (SIS).
    { "^(421|451|550) [45]\\.7\\.(23|24|26|27|30|32) ", name = "authentication", after = "5/1h", lasts = "1h", suspend = true, notify = true },
    -- Our side sends in clear, though this policy never does: a proxy in between.
    { "421 4\\.7\\.29 ", name = "TLS required", lasts = "1h", suspend = true, notify = true },
    -- One mailbox gets too much from everybody (SIS, SFM), or is full: not the queue's trouble.
    { "450 4\\.2\\.1 .*receiving mail", name = "mailbox too busy", retry_recipients_after = "1h", scope = "recipient" },
    { "452 4\\.2\\.2 ", name = "mailbox full", retry_recipients_after = "6h", scope = "recipient" },
    -- One host's load or time-out; its neighbours may be well (SIS).
    { "421 4\\.(4\\.5|3\\.0) |451 4\\.4\\.2 |421 4\\.7\\.0 .*connection expired", name = "host busy", skip_mx = true },
    -- Google takes one domain in a transaction (SIS).
    { "451 4\\.3\\.0 .*multiple destination domains", name = "several domains", lasts = "1h", max_rcpt_per_message = 1 },
    inherit = true,
  },
}
