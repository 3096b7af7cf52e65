/*
 * route - where a domain's mail goes by a virtual MTA: which queue, which hosts.
 *
 *   the domain's provider, or smtp_hosts        no question asked
 *   else MX: every host matches a provider      that provider's site
 *            the domain must be alone           a site called by its name
 *            else                               the site of that MX set, called after the first host
 *            no MX, an address                  a site called by the domain
 *
 * While the answer is not there the recipients wait on the route's list and are
 * counted in a queue called by the domain, so that `why` finds them (gate: dns).
 * An answer that has outlived its TTL is used until the next one is there: the
 * question is asked again when a recipient is picked, and recipients whose
 * route has moved meanwhile are placed anew when their turn comes.
 *
 * The site may be another shard's. Then the route is AWAY: it has no queue, and who is
 * placed by it goes there, with what DNS said. The receiver takes that if it is
 * newer than what it knows. So of two shards whose answers differ one adopts the
 * other's, and nobody is sent to and fro: each hop needs a newer answer. What DNS could not
 * say, or a domain that is dead, stays with the shard that asked.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_own.h"

#define ROUTE_FIXED_US (INT64_C(365) * 86400 * US_PER_S)

/* ---- host sets ---- */

static struct host_set *
host_set_get(struct queues *queues, const struct smtp_host *hosts, unsigned n, bool from_dns)
{
	struct buf key;
	struct host_set *set;
	char ip[IP_TEXT_MAX];

	buf_init(&key, 0);
	buf_add_char(&key, from_dns ? 'm' : 'h');
	for (unsigned i = 0; i < n; i++) {
		ip_format(&hosts[i].ip, ip);
		buf_printf(&key, " %u:%s:%s:%u", hosts[i].group, hosts[i].name, hosts[i].name[0] ? "" : ip, hosts[i].port);
	}
	set = table_get(&queues->host_sets, buf_span(&key));
	if (set == NULL) {
		set = mem_alloc(sizeof *set + n * sizeof *hosts);
		set->key = mem_strndup(buf_span(&key).p, buf_len(&key));
		set->from_dns = from_dns;
		set->n = n;
		memcpy(set->hosts, hosts, n * sizeof *hosts);
		table_put(&queues->host_sets, span_text(set->key), set);
	}
	set->refs++;
	buf_fini(&key);
	return set;
}

void
host_set_unref(struct queues *queues, struct host_set *set)
{
	if (set == NULL || --set->refs > 0)
		return;
	table_remove(&queues->host_sets, span_text(set->key));
	free(set->key);
	free(set);
}

/* ---- answers ---- */

static struct route_answer *
route_answer_new(const struct route *route, const struct smtp_host *hosts, unsigned n, bool by_address)
{
	struct route_answer *answer = mem_alloc(sizeof *answer + n * sizeof *hosts);

	atomic_init(&answer->refs, 1);
	answer->at = route->answered;
	answer->asker = route->asker;
	answer->expires = route->expires;
	answer->by_address = by_address;
	answer->n = n;
	if (n > 0)
		memcpy(answer->hosts, hosts, n * sizeof *hosts);
	return answer;
}

void
route_answer_unref(struct route_answer *answer)
{
	if (answer != NULL && atomic_fetch_sub_explicit(&answer->refs, 1, memory_order_acq_rel) == 1)
		free(answer);
}

/* DNS has answered us, now. */
static void
route_answered(struct route *route, struct now now)
{
	route->answered = now.mono;
	route->asker = route->queues->o.me;
}

static bool
is_newer(const struct route_answer *answer, const struct route *route)
{
	return answer->at > route->answered || (answer->at == route->answered && answer->asker > route->asker);
}

/* ---- placing ---- */

/* NULL: to none of ours. */
static void
route_lead_to(struct route *route, struct queue *queue)
{
	struct queue *before = route->queue;

	route->queue = queue;
	list_remove(&route->in_queue);
	if (queue != NULL)
		list_add_tail(&queue->routes, &route->in_queue);
	if (before != NULL && before != queue)
		queue_maybe_reap(before);
}

