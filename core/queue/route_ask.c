/*
 * route_ask - what is known of a domain: by the ruleset, by DNS, by another shard; and
 * what comes of it when DNS fails, or another ruleset holds.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_own.h"

#define ROUTE_FIXED_US (INT64_C(365) * 86400 * US_PER_S)

/* ---- when DNS fails ---- */

void
route_retry(struct route *route, struct now now)
{
	check(route->state == ROUTE_FAILED);
	timer_stop(&route->queues->o.loop->timers, &route->timer);
	route->state = ROUTE_RESOLVING;
	route_refresh(route, now);
}

static void
on_retry(void *ctx, struct now now)
{
	route_retry(ctx, now);
}

void
route_asks(struct route *route)
{
	timer_init(&route->timer, on_retry, route);
}

/* The old answer is too old to be used: who has not left yet waits for a new one. */
static void
route_doubted(struct route *route, struct now now)
{
	struct queue *queue = route_queue_before_dns(route);

	route->state = ROUTE_FAILED;
	route_settle(route, queue, NULL, now);
}

static int64_t
dns_wait(const struct route *route, mono_us_t now)
{
	int64_t wait = route->settings->retry_after_dns_error;

	queue_tighten(route->queue, SETTING_retry_after_dns_error, &wait, now);
	return wait;
}

static void
route_failed(struct route *route, const char *detail, struct now now)
{
	struct queues *queues = route->queues;
	struct smtp_reply reply;
	char text[400];
	int64_t wait;

	if (route->state == ROUTE_AWAY && !route_is_asker(route)) {
		/* Only mail that is here yet goes by it, and where it leads that shard asks for itself. */
		route->expires = now.mono + route->settings->retry_after_dns_error;
		return;
	}
	if (route->state == ROUTE_AWAY)
		route_doubted(route, now);
	wait = dns_wait(route, now.mono);
	settings_used(queues, route->settings, SETTING_retry_after_dns_error);
	settings_used(queues, route->settings, SETTING_retry_jitter);
	wait += (int64_t)((double)wait * route->settings->retry_jitter / 100 * prng_double(&queues->prng));
	/* As a session says it of a host, so that one pattern matches both. */
	snprintf(text, sizeof text, "dns: %s", detail);
	smtp_reply_make(&reply, 400, "", text);
	snprintf(reply.enhanced, sizeof reply.enhanced, "4.4.3");
	if (route->state == ROUTE_READY)
		route_doubted(route, now);
	route->state = ROUTE_FAILED;
	route->retry_at = now.mono + wait;
	queue_error(route->queue, reply.line);
	queues->o.ops.queue_failed(queues->o.ops.ctx, route->queue, &reply);
	if (queues->o.ops.dns_failed != NULL)
		queues->o.ops.dns_failed(queues->o.ops.ctx, route->queue, &reply);
	timer_start(&queues->o.loop->timers, &route->timer, route->retry_at);
}

/* ---- asking ---- */

static bool
fixed_hosts(struct route *route, struct now now)
{
	struct queues *queues = route->queues;
	struct span domain = span_text(route->name);
	const struct ruleset_provider *provider = ruleset_provider_of_domain(queues->o.ruleset, domain);
	const struct queue_settings *settings = settings_intern(queues, provider, domain, route->vmta);
	const struct smtp_hosts *hosts = settings->smtp_hosts;
	struct span name;

	if (hosts == NULL)
		return false;
	settings_used(queues, settings, SETTING_smtp_hosts);
	route->answered = MONO_NEVER;
	name = provider != NULL ? span_text(provider->name) : domain;
	if (!route_leads_away(route, provider, name, NULL, 0, false, ROUTE_FIXED_US, now))
		route_ready(route, provider, name, hosts->hosts, hosts->n, false, ROUTE_FIXED_US, now);
	return true;
}

/* An address literal is its own and only host. */
static bool
literal_host(struct route *route, struct now now)
{
	struct span domain = span_text(route->name);
	struct smtp_host host = { 0 };
	struct span text;

	if (domain.n < 3 || domain.p[0] != '[')
		return false;
	text = span_make(domain.p + 1, domain.n - 2);
	if (span_starts_nocase(text, SPAN("IPv6:")))
		text = span_from(text, 5);
	if (!ip_parse(text, &host.ip)) {
		route_dead(route, "5.1.3 not an address literal", now);
		return true;
	}
	route->answered = MONO_NEVER;
	if (!route_leads_away(route, NULL, domain, NULL, 0, false, ROUTE_FIXED_US, now))
		route_ready(route, NULL, domain, &host, 1, true, ROUTE_FIXED_US, now);
	return true;
}

