-- directives: every name that PowerMTA knows, where it stands, what kind of value it has and what it becomes.
-- SPDX-License-Identifier: Apache-2.0
local directives = {}

-- A row: { kind, what it becomes, note =, now = (deprecated), why = (unsupported) }. A row without a
-- second value is handled by its own function in pmta.policy, or has no counterpart.
local contexts = {}

contexts.domain = {
  ["max-smtp-out"] = { "count", "max_smtp_out" },
  ["max-connect-rate"] = { "rate", "max_connect_rate" },
  ["max-msg-rate"] = { "rate", "max_msg_rate" },
  ["max-msg-per-hour"] = { "hourly", "max_msg_rate", now = "max-msg-rate" },
  ["max-msg-per-connection"] = { "count0", "max_msg_per_connection" },
  ["max-errors-per-connection"] = { "count0", "max_errors_per_connection" },
  ["max-rcpt-per-message"] = { "count0", "max_rcpt_per_message" },
  ["max-rcpt-per-transaction"] = { "count0", "max_rcpt_per_message" },
  ["retry-after"] = { "durations", "retry_after" },
  ["retry-recipients-after"] = { "durations", "retry_recipients_after" },
  ["retry-after-dns-error"] = { "duration", "retry_after_dns_error" },
  ["bounce-after"] = { "duration", "bounce_after" },
  ["bounce-upon-no-mx"] = { "no_mx", "bounce_upon_no_mx" },
  ["mx-connection-attempts"] = { "count", "mx_connection_attempts" },
  ["smtp-hosts"] = { "hosts", "smtp_hosts" },
  ["route"] = { "hosts", "smtp_hosts", now = "smtp-hosts" },
  ["default-smtp-port"] = { "port", "smtp_port" },
  ["smtp-port"] = { "port", "smtp_port", now = "default-smtp-port" },
  ["use-starttls"] = { "bool", "use_starttls" },
  ["require-starttls"] = { "bool", "require_starttls" },
  ["connect-timeout"] = { "duration", "connect_timeout" },
  ["smtp-greeting-timeout"] = { "duration", "greeting_timeout" },
  ["data-send-timeout"] = { "duration", "data_timeout" },
  ["smtp-data-termination-timeout"] = { "duration", "final_timeout" },
  ["smtp-multiple-line-response-timeout"] = { "duration", "command_timeout",
    note = "here it is the time for a whole reply" },
  ["connection-idle-timeout"] = { "duration", "idle_timeout" },
  ["disable-mx-rollup"] = { "not_bool", "rollup" },
  ["queue-to"] = { "text", own = "queue_to" },
  ["type"] = { "word", own = "type" },
  ["smtp-pattern-list"] = { "word", own = "pattern_list" },
  ["backoff-max-smtp-out"] = { "count", "max_smtp_out", own = "backoff" },
  ["backoff-max-connect-rate"] = { "rate", "max_connect_rate", own = "backoff" },
  ["backoff-max-msg-rate"] = { "rate", "max_msg_rate", own = "backoff" },
  ["backoff-max-msg-per-hour"] = { "hourly", "max_msg_rate", own = "backoff", now = "backoff-max-msg-rate" },
  ["backoff-retry-after"] = { "durations", "retry_after", own = "backoff" },
  ["backoff-to-normal-after"] = { "duration_or_never", "lasts", own = "backoff" },
  ["backoff-to-normal-after-delivery"] = { "bool", "until_delivery", own = "backoff" },
  ["backoff-reroute-to-virtual-mta"] = { "text", "reroute", own = "backoff" },
  ["reenable-source-ip-after"] = { "duration_or_never", "reenable", own = "backoff" },
  ["bounce-upon-5xx-greeting"] = { "bool", own = "always_false",
    why = "a refusal at the greeting is never final here; a rule with at = \"greeting\", bounce = \"queue\" would make it so" },
  ["smtp-421-means-mx-unavailable"] = { "bool", why = "a 421 ends the session; a rule with \"^421\", skip_mx = true goes on to the next host" },
  ["smtp-out-rampup-interval"] = { "duration", why = "write a max_connect_rate such as \"1/30s\"" },
  ["log-transfer-failures"] = { "bool", own = "logged" },
}