static void
route_fail_waiting(struct route *route, struct now now)
{
	/* Each one leaves the list by give_up; new ones cannot come meanwhile. */
	while (!list_empty(&route->waiting)) {
		struct rcpt *rcpt = list_first(&route->waiting, struct rcpt, node);

		rcpt_unlink(rcpt);
		route_place(rcpt, now);
	}
}

void
route_place(struct rcpt *rcpt, struct now now)
{
	struct route *route = rcpt->route;
	struct queue *queue = route->queue;
	char status[16];

	if (route->state == ROUTE_AWAY) {
		rcpt_leave(rcpt, now);
		return;
	}
	if (rcpt_expired(rcpt, now.mono)) {
		rcpt_expire(rcpt, queue);
		return;
	}
	switch (route->state) {
	case ROUTE_DEAD:
		if (route->expires <= now.mono) {
			/* That was then: this one has waited, and asks anew. */
			rcpt_enter(rcpt, queue, RCPT_ROUTING);
			list_add_tail(&route->waiting, &rcpt->node);
			route->state = ROUTE_RESOLVING;
			route_refresh(route, now);
			return;
		}
		snprintf(status, sizeof status, "%.*s", (int)strcspn(route->dead, " "), route->dead);
		rcpt_give_up(rcpt, queue, status, route->dead + strcspn(route->dead, " ") + 1);
		return;
	case ROUTE_RESOLVING:
	case ROUTE_FAILED:
		rcpt_enter(rcpt, queue, RCPT_ROUTING);
		list_add_tail(&route->waiting, &rcpt->node);
		return;
	case ROUTE_READY:
		if (rcpt->due.key > now.mono) {
			rcpt_enter(rcpt, queue, RCPT_DEFERRED);
			heap_add(&queue->deferred, &rcpt->due, rcpt->due.key);
		} else {
			bool held = queue->held_jobs && queues_hold_job(queue->queues, queue->name, rcpt->message->job->name);

			rcpt_enter(rcpt, queue, held ? RCPT_HELD : RCPT_READY);
			lane_add(lane_get(queue, route->hosts), rcpt);
		}
		return;
	case ROUTE_AWAY:
		check(route->state != ROUTE_AWAY);
	}
}

/* The route has a new answer: who waits goes where it says. */
static void
route_settle(struct route *route, struct queue *queue, struct host_set *hosts, struct now now)
{
	struct list waiting;

	list_init(&waiting);
	list_each_safe(node, &route->waiting) {
		struct rcpt *rcpt = list_entry(node, struct rcpt, node);

		rcpt_unlink(rcpt);
		list_add_tail(&waiting, &rcpt->node);
	}
	host_set_unref(route->queues, route->hosts);
	route->hosts = hosts;
	route_lead_to(route, queue);
	route->retry_at = 0;
	travels_gather(route->queues);
	while (!list_empty(&waiting)) {
		struct rcpt *rcpt = list_first(&waiting, struct rcpt, node);

		list_remove(&rcpt->node);
		route_place(rcpt, now);
	}
	travels_post(route->queues);
	if (queue != NULL)
		queue_poll(queue, now);
}

static struct span
site_before_dns(const struct queues *queues, struct span domain, const struct ruleset_provider **provider_out)
{
	*provider_out = ruleset_provider_of_domain(queues->o.ruleset, domain);
	return *provider_out != NULL ? span_text((*provider_out)->name) : domain;
}

unsigned
domain_owner(const struct queues *queues, struct span domain)
{
	const struct ruleset_provider *provider;

	return queues->shards_n > 1 ? queues_owner(queues, site_before_dns(queues, domain, &provider)) : queues->o.me;
}

static bool
is_asker(const struct route *route)
{
	return domain_owner(route->queues, span_text(route->name)) == route->queues->o.me;
}

/* The queue that counts its recipients while its hosts are not known. One called by the domain is whose that name is;
 * anybody else who asks keeps them where they are. */
static struct queue *
queue_before_dns(struct route *route)
{
	struct queues *queues = route->queues;
	const struct ruleset_provider *provider;
	struct span name;

	if (route->queue != NULL && !is_asker(route))
		return route->queue;
	name = site_before_dns(queues, span_text(route->name), &provider);
	return queue_get(queues, site_get(queues, name, provider), route->vmta, route->settings);
}

