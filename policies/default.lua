-- default: a node to try out, on this machine only.
--
-- Takes mail from programs here and sends it to the world from the host's own
-- address, slower than any provider would mind. What to write, and what else
-- there is: policies/README.md.
-- SPDX-License-Identifier: Apache-2.0

listener "127.0.0.1:2525" {
  relay_from = { "127.0.0.0/8", "::1" },        -- nobody else may send through us
}

vmta "default" { source = "any" }               -- a message that chose nobody leaves by this one

-- A new address has no reputation: the large providers count its sessions and its
-- messages. Weeks of mail that is wanted make it "medium", then "high".
require "providers.all" { tier = "warming" }

-- A company's own server counts less, and takes two sessions from anybody.
require "providers.everybody" { tier = "medium" }