contexts.global = {
  ["total-max-smtp-out"] = { "count", "max_smtp_out", own = "node" },
  ["total-max-smtp-in"] = { "count", "max_smtp_in", own = "node" },
  ["max-memory-usage-percent"] = { "percent", "memory_limit", own = "node" },
  ["host-name"] = { "host", "hostname", own = "node" },
  ["name-server"] = { "ip", own = "name_server" },
  ["spool"] = { "word", own = "spool_line", now = "<spool>" },
  ["spool-min-free-space"] = { "size0", "min_free_space", own = "node", now = "min-free-space" },
  ["smtp-source-host"] = { "rest", own = "source_host" },
  ["smtp-listener"] = { "rest", own = "listener" },
  ["relay-domain"] = { "pattern", own = "relay_domain" },
  ["domain-macro"] = { "rest", own = "macro" },
  ["include"] = { "rest", own = "include" },
  ["smtp-server-tls-certificate"] = { "rest", own = "tls" },
}

contexts["virtual-mta"] = {
  ["smtp-source-host"] = { "rest", own = "source_host" },
  ["host-name"] = { "host", "hostname", own = "item" },
  ["max-smtp-out"] = { "count", "max_smtp_out", own = "item" },
  ["max-smtp-msg-rate"] = { "rate", "max_msg_rate", own = "item" },
}

contexts["virtual-mta-pool"] = {
  ["virtual-mta"] = { "word", own = "member" },
  ["max-smtp-out"] = { "count", "max_smtp_out", own = "pool_cap" },
  ["max-smtp-msg-rate"] = { "rate", "max_msg_rate", own = "item" },
}

contexts.source = {
  ["always-allow-relaying"] = { "bool", own = "source" },
  ["require-auth"] = { "bool", own = "source" },
  ["smtp-service"] = { "bool", own = "source" },
  ["default-virtual-mta"] = { "word", own = "source" },
  ["process-x-virtual-mta"] = { "bool", own = "source" },
  ["retain-x-virtual-mta"] = { "bool", own = "source" },
  ["reject-invalid-virtual-mta"] = { "bool", own = "source" },
  ["process-x-job"] = { "bool", own = "source" },
  ["retain-x-job"] = { "bool", own = "source" },
  ["jobid-header"] = { "word", own = "source" },
  ["process-x-envid"] = { "bool", own = "source" },
  ["max-message-size"] = { "size", "max_message_size", own = "source_limit" },
  ["max-rcpt-per-message"] = { "rcpt_in", "max_rcpt_per_message", own = "source_limit" },
  ["smtp-command-timeout"] = { "duration", "command_timeout", own = "source_limit" },
  ["smtp-data-timeout"] = { "duration", "data_timeout", own = "source_limit" },
  ["add-received-header"] = { "bool", own = "always_true", why = "the Received field is always added" },
  ["allow-starttls"] = { "bool", own = "allow_starttls" },
  ["allow-unencrypted-plain-auth"] = { "bool", own = "always_false", why = "inbound AUTH is not there yet" },
}

contexts["smtp-listener"] = {
  ["source"] = { "word", own = "listener_source" },
  ["tls-certificate"] = { "rest", own = "tls" },
  ["immediate-tls"] = { "bool", own = "always_false", why = "TLS from the first byte is not there; clients use STARTTLS" },
}

contexts["acct-file"] = {
  ["records"] = { "rest", own = "records" },
}
contexts.spool = { ["min-free-space"] = { "size0", "min_free_space", own = "node" } }
contexts["smtp-pattern-list"] = { ["reply"] = { "rest", own = "reply" } }
contexts["mx-rollup-list"] = { ["mx"] = { "rest", own = "mx" } }

contexts.domain["max-cold-virtual-mta-msg"] = { "per_day", own = "cold_days" }
contexts["virtual-mta"]["cold-virtual-mta"] = { "word", own = "cold" }
contexts["virtual-mta-pool"]["cold-virtual-mta"] = { "word", own = "cold" }

-- Names that have no counterpart: why, and the names with their kinds (a name alone is one word).
local function without(context, why, names)
  local rows = contexts[context] or {}
  contexts[context] = rows
  for name, kind in names:gmatch("([%w%-%.%*]+):?(%a*)") do
    rows[name] = rows[name] or { kind ~= "" and kind or "word", why = why }
  end
end

