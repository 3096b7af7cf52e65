/*
 * target - one host at a time is looked up, when its turn comes: a session that
 * reaches the first one asks nothing about the others.
 *
 * Addresses that DNS answers with and that lead back into this machine
 * (loopback, unspecified, our own listeners) or to no host at all (multicast, link-local) are left
 * out: whoever writes the zone would choose what we connect to. smtp_hosts may name them. Private
 * ones (10/8) are used: who sends for a site inside its own network has them in its own DNS, as with PowerMTA.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/target.h"

/* So that a host of many dead addresses does not keep the cycle from the one behind it. */
#define ADDRESSES_PER_HOST_MAX 4

static void
shuffle_equals(struct target *target, struct prng *prng)
{
	const struct smtp_host *hosts = target->hosts->hosts;
	unsigned start = 0, n = target->hosts->n;

	while (start < n) {
		unsigned end = start + 1;

		while (end < n && hosts[target->order[end]].group == hosts[target->order[start]].group)
			end++;
		for (unsigned i = end - 1; i > start; i--) {
			unsigned other = start + (unsigned)prng_below(prng, i - start + 1);
			uint16_t swap = target->order[i];

			target->order[i] = target->order[other];
			target->order[other] = swap;
		}
		start = end;
	}
}

void
target_init(struct target *target, struct resolver *resolver, const struct host_set *hosts,
	    const struct ruleset_vmta *vmta, struct prng *prng, void (*on_ready)(void *ctx), void *ctx)
{
	memset(target, 0, offsetof(struct target, addresses));
	target->resolver = resolver;
	target->hosts = hosts;
	target->on_ready = on_ready;
	target->ctx = ctx;
	target->families[IP_V4] = target->families[IP_V6] = vmta->sources_n == 0;
	for (unsigned i = 0; i < vmta->sources_n; i++)
		target->families[vmta->sources[i].family] = true;
	target->order = mem_alloc(hosts->n * sizeof *target->order);
	for (unsigned i = 0; i < hosts->n; i++)
		target->order[i] = (uint16_t)i;
	shuffle_equals(target, prng);
}

void
target_fini(struct target *target)
{
	if (target->query != NULL)
		resolver_cancel(target->query);
	free(target->order);
}

static bool
may_use(const struct target *target, const struct ip *ip)
{
	return !target->hosts->from_dns || !ip_is_no_host(ip);
}

/* Of the addresses that a listener on all of them hears at we know what virtual MTAs send from, and one by its connection:
 * the system leaves from the same address that it arrives at. */
static bool
is_ours(const struct ruleset *ruleset, const struct ip *ip, const struct ip *local)
{
	if (local != NULL && ip_eq(ip, local))
		return true;
	for (unsigned i = 0; i < ruleset->vmtas_n; i++)
		for (unsigned j = 0; j < ruleset->vmtas[i]->sources_n; j++)
			if (ip_eq(ip, &ruleset->vmtas[i]->sources[j]))
				return true;
	return false;
}

/* Of both families there would be two listeners. */
static bool
is_all(const struct ip *ours, const struct endpoint *at)
{
	return ip_is_unspecified(ours) && ours->family == at->ip.family;
}

bool
target_leads_back(const struct target *target, const struct ruleset *ruleset, const struct endpoint *at, const struct ip *local)
{
	if (!target->hosts->from_dns)
		return false;
	for (unsigned i = 0; i < ruleset->listeners_n; i++) {
		const struct endpoint *ours = &ruleset->listeners[i].at;

		if (ours->port == at->port && (ip_eq(&ours->ip, &at->ip) || (is_all(&ours->ip, at) && is_ours(ruleset, &at->ip, local))))
			return true;
	}
	return false;
}

static void
take_addresses(struct target *target, const struct ip *ip, unsigned n)
{
	/* IPv4 first: where both work it has the better-known reputation, and a machine
	 * without IPv6 would waste an attempt on each host. */
	static const enum ip_family families[] = { IP_V4, IP_V6 };
	bool refused = false;

	target->addresses_n = target->next_address = 0;
	for (unsigned f = 0; f < countof(families); f++) {
		for (unsigned i = 0; i < n; i++) {
			if (ip[i].family != families[f] || !target->families[ip[i].family])
				continue;
			if (!may_use(target, &ip[i])) {
				refused = true;
				continue;
			}
			if (target->addresses_n < countof(target->addresses))
				target->addresses[target->addresses_n++] = ip[i];
		}
	}
	if (target->addresses_n > 0)
		return;
	if (refused)
		target->refused++;
	else
		target->unknown++;
}

static void
on_answer(void *ctx, const struct resolver_answer *answer)
{
	struct target *target = ctx;
	bool waited = target->query != NULL;

	target->query = NULL;
	target->addresses_n = target->next_address = 0;
	switch (answer->status) {
	case RESOLVER_OK:
		take_addresses(target, answer->ip, answer->n);
		break;
	case RESOLVER_NODATA:
	case RESOLVER_NXDOMAIN:
		target->unknown++;
		break;
	default:
		target->dns_failed++;
		snprintf(target->dns_detail, sizeof target->dns_detail, "%s", answer->detail ? answer->detail : "no answer");
	}
	if (waited)
		target->on_ready(target->ctx);
}

enum target_result
target_next(struct target *target, const struct queue_settings *settings, struct endpoint *out)
{
	check(target->query == NULL);
	for (;;) {
		if (target->next_address < target->addresses_n && target->next_address < ADDRESSES_PER_HOST_MAX &&
		    (target->next_address > 0 || target->hosts_tried < settings->mx_connection_attempts)) {
			target->hosts_tried += target->next_address == 0;
			out->ip = target->addresses[target->next_address++];
			out->port = target->host->port ? target->host->port : settings->smtp_port;
			return TARGET_ADDRESS;
		}
		if (!target_has_another_host(target, settings))
			return TARGET_NONE;
		target->host = &target->hosts->hosts[target->order[target->next_host++]];
		if (target->host->name[0] == '\0') {
			take_addresses(target, &target->host->ip, 1);
			continue;
		}
		target->query = resolver_ask(target->resolver, target->host->name, RESOLVE_ADDRESS, on_answer, target);
		if (target->query != NULL)
			return TARGET_WAIT;
	}
}

void
target_skip_host(struct target *target)
{
	target->next_address = target->addresses_n;
}

bool
target_has_another_host(const struct target *target, const struct queue_settings *settings)
{
	return target->next_host < target->hosts->n && target->hosts_tried < settings->mx_connection_attempts;
}

void
target_host_name(const struct target *target, const struct endpoint *at, char out[DOMAIN_MAX])
{
	char ip[IP_TEXT_MAX];

	if (target->host != NULL && target->host->name[0] != '\0') {
		span_put(span_text(target->host->name), out, DOMAIN_MAX);
		return;
	}
	ip_format(&at->ip, ip);
	snprintf(out, DOMAIN_MAX, "[%s]", ip);
}
