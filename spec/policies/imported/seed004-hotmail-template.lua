-- Made from seed004-hotmail-template.conf by `sluice import-pmta`. Look over, before it sends:
--  * 4 lines without counterpart, or wrong: each stands here as a comment, or in the report.
--  * what is not written has sluice's default: PowerMTA's, but max_rcpt_per_message (100, was 1000),
--    connect_timeout (60s, was 2m), idle_timeout (5s, was none); a rate is spread evenly, without bursts;
--  * domains of one MX set share a queue, where PowerMTA has one for each: write rollup = false to keep them apart.
--  * no listener: nothing in the configuration says who may send.
--  * who sends: the virtual MTA "default" leaves the choice of the address to the system.

vmta "default" { source = "any" }

-- =====================================================================
-- PowerMTA Custom Directive Template for Hotmail / Outlook / Live / Msn
-- =====================================================================
provider "microsoft" {
  -- --- Queue Management ---
  domains = {
    "hotmail.com", "outlook.com", "live.com", "msn.com", "hotmail.co.uk", "hotmail.fr", "hotmail.de",
    "hotmail.it", "hotmail.es", "live.co.uk", "live.fr", "live.nl", "outlook.fr", "outlook.de", "outlook.es",
    "windowslive.com", "passport.com",
  },  -- Groups all Microsoft variants into a single queue
  mx      = { "*.olc.protection.outlook.com" },

  retry_after  = "30m",  -- Wait 30 minutes before retrying deferred emails
  bounce_after = "4d",   -- Keep trying to deliver for up to 4 days

  -- --- Connection and Traffic Control ---
  max_smtp_out              = 20,   -- Maximum concurrent SMTP connections from this server
  max_msg_per_connection    = 100,  -- Close connection and open a new one after 100 emails
  max_errors_per_connection = 5,    -- Drop the connection early if multiple errors occur

  -- --- Delivery Rate Limits (Throttling) ---
  max_msg_rate           = "5000/h",  -- Global cap per hour for this specific domain group
  retry_recipients_after = "15m",     -- Minimum delay between retries for temporary failures

  -- --- Bounce and Error Handling ---
  -- bounce-on-4xx-status false  # Do not bounce emails permanently on 4xx temp errors   -- so it is anyway
  -- log-delivery-failures true  # Record detailed failure logs for debugging   -- accounting: records t and tq
  -- log-fallback-failures true  # Record fallback routing logs   -- `sluice why` shows it

  -- --- Security and Authentication ---
  use_starttls     = true,   -- Enforce TLS encryption for secure transit
  require_starttls = false,  -- Fall back to clear text only if remote server lacks TLS
  -- dkim-sign yes  # Force DKIM signing on all outgoing items   -- DKIM signing is not there yet

  backoff = {
    -- --- Automated Backoff (Critical for Microsoft Filters) ---
    -- If Microsoft responds with standard throttling codes, reduce traffic
    -- Back off for 1 hour, drop connections to 5, max 1000/hr
    { "421 RP-001", lasts = "1h", max_smtp_out = 5, max_msg_rate = "1000/h" },
    -- Server busy code: Back off 45 mins, drop to 2 connections
    { "421 4\\.3\\.2", lasts = "45m", max_smtp_out = 2, max_msg_rate = "500/h" },
  },
}
