-- Made from seed000-hotmail-conservative.conf by `sluice import-pmta`. Look over, before it sends:
--  * what is not written has sluice's default: PowerMTA's, but max_rcpt_per_message (100, was 1000),
--    connect_timeout (60s, was 2m), idle_timeout (5s, was none); a rate is spread evenly, without bursts;
--  * domains of one MX set share a queue, where PowerMTA has one for each: write rollup = false to keep them apart.
--  * no listener: nothing in the configuration says who may send.
--  * who sends: the virtual MTA "default" leaves the choice of the address to the system.

vmta "default" { source = "any" }

domain "hotmail.com" {
  max_smtp_out           = 4,
  max_connect_rate       = "20/h",
  max_msg_per_connection = 10,
  max_msg_rate           = "400/h",
  retry_after            = "1h",
  retry_recipients_after = "30m",
}
