-- example: one provider, its limits, and what to do when it says that it is too much.
-- SPDX-License-Identifier: Apache-2.0

listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8", "::1" } }

vmta "mta-1" { source = "any" }
pool "default" { "mta-1" }                      -- a message that chose nobody leaves by this one

provider "microsoft" {
  domains = { "hotmail.com", "outlook.com", "live.com", "msn.com" },
  mx      = { "*.olc.protection.outlook.com" },

  max_smtp_out = 20,

  backoff = {
    -- Too many connections for this address's reputation: an hour with few of them, then all again.
    { "421 RP-001", lasts = "1h", max_smtp_out = 5 },
  },
}