/* It has no MX: it is its own host. */
static void
place_by_address(struct route *route, int64_t ttl_us, struct now now)
{
	const struct ruleset_provider *provider = ruleset_provider_of_domain(route->queues->o.ruleset, span_text(route->name));
	struct span name = span_text(provider != NULL ? provider->name : route->name);
	struct smtp_host host = { 0 };

	if (route_leads_away(route, provider, name, NULL, 0, true, ttl_us, now))
		return;
	snprintf(host.name, sizeof host.name, "%s", route->name);
	route_ready(route, provider, name, &host, 1, true, ttl_us, now);
	route->by_address = true;
}

static void
on_address(void *ctx, const struct resolver_answer *answer)
{
	struct route *route = ctx;
	struct now now = loop_now(route->queues->o.loop);

	route->query = NULL;
	switch (answer->status) {
	case RESOLVER_OK:
		route_answered(route, now);
		place_by_address(route, answer->ttl_s * US_PER_S, now);
		return;
	case RESOLVER_NODATA:
	case RESOLVER_NXDOMAIN:
		route_dead(route, "5.1.2 the domain has neither a mail exchanger nor an address", now);
		return;
	default:
		route_failed(route, answer->detail, now);
	}
}

/* By the hosts of its MX records, the lowest preference first. */
static void
place_by_mx(struct route *route, const struct smtp_host *hosts, unsigned n, int64_t ttl_us, struct now now)
{
	const struct ruleset *ruleset = route->queues->o.ruleset;
	struct span domain = span_text(route->name);
	const struct ruleset_provider *provider;
	const char *lowest[RESOLVER_RECORDS_MAX];
	unsigned lowest_n = 0;
	struct span name;

	for (unsigned i = 0; i < n && hosts[i].group == hosts[0].group; i++)
		lowest[lowest_n++] = hosts[i].name;
	name = ruleset_site(ruleset, domain, lowest, lowest_n, &provider);
	if (provider == NULL)
		settings_used(route->queues, route->settings, SETTING_rollup);
	if (route_leads_away(route, provider, name, hosts, n, false, ttl_us, now))
		return;
	/* A provider found by MX may bring smtp_hosts of its own. */
	if (provider != NULL) {
		const struct queue_settings *settings = settings_intern(route->queues, provider, domain, route->vmta);
		const struct smtp_hosts *own = settings->smtp_hosts;

		if (own != NULL) {
			settings_used(route->queues, settings, SETTING_smtp_hosts);
			route_ready(route, provider, name, own->hosts, own->n, false, ttl_us, now);
			return;
		}
	}
	route_ready(route, provider, name, hosts, n, true, ttl_us, now);
}

static void
on_mx_hosts(struct route *route, const struct resolver_answer *answer, struct now now)
{
	struct smtp_host hosts[RESOLVER_RECORDS_MAX] = { 0 };

	for (unsigned i = 0; i < answer->n; i++) {
		hosts[i].group = answer->mx[i].preference;
		snprintf(hosts[i].name, sizeof hosts[i].name, "%s", answer->mx[i].host);
	}
	route_answered(route, now);
	place_by_mx(route, hosts, answer->n, answer->ttl_s * US_PER_S, now);
}

static void
on_mx(void *ctx, const struct resolver_answer *answer)
{
	struct route *route = ctx;
	struct now now = loop_now(route->queues->o.loop);

	route->query = NULL;
	switch (answer->status) {
	case RESOLVER_OK:
		if (answer->n == 1 && answer->mx[0].host[0] == '\0')
			route_dead(route, "5.1.10 the domain accepts no mail (null MX)", now);
		else
			on_mx_hosts(route, answer, now);
		return;
	case RESOLVER_NODATA:
		settings_used(route->queues, route->settings, SETTING_bounce_upon_no_mx);
		if (route->settings->bounce_upon_no_mx) {
			route_dead(route, "5.1.2 the domain has no mail exchanger", now);
			return;
		}
		route->query = resolver_ask(route->queues->o.resolver, route->name, RESOLVE_ADDRESS, on_address, route);
		return;
	case RESOLVER_NXDOMAIN:
		route_dead(route, "5.1.2 no such domain", now);
		return;
	default:
		route_failed(route, answer->detail, now);
	}
}