local DKIM = "DKIM signing is not there yet"
local AUTH = "inbound AUTH is not there yet"
local TLS = "TLS versions and ciphers are the library's choice"
local HTTP = "the HTTP API is not there yet"
local LOG = "the log has one form, on standard error"
local DSN = "reports of non-delivery have one form"
local HEADER = "on.message can do it: msg:set_header, msg:remove_header"
local VOLUME = "there are no limits by volume"
local BY_SOURCE = "there are no limits by source address: declare a virtual MTA for each"
local PLAIN = "there is no counterpart"

without("domain", DKIM, [[dkim-sign dkim-identity dkim-identity-fallback dkim-algorithm dkim-headers-canon dkim-body-canon
  dkim-headers:rest dkim-disallow-adding-headers:rest dkim-add-body-limit dkim-add-timestamp dkim-expire-after dkim-query-method dk-sign
  second-dkim-add-body-limit second-dkim-add-timestamp second-dkim-algorithm second-dkim-body-canon second-dkim-disallow-adding-headers:rest
  second-dkim-expire-after second-dkim-headers:rest second-dkim-headers-canon second-dkim-identity second-dkim-identity-fallback
  second-dkim-sign second-dkim-query-method]])
without("domain", VOLUME, "max-data-volume-rate backoff-max-data-volume-rate source-ip-max-data-volume-rate:rest")
without("domain", BY_SOURCE, [[source-ip-max-smtp-out:rest max-smtp-out-per-source-ip source-ip-max-connect-rate:rest
  source-ip-max-msg-rate:rest]])
without("domain", "sessions of all queues are equal; streams of a queue share by msg.priority", [[queue-priority delivery-priority
  allow-priority-interruption allow-priority-interruption-during-transfer]])
without("domain", "AUTH towards receivers is not there", "auth-username auth-password use-unencrypted-plain-auth")
without("domain", TLS, [[smtp-tls-allow-tlsv1 smtp-tls-allow-tlsv1.1 smtp-tls-allow-tlsv1.2 smtp-tls-allow-tlsv1.3 smtp-tls-allow-sslv3
  smtp-tls-ciphers smtp-tls-tlsv1.3-ciphersuites reuse-ssl-session]])
without("domain", "verify_tls = true with tls_ca is the counterpart, but it never falls back to clear text", "smtp-tls-ca-file")
without("domain", "neither DANE nor MTA-STS is there", "use-dane use-mta-sts")
without("domain", "certificates of the client are not there", "smtp-client-certificate:rest")
without("domain", LOG, "log-connections log-commands log-data log-tls log-resolution log-disabled-ips log-messages \
  max-events-recorded track-recipient-events")
without("domain", "notify = true in a rule writes a warning to the log", "backoff-notify:rest disabled-source-ip-notify:rest")
without("domain", DSN, "dsn-format notify-of-delay-every deliver-local-dsn replace-smtp-421-service-response smtp-553-means-invalid-mailbox")
without("domain", "mail goes by SMTP only", [[command:rest macro-variables-preserve-case file-format file-destination discard-as-bounce
  http-delivery-url http-delivery-extra-headers:rest]])
without("domain", "the accounting file holds every queue", "disable-acct-records:rest")
without("domain", HEADER, "remove-header:rest bcc-upon-delivery")
without("domain", PLAIN, [[retry-upon-new-mail bounce-upon-transfer-failure bounce-upon-pix-transfer-failure pix-bug-workaround
  assume-delivery-upon-data-termination-timeout allow-cancel-during-transfer reroute-to-virtual-mta check-spf-outbound
  backoff-upon-all-sources-disabled ignore-8bitmime ignore-chunking ignore-pipelining ignore-dsn add-x-msys-api-header sparkpost-sandbox
  sparkpost-ip-pool]])
contexts.domain["include"] = contexts.global["include"]

without("global", DKIM, "domain-key:rest")
without("global", HTTP, [[http-mgmt-port http-access:rest http-api-key:rest http-csrf-protection http-redirect-to-https
  http-strict-transport-security-max-age http-tls-allow-tlsv1 http-tls-allow-tlsv1.1 http-tls-allow-tlsv1.2 http-tls-allow-tlsv1.3
  http-tls-allow-sslv3 http-tls-ciphers http-tls-tlsv1.3-ciphersuites http-tls-dh-key-length http-tls-ca-file http-log-requests http-log-data
  http-log-tls http-default-max-items http-default-sort-order http-mgmt-source:rest no-http-mgmt-source:rest]])
