-- default: a node to try out, on this machine only.
--
-- Takes mail from programs here and sends it to the world from the host's own
-- address, slower than any provider would mind. What to write, and what else
-- there is: policies/README.md.

listener "127.0.0.1:2525" {
  relay_from = { "127.0.0.0/8", "::1" },        -- nobody else may send through us
}

vmta "default" { source = "any" }               -- a message that chose nobody leaves by this one

domain "*" {
  -- A new address has no reputation: receivers count its sessions, and many of
  -- them look like an attack.
  max_smtp_out           = 10,
  max_connect_rate       = "60/m",
  max_msg_per_connection = 100,                 -- some receivers close a longer session with an error

  -- Twenty messages a second to one site is more than a host that is not known
  -- gets accepted anywhere.
  max_msg_rate           = "1200/m",

  -- Greylisting lets a second try pass after 5 to 15 minutes; who is really down
  -- is asked less and less often.
  retry_after            = { "10m", "20m", "1h" },
  retry_recipients_after = { "15m", "30m", "1h", "3h" },
  bounce_after           = "4d12h",             -- a receiver that is down over a long weekend still gets its mail
}