/* ---- away ---- */

/* It leads to that shard, by the answer that is taken (NULL: it will know). */
static void
route_away(struct route *route, unsigned shard, struct route_answer *answer, struct now now)
{
	route->state = ROUTE_AWAY;
	route->shard = shard;
	route_answer_unref(route->answer);
	route->answer = answer;
	route_settle(route, NULL, NULL, now);
}

/* Is the site another shard's? Then the route leads there. n hosts as DNS said them; by_address: there is none; neither: the
 * ruleset said it, so the other one says the same. */
static bool
leads_away(struct route *route, const struct ruleset_provider *provider, struct span site_name, const struct smtp_host *hosts,
	   unsigned n, bool by_address, int64_t ttl_us, struct now now)
{
	struct queues *queues = route->queues;
	unsigned owner = queues_owner(queues, site_name);

	if (owner == queues->o.me)
		return false;
	route->settings = settings_intern(queues, provider, span_text(route->name), route->vmta);
	route->expires = now.mono + ttl_us;
	route_away(route, owner, n > 0 || by_address ? route_answer_new(route, hosts, n, by_address) : NULL, now);
	return true;
}

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

static void
route_ready(struct route *route, const struct ruleset_provider *provider, struct span site_name,
	    const struct smtp_host *hosts, unsigned n, bool from_dns, int64_t ttl_us, struct now now)
{
	struct queues *queues = route->queues;
	struct site *site = site_get(queues, site_name, provider);
	const struct queue_settings *settings =
		settings_intern(queues, provider, span_text(route->name), route->vmta);

	route->settings = settings;
	route->state = ROUTE_READY;
	route_answer_unref(route->answer);
	route->answer = NULL;
	route->by_address = false;
	route->expires = now.mono + ttl_us;
	route_settle(route, queue_get(queues, site, route->vmta, settings),
		     host_set_get(queues, hosts, n, from_dns), now);
}

static void
route_dead(struct route *route, const char *why, struct now now)
{
	route_answered(route, now);
	route->state = ROUTE_DEAD;
	route->expires = now.mono + 60 * US_PER_S;
	snprintf(route->dead, sizeof route->dead, "%s", why);
	if (route->queue == NULL)
		route_lead_to(route, queue_before_dns(route));
	route_fail_waiting(route, now);
	queue_maybe_reap(route->queue);
}

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