without("global", LOG, "log-file log-rotate log-auto-rotation log-file-world-readable")
without("global", TLS, [[smtp-server-tls-ca-file smtp-server-tls-allow-tlsv1 smtp-server-tls-allow-tlsv1.1 smtp-server-tls-allow-tlsv1.2
  smtp-server-tls-allow-tlsv1.3 smtp-server-tls-allow-sslv3 smtp-server-tls-ciphers smtp-server-tls-v1.3-ciphersuites
  smtp-server-tls-dh-key-length]])
without("global", DSN, "custom-dsn-from-header:rest dsn-failed-from-template:rest dsn-failed-subject-template:rest \
  dsn-failed-body-template-from:rest postmaster")
without("global", "a cap on a provider holds for all its hosts: total_max_smtp_out", "mx-connection-limit:rest ip-connection-limit:rest")
without("global", "mail comes in by SMTP only", "pickup:rest pickup-remove-dot pickup-retry-interval mailmerge-expands-undefined-variables")
without("global", "`sluice sink` is the test receiver", [[dummy-smtp-ip dummy-smtp-port dummy-smtp-await-slot dummy-smtp-has-chunking
  dummy-smtp-has-pipelining dummy-smtp-has-verp dummy-smtp-latency dummy-smtp-update-stats]])
without("global", "connections through proxies are not there", "smtp-proxy-source-host:rest use-proxy:rest")
without("global", HEADER, "include-headers-from:rest alias:rest domain-suffix host-id")
without("global", PLAIN, [[spool-max-recipients smtp-await-slot edns-udp-length relay-address relay-debug invalid-virtual-mta-fallback
  track-time-first-attempt pmc-acct-min-free-space spool-delete-corrupted run-as-root thread-min-priority thread-max-priority thread-reuse
  volume-audit-api-key enable-signals signals-filter sync-msg-create sync-msg-update smtp-ip broken-auth-clients]])

without("virtual-mta", DKIM, "domain-key:rest")
without("virtual-mta", VOLUME, "max-smtp-data-volume-rate")
without("virtual-mta", "connections through proxies are not there", "smtp-proxy-source-host:rest proxy-protocol use-proxy:rest")
without("virtual-mta", HEADER, "include-headers-from:rest rewrite-list")
without("virtual-mta", "cold-virtual-mta and max-cold-virtual-mta-msg are read", "auto-cold-virtual-mta:rest")
without("virtual-mta", PLAIN, "enable-signals")
contexts["virtual-mta"]["include"] = contexts.global["include"]

without("virtual-mta-pool", DKIM, "domain-key:rest")
without("virtual-mta-pool", VOLUME, "max-smtp-data-volume-rate")
without("virtual-mta-pool", HEADER, "include-headers-from:rest rewrite-list")
without("virtual-mta-pool", PLAIN, "enable-signals")

without("source", AUTH, "allow-auth require-starttls-before-auth smtp-max-auth-failure-rate")
without("source", LOG, "log-connections log-commands log-data log-tls")
without("source", HEADER, [[hide-message-source add-date-header date-header-time add-message-id-header remove-header:rest bcc verp-default
  add-x-virtual-mta-header allow-empty-x-virtual-mta jobid-prefix retain-x-envid remove-received-headers]])
without("source", DSN, "suppress-local-dsn dsn-return-default")
without("source", DKIM, "process-x-dkim-options retain-x-dkim-options process-x-dkim-key retain-x-dkim-key check-dkim-inbound trace-dkim-check")
without("source", "on.message can choose by pattern: msg:header, msg.sender, msg.recipients", "pattern-list")
without("source", PLAIN, [[source-group allow-mailmerge always-allow-api-submission allow-chunking allow-smtputf8 max-message-hops
  too-many-rcpts-fails-message disconnect-on-transient-error accept-invalid-recipients auto-qualify-domain suppression-lists:rest
  process-x-schedule retain-x-schedule check-spf-inbound check-spf-inbound-max-void-lookups reject-spf-check-temperror
  reject-spf-check-permerror reject-spf-check-fail trace-spf-check trace-iprev-check check-iprev-inbound reject-iprev-check-temperror
  reject-iprev-check-permerror reject-iprev-check-fail check-spf-inbound-best-guess]])
contexts.source["include"] = contexts.global["include"]

