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
void
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
void
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
void
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

bool
route_is_asker(const struct route *route)
{
	return domain_owner(route->queues, span_text(route->name)) == route->queues->o.me;
}

/* The queue that counts its recipients while its hosts are not known. One called by the domain is whose that name is;
 * anybody else who asks keeps them where they are. */
struct queue *
route_queue_before_dns(struct route *route)
{
	struct queues *queues = route->queues;
	const struct ruleset_provider *provider;
	struct span name;

	if (route->queue != NULL && !route_is_asker(route))
		return route->queue;
	name = site_before_dns(queues, span_text(route->name), &provider);
	return queue_get(queues, site_get(queues, name, provider), route->vmta, route->settings);
}

/* ---- away ---- */

/* It leads to that shard, by the answer that is taken (NULL: it will know). */
void
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
bool
route_leads_away(struct route *route, const struct ruleset_provider *provider, struct span site_name, const struct smtp_host *hosts,
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

void
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

void
route_dead(struct route *route, const char *why, struct now now)
{
	route_answered(route, now);
	route->state = ROUTE_DEAD;
	route->expires = now.mono + 60 * US_PER_S;
	snprintf(route->dead, sizeof route->dead, "%s", why);
	if (route->queue == NULL)
		route_lead_to(route, route_queue_before_dns(route));
	route_fail_waiting(route, now);
	queue_maybe_reap(route->queue);
}

/* ---- the table ---- */

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
	struct span key = buf_span(&queues->route_key);
	struct route *route = mem_alloc(sizeof *route + key.n + 1 + domain.n + 1);

	route->queues = queues;
	memcpy(route->key, key.p, key.n);
	route->name = route->key + key.n + 1;
	memcpy(route->name, domain.p, domain.n);
	route->vmta = vmta;
	route->state = ROUTE_RESOLVING;
	route->answered = INT64_MIN;
	list_init(&route->waiting);
	list_init(&route->reap);
	route_asks(route);
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
		if (near != NULL && !route_is_asker(route))
			route_lead_to(route, queue_get(queues, near, vmta, settings_intern(queues, near->provider, domain, vmta)));
		else
			route_lead_to(route, route_queue_before_dns(route));
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
		if (route_by_ruleset(route, now))
			return route;
	}
	if (!is_newer(answer, route))
		return route;
	timer_stop(&queues->o.loop->timers, &route->timer);
	route->answered = answer->at;
	route->asker = answer->asker;
	route_take_answer(route, answer, answer->expires - now.mono, now);
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
	free(route);
}
