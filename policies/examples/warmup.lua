-- warmup: a new address earns its reputation in six weeks.
--
-- Each day it may send so many to each of the large providers; what is more than that
-- goes by the addresses that are known. Forty days of 12% more than the day before
-- are a plan that receivers put up with; one that answers with "slow down" has the
-- reactions of its provider.
-- SPDX-License-Identifier: Apache-2.0

listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8", "::1" } }

require "providers.all" { tier = "high" }
require "providers.everybody" { tier = "high" }

-- On a real host each has an address of its own, as in source = "203.0.113.10".
vmta "mta-1" { source = "any" }
vmta "mta-2" { source = "any" }
pool "seasoned" { "mta-1", "mta-2" }

vmta "mta-new" {
  source = "any",
  warmup = {
    start    = "2026-01-01",
    per_day  = { 50, 100, 150, 200, 300, 400, 500,                      -- the first week: few, to the most faithful readers
                 600, 700, 800, 900, 1000, 1200, 1400,
                 1600, 1800, 2000, 2300, 2600, 3000, 3400,
                 3800, 4300, 4800, 5400, 6000, 6800, 7600,
                 8500, 9500, 10600, 11900, 13300, 14900, 16700,
                 18700, 20900, 23400, 26200, 29400, 32900, 36900 },     -- the sixth
    provider = { "google", "microsoft", "yahoo" },
    overflow = "seasoned",
  },
  -- In the first weeks no more at once than a new address may have.
  provider = { google = { max_smtp_out = 3 }, microsoft = { max_smtp_out = 2 }, yahoo = { max_smtp_out = 3 } },
}

pool "default" { "mta-new" }
