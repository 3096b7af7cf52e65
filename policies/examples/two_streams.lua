-- two_streams: transactional and marketing mail, kept apart.
--
-- A campaign to a stale list costs the address that sends it its reputation. A
-- password reset that has to wait for it, or is refused with it, costs a customer.
-- So each has addresses of its own, and neither can use up the other's sessions.
-- SPDX-License-Identifier: Apache-2.0

listener "127.0.0.1:2525" { relay_from = { "127.0.0.0/8", "::1" } }

-- On a real host each has an address, as in source = "203.0.113.10", and its name in DNS.
vmta "tx-1"  { source = "any", hostname = "tx-1.example.com" }
vmta "mkt-1" { source = "any", hostname = "mkt-1.example.com" }
vmta "mkt-2" { source = "any", hostname = "mkt-2.example.com" }

pool "transactional" { "tx-1" }
pool "marketing"     { "mkt-1", "mkt-2",
                       max_smtp_out = 50 }      -- over all providers: the host stays free for the rest

require "providers.all" { tier = "high" }
require "providers.everybody" { tier = "high" }

-- What nobody marked is treated as the kind that can wait.
on.message(function(msg)
  local stream = msg:header "X-Stream" or "marketing"
  if stream ~= "transactional" and stream ~= "marketing" then
    return reject "550 5.6.0 X-Stream is transactional or marketing"
  end
  msg.pool = stream
  msg.priority = stream == "transactional" and 90 or 50
  msg:remove_header "X-Stream"
end)