bool
route_by_ruleset(struct route *route, struct now now)
{
	return literal_host(route, now) || fixed_hosts(route, now);
}

void
route_take_answer(struct route *route, const struct route_answer *answer, int64_t ttl_us, struct now now)
{
	if (answer->by_address)
		place_by_address(route, ttl_us, now);
	else
		place_by_mx(route, answer->hosts, answer->n, ttl_us, now);
}

void
route_refresh(struct route *route, struct now now)
{
	if (route->query != NULL)
		return;
	if (route_by_ruleset(route, now))
		return;
	/* An answer from the cache comes before this returns, with query still NULL: then
	 * nothing may be stored over what the answer has set. */
	struct resolver_query *query =
		resolver_ask(route->queues->o.resolver, route->name, RESOLVE_MX, on_mx, route);
	if (query != NULL)
		route->query = query;
}

/* ---- another ruleset ---- */

/* What was known of it holds no more, and another shard is to ask. False: we are. */
static bool
asks_elsewhere(struct route *route, struct now now)
{
	unsigned owner = domain_owner(route->queues, span_text(route->name));

	if (owner == route->queues->o.me)
		return false;
	route->answered = INT64_MIN;
	route->expires = now.mono;
	route_away(route, owner, NULL, now);
	return true;
}

/* Its hosts were another ruleset's smtp_hosts, and now DNS is to say. */
static void
route_start_over(struct route *route, struct now now)
{
	if (asks_elsewhere(route, now))
		return;
	route->state = ROUTE_RESOLVING;
	route->answered = INT64_MIN;
	route_settle(route, route_queue_before_dns(route), NULL, now);
	route_refresh(route, now);
}

static void
stop_asking(struct route *route)
{
	if (route->query != NULL)
		resolver_cancel(route->query);
	route->query = NULL;
	timer_stop(&route->queues->o.loop->timers, &route->timer);
}

static void
away_route_take_ruleset(struct route *route, struct now now)
{
	struct route_answer *answer = route->answer;
	int64_t ttl_us = max_i64(0, route->expires - now.mono);

	if (literal_host(route, now))
		return;
	if (fixed_hosts(route, now)) {
		stop_asking(route);
		return;
	}
	if (answer == NULL) {
		route_start_over(route, now);
		return;
	}
	atomic_fetch_add_explicit(&answer->refs, 1, memory_order_relaxed);
	route_take_answer(route, answer, ttl_us, now);
	route_answer_unref(answer);
}

static void
ready_route_take_ruleset(struct route *route, struct now now)
{
	int64_t ttl_us = max_i64(0, route->expires - now.mono);

	if (literal_host(route, now))
		return;
	if (route->settings->smtp_hosts != NULL && fixed_hosts(route, now)) {
		stop_asking(route);
		return;
	}
	if (!route->hosts->from_dns)
		route_start_over(route, now);
	else if (route->by_address)
		place_by_address(route, ttl_us, now);
	else
		place_by_mx(route, route->hosts->hosts, route->hosts->n, ttl_us, now);
}

void
route_take_ruleset(struct route *route, struct now now)
{
	struct queues *queues = route->queues;
	struct span domain = span_text(route->name);
	mono_us_t retry_at = route->retry_at;

	route->vmta = ruleset_vmta(queues->o.ruleset, span_text(route->vmta->name));
	check(route->vmta != NULL);
	route->settings = settings_intern(queues, ruleset_provider_of_domain(queues->o.ruleset, domain), domain, route->vmta);
	switch (route->state) {
	case ROUTE_READY:
		ready_route_take_ruleset(route, now);
		return;
	case ROUTE_RESOLVING:
	case ROUTE_FAILED:
		if (fixed_hosts(route, now) || asks_elsewhere(route, now)) {
			stop_asking(route);
			return;
		}
		route_settle(route, route_queue_before_dns(route), NULL, now);
		route->retry_at = retry_at;
		return;
	case ROUTE_DEAD:
		route_lead_to(route, route_queue_before_dns(route));
		return;
	case ROUTE_AWAY:
		away_route_take_ruleset(route, now);
	}
}