without("smtp-listener", TLS, [[tls-allow-tlsv1 tls-allow-tlsv1.1 tls-allow-tlsv1.2 tls-allow-tlsv1.3 tls-allow-sslv3 tls-ciphers
  tls-tlsv1.3-ciphersuites tls-dh-key-length tls-ca-file]])
without("smtp-listener", PLAIN, "await-slot")
without("smtp-user", AUTH, "password authentication-method tls-certificate:rest source")
without("source-group", PLAIN, "max-smtp-in reserved-smtp-in")
without("acct-file", "the accounting file has one layout, is never rotated by the node and goes nowhere else", [[record-fields:rest
  map-header-to-field:rest queue-filter:rest iso-times move-interval move-to max-size delete-after retry-interval write-timeout
  user-string:rest sync world-readable count-moved-records privacy-policy:rest http-webhook-url http-webhook-extra-headers:rest
  http-webhook-certificate http-webhook-ca-file http-webhook-max-interval http-webhook-transfer-encoding http-webhook-log-verbose
  http-webhook-connect-timeout http-webhook-io-timeout]])
without("spool", PLAIN, "priority deliver-only delete-file-holders")
without("dns", PLAIN, "precached-domains-file precached-max-domains precached-refresh-interval")
without("proxy", "connections through proxies are not there", "server:rest client:rest protocol-version")
without("pattern-list", "on.message can choose by pattern: msg:header, msg.sender, msg.recipients", "header:rest mail-from:rest rcpt-to:rest")
without("rewrite-list", HEADER, "mail-from:rest from-domain:rest")
without("domain-key-list", DKIM, "domain-key:rest")
without("vault", DKIM, "server-url access-token cache-ttl")
without("bounce-processor", PLAIN, "deliver-unmatched-email deliver-matched-email deliver-email forward-unmatched-to forward-errors-to")
without("address-list", PLAIN, "address:rest address-file domain")
without("email-patterns", PLAIN, "body-pattern-file log-match-info")
without("transmissions-api", PLAIN, "api-key log-requests log-data log-tls")
without("transmissions-api-listener", PLAIN, "tls-certificate:rest")
without("signals", PLAIN, [[api-key upload-url engagement-tracking custom-message-id-header process-x-sp-subaccount-id
  retain-x-sp-subaccount-id log-verbose min-free-space privacy-policy:rest]])
contexts["smtp-pattern-list"]["include"] = contexts.global["include"]

-- Blocks: whether they have a name, where they stand (global unless told), and why nothing of them is carried over.
directives.blocks = {
  ["domain"] = { named = true }, ["virtual-mta"] = { named = true }, ["virtual-mta-pool"] = { named = true },
  ["source"] = { named = true }, ["smtp-listener"] = { named = true }, ["acct-file"] = { named = true },
  ["spool"] = { named = true }, ["smtp-pattern-list"] = { named = true }, ["mx-rollup-list"] = {},
  ["smtp-user"] = { named = true, why = AUTH }, ["source-group"] = { named = true, why = PLAIN },
  ["bounce-category-patterns"] = { why = "bounces are not put into categories by a list" }, ["domain-key-list"] = { named = true, why = DKIM },
  ["dns"] = { why = PLAIN }, ["proxy"] = { named = true, why = "connections through proxies are not there" },
  ["pattern-list"] = { named = true, why = "on.message can choose by pattern" }, ["rewrite-list"] = { named = true, why = HEADER },
  ["aliases"] = { why = PLAIN }, ["vault"] = { why = DKIM }, ["bounce-processor"] = { why = PLAIN },
  ["feedback-loop-processor"] = { why = PLAIN }, ["address-list"] = { named = true, why = PLAIN }, ["email-patterns"] = { why = PLAIN },
  ["transmissions-api"] = { why = PLAIN }, ["transmissions-api-listener"] = { named = true, why = PLAIN }, ["signals"] = { why = PLAIN },
  ["signals-filter"] = { why = PLAIN },
}
contexts["feedback-loop-processor"] = contexts["bounce-processor"]

-- Headers that are met without their brackets.
directives.bare_headers = { ["domain"] = true, ["virtual-mta"] = true, ["virtual-mta-pool"] = true, ["source"] = true }

