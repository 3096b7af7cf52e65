-- reactions: what to do when a receiver says that it is too much.
--
-- Each rule lays limits of its own, for a time of its own: two that match at once
-- both hold, the tightest wins, and each ends by itself. The fields are explained
-- in policies/README.md, "Reactions".
-- SPDX-License-Identifier: Apache-2.0

listener "127.0.0.1:2525" {
  relay_from = { "127.0.0.0/8", "::1" },
}

vmta "mta-1" { source = "any" }
vmta "mta-2" { source = "any" }                 -- kept clean: only what was rerouted leaves by it

pool "default"    { "mta-1" }
pool "clean-pool" { "mta-2" }

provider "microsoft" {
  domains = { "hotmail.com", "outlook.com", "live.com", "msn.com" },
  mx      = { "*.olc.protection.outlook.com" },

  max_smtp_out           = 20,
  max_msg_rate           = "5000/h",
  max_msg_per_connection = 100,
  retry_after            = "30m",

  backoff = {
    -- Too many connections for this address's reputation: an hour with few of them.
    { "421 RP-001",    lasts = "1h",  max_smtp_out = 5, max_msg_rate = "1000/h" },
    -- "Server busy": shorter, and gentler still.
    { "421 4\\.3\\.2", lasts = "45m", max_smtp_out = 2, max_msg_rate = "500/h" },

    -- Refused for what was sent, not how fast: more than ten in an hour will not get better today.
    { "S3140", function(reply, queue) if queue:recent("S3140", "1h") > 10 then queue:suspend "1d" end end },

    inherit = true,                             -- and the rules for everybody
  },
}

provider "yahoo" {
  domains = { "yahoo.com", "aol.com" },
  mx      = { "*.yahoodns.net" },

  backoff = {
    -- Temporarily deferred for complaints: the second one within an hour stops the queue.
    { "TSS0[45]", after = "2/1h", lasts = "2h", suspend = true },
    inherit = true,
  },
}

domain "*" {
  max_smtp_out = 10,

  backoff = {
    -- Half of what is in force, again with each further complaint; then one session more every ten minutes.
    { "4\\.7\\.\\d+ .*rate limit", name = "gentle", lasts = "30m", max_smtp_out = "50%", recover = "+1/10m" },

    -- One mailbox's trouble is not the queue's.
    { "mailbox full", retry_recipients_after = "6h", scope = "recipient" },

    -- Our address is listed: what is left goes by another one, and somebody should look.
    { "^5\\d\\d .*spamhaus", lasts = "4h", reroute = "clean-pool", notify = true },

    { at = "connect", "too many connections", lasts = "15m", max_smtp_out = "50%" },
  },
}

-- A line a bounce in the node's log, for those who read it with other tools.
on.bounced(function(attempt)
  print("bounced", attempt.queue, attempt.recipient, attempt.reply and attempt.reply.line)
end)