/* The old answer is too old to be used: who has not left yet waits for a new one. */
static void
route_doubted(struct route *route, struct now now)
{
	struct queue *queue = queue_before_dns(route);

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

	if (route->state == ROUTE_AWAY && !is_asker(route)) {
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
	if (!leads_away(route, provider, name, NULL, 0, false, ROUTE_FIXED_US, now))
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
	if (!leads_away(route, NULL, domain, NULL, 0, false, ROUTE_FIXED_US, now))
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

	if (leads_away(route, provider, name, NULL, 0, true, ttl_us, now))
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
	if (leads_away(route, provider, name, hosts, n, false, ttl_us, now))
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

void
route_refresh(struct route *route, struct now now)
{
	if (route->query != NULL)
		return;
	if (literal_host(route, now) || fixed_hosts(route, now))
		return;
	/* An answer from the cache comes before this returns, with query still NULL: then
	 * nothing may be stored over what the answer has set. */
	struct resolver_query *query =
		resolver_ask(route->queues->o.resolver, route->name, RESOLVE_MX, on_mx, route);
	if (query != NULL)
		route->query = query;
}

/* Its hosts were another ruleset's smtp_hosts, and now DNS is to say. */
static void
route_start_over(struct route *route, struct now now)
{
	if (asks_elsewhere(route, now))
		return;
	route->state = ROUTE_RESOLVING;
	route->answered = INT64_MIN;
	route_settle(route, queue_before_dns(route), NULL, now);
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
	if (answer->by_address)
		place_by_address(route, ttl_us, now);
	else
		place_by_mx(route, answer->hosts, answer->n, ttl_us, now);
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
		route_settle(route, queue_before_dns(route), NULL, now);
		route->retry_at = retry_at;
		return;
	case ROUTE_DEAD:
		route_lead_to(route, queue_before_dns(route));
		return;
	case ROUTE_AWAY:
		away_route_take_ruleset(route, now);
	}
}

bool
route_moved(const struct rcpt *rcpt, const struct lane *lane)
{
	const struct route *route = rcpt->route;

	return route->state != ROUTE_READY || route->queue != lane->queue || route->hosts != lane->hosts;
}

/* NULL: none yet; then the key is in queues->route_key. */
static struct route *
route_find(struct queues *queues, struct span domain, const struct ruleset_vmta *vmta)
{
	struct buf *key = &queues->route_key;

	buf_clear(key);
	buf_add(key, domain);
	buf_add_char(key, '/');
	buf_add_text(key, vmta->name);
	return table_get(&queues->routes, buf_span(key));
}

/* It leads nowhere yet. */
static struct route *
route_new(struct queues *queues, struct span domain, const struct ruleset_vmta *vmta)
{
	const struct buf *key = &queues->route_key;
	struct route *route = mem_alloc(sizeof *route);

	route->queues = queues;
	route->key = mem_strndup(buf_span(key).p, buf_len(key));
	route->name = mem_strndup(domain.p, domain.n);
	route->vmta = vmta;
	route->state = ROUTE_RESOLVING;
	route->answered = INT64_MIN;
	list_init(&route->waiting);
	list_init(&route->reap);
	timer_init(&route->timer, on_retry, route);
	table_put(&queues->routes, span_text(route->key), route);
	route->settings = settings_intern(queues, ruleset_provider_of_domain(queues->o.ruleset, domain), domain, vmta);
	list_init(&route->in_queue);
	return route;
}

struct route *
route_get(struct queues *queues, struct span domain, const struct ruleset_vmta *vmta, struct site *near, struct now now)
{
	struct route *route = route_find(queues, domain, vmta);

	if (route == NULL) {
		route = route_new(queues, domain, vmta);
		if (near != NULL && !is_asker(route))
			route_lead_to(route, queue_get(queues, near, vmta, settings_intern(queues, near->provider, domain, vmta)));
		else
			route_lead_to(route, queue_before_dns(route));
		route_refresh(route, now);
	} else if (route->state != ROUTE_FAILED && route->expires <= now.mono) {
		if (route->state == ROUTE_DEAD)
			route->state = ROUTE_RESOLVING;
		route_refresh(route, now);
	}
	return route;
}

struct route *
route_told(struct queues *queues, struct span domain, const struct ruleset_vmta *vmta, const struct route_answer *answer,
	   struct now now)
{
	struct route *route = route_find(queues, domain, vmta);

	if (answer == NULL)
		return route_get(queues, domain, vmta, NULL, now);
	if (route == NULL) {
		route = route_new(queues, domain, vmta);
		if (literal_host(route, now) || fixed_hosts(route, now))
			return route;
	}
	if (!is_newer(answer, route))
		return route;
	timer_stop(&queues->o.loop->timers, &route->timer);
	route->answered = answer->at;
	route->asker = answer->asker;
	if (answer->by_address)
		place_by_address(route, answer->expires - now.mono, now);
	else
		place_by_mx(route, answer->hosts, answer->n, answer->expires - now.mono, now);
	return route;
}

void
route_forget(struct route *route)
{
	struct queues *queues = route->queues;
	struct queue *queue = route->queue;

	check(route->rcpts_n == 0 && list_empty(&route->waiting));
	if (route->query != NULL)
		resolver_cancel(route->query);
	timer_stop(&queues->o.loop->timers, &route->timer);
	list_remove(&route->reap);
	list_remove(&route->in_queue);
	if (queue != NULL)
		queue_maybe_reap(queue);
	table_remove(&queues->routes, span_text(route->key));
	host_set_unref(queues, route->hosts);
	route_answer_unref(route->answer);
	free(route->key);
	free(route->name);
	free(route);
}
