-- outage: a provider that can't be reached from here is reached by another way.
--
-- When connections to it fail again and again, its mail leaves by a relay in another
-- network, and comes back to the direct way by itself.
-- SPDX-License-Identifier: Apache-2.0

listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8", "::1" } }

vmta "direct" { source = "any" }
pool "default" { "direct" }

-- All that leaves by this one goes to our host elsewhere, which asks DNS itself.
vmta "relay" {
  source = "any",
  max_smtp_out = 20,
  provider = {
    google = { smtp_hosts = "relay.example.net", max_smtp_out = 10 },
  },
}

provider "google" {
  domains = { "gmail.com", "googlemail.com" },
  mx      = { "*.google.com", "*.googlemail.com" },

  max_smtp_out = 10,
  retry_after  = { "5m", "10m", "30m" },        -- failures are how the end of the outage is noticed: soon at first

  backoff = {
    -- No connection to any of its hosts, three times within an hour: half an hour by the relay, then one look.
    { at = "connect", "^400 ", name = "outage", after = "3/1h", lasts = "30m", reroute = "relay", notify = true },
  },
}