-- What articles write and PowerMTA does not know, though it has the thing.
directives.aliases = {
  ["max-conn-rate"] = "max-connect-rate", ["max-connection-rate"] = "max-connect-rate", ["max-msg-per-conn"] = "max-msg-per-connection",
  ["max-messages-per-connection"] = "max-msg-per-connection", ["max-message-rate"] = "max-msg-rate", ["max-concurrency"] = "max-smtp-out",
  ["max-connections"] = "max-smtp-out", ["backoff-retry"] = "backoff-retry-after", ["backoff-base-delay"] = "backoff-retry-after",
  ["backoff-reroute-to"] = "backoff-reroute-to-virtual-mta", ["retry-interval"] = "retry-after", ["max-retry-time"] = "bounce-after",
  ["min-retry-interval"] = "retry-recipients-after", ["smtp-source-ip"] = "smtp-source-host", ["dkim-key"] = "domain-key",
  ["enable-starttls"] = "use-starttls", ["administrator"] = "postmaster", ["pmta-hostname"] = "host-name", ["hostname"] = "host-name",
  ["max-conn-out"] = "max-smtp-out", ["vmta"] = "virtual-mta", ["vmta-pool"] = "virtual-mta-pool",
}

-- What it does not know and has not: the nearest name, what it may become, and what to say of it.
directives.foreign = {
  ["mx-rollup"] = { "word", own = "mx_rollup", alias = "<mx-rollup-list>" },
  ["max-retries"] = { "count", "max_attempts", nearest = "bounce-after",
    note = "PowerMTA gives up by age (bounce-after), never by attempts" },
  ["bounce-on-4xx-status"] = { "bool", own = "bounce_on_4xx", of_queue = true, nearest = "reply /^4/ bounce-rcpt" },
  ["log-delivery-failures"] = { "bool", own = "logged", of_queue = true, nearest = "log-transfer-failures",
    note = "accounting has the records t and tq unless told otherwise; an acct-file of this configuration gets them" },
  ["log-fallback-failures"] = { "bool", own = "logged", of_queue = true, nearest = "log-resolution", note = "`sluice why` shows it" },
  ["max-cpu-usage"] = { "count", nearest = "max-memory-usage-percent", why = "there is no guard on the processor; memory_limit is one on memory" },
  ["throttle"] = { "rest", nearest = "max-msg-rate", why = "what it limits is not said" },
  ["error-throttle"] = { "rest", nearest = "backoff-max-msg-rate", why = "what it limits is not said" },
  ["defer-throttle"] = { "rest", nearest = "backoff-max-msg-rate", why = "what it limits is not said" },
  ["throttle-rules"] = { "rest", nearest = "smtp-pattern-list", why = "what it limits is not said" },
  ["limits"] = { "rest", nearest = "domain", why = "what it limits is not said" },
  ["run-as-user"] = { "word", nearest = "run-as-root", why = "node { user = … } is meant" },
  ["run-as-group"] = { "word", nearest = "run-as-root", why = "the user's group is taken" },
}

directives.contexts = contexts

local any = {}          -- name -> the row of the first context that has it
for _, context in ipairs { "domain", "virtual-mta", "virtual-mta-pool", "global", "source", "smtp-listener", "acct-file", "spool",
                           "smtp-pattern-list", "mx-rollup-list" } do
  for name, row in pairs(contexts[context]) do
    any[name] = any[name] or { row = row, context = context }
  end
end
for context, rows in pairs(contexts) do
  for name, row in pairs(rows) do
    any[name] = any[name] or { row = row, context = context }
  end
end
directives.any = any

-- How a name is written: lower case, with hyphens.
function directives.canonical(name)
  return (name:lower():gsub("_", "-"))
end

-- Whether the reader may begin a directive at this word.
function directives.is_name(word)
  local name = directives.canonical(word)
  return any[name] ~= nil or directives.aliases[name] ~= nil or directives.foreign[name] ~= nil or directives.blocks[name] ~= nil
end

-- The kind of the value: "word", "rest", … The context is asked first.
function directives.kind(name, context)
  name = directives.canonical(name)
  local rows = contexts[context] or {}
  if rows[name] then
    return rows[name][1]
  end
  if directives.bare_headers[name] then
    return "word"
  end
  local real = directives.aliases[name]
  local row = (real and (rows[real] or (any[real] and any[real].row))) or directives.foreign[name] or (any[name] and any[name].row)
  return row and row[1] or directives.blocks[name] and "word" or nil
end

return directives
