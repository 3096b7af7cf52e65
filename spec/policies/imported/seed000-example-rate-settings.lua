-- Made from seed000-example-rate-settings.conf by `sluice import-pmta`. Look over, before it sends:
--  * what is not written has sluice's default: PowerMTA's, but max_rcpt_per_message (100, was 1000),
--    connect_timeout (60s, was 2m), idle_timeout (5s, was none); a rate is spread evenly, without bursts;
--  * rollup = false in domain "*" keeps a queue for each domain, as in PowerMTA; without it domains of one MX set share.
--  * no listener: nothing in the configuration says who may send.
--  * who sends: the virtual MTA "default" leaves the choice of the address to the system.

vmta "default" { source = "any" }

domain "*" {
  rollup                 = false,
  max_smtp_out           = 10,
  max_msg_per_connection = 10,
  max_msg_rate           = "1000/h",
  max_connect_rate       = "50/h",
}
