-- safe_backoff: try again after 10 minutes, after 30 in backoff, five times in all.
-- SPDX-License-Identifier: Apache-2.0

listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8", "::1" } }

vmta "mta-1" { source = "any" }
pool "default" { "mta-1" }

domain "*" {
  retry_after  = "10m",
  max_attempts = 6,                             -- max-retries 5 there: the first attempt and five more

  -- backoff-retry 30m there, which says how long a queue in backoff waits, and not what puts it there.
  -- A server that says 421 asks for just that.
  backoff = { { "^421 ", name = "backoff", lasts = "1h", retry_after = "30m", retry_recipients_after = "30m" } },
}
