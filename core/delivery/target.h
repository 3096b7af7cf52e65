/*
 * target - the addresses of one delivery cycle, in the order they are tried:
 * the lane's hosts by preference (equals in random order), each host's
 * addresses, those that may be used.
 *
 * What the policy says (settings) is told with each call and never kept: an
 * overlay may replace it at any time.
 *
 * Ownership  init/fini, embedded in the session. The hosts are the lane's, which lives
 *            as long as a session of it.
 * Threads    The shard's.
 * Errors     target_next() tells by TARGET_NONE that there is no further one,
 *            and why none was usable by the three counts.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/resolver.h"
#include "queue/queue.h"

struct target {
	struct resolver       *resolver;
	const struct host_set *hosts;
	bool     families[3];           /* by enum ip_family: there is a source for it */
	uint16_t *order;                /* of hosts->hosts */
	unsigned next_host;
	const struct smtp_host *host;   /* whose addresses these are */
	unsigned addresses_n, next_address;
	unsigned hosts_tried;           /* that had an address to hand out */
	unsigned refused;               /* hosts and addresses left out that may not be used */
	unsigned unknown;               /* hosts without any address */
	unsigned dns_failed;            /* hosts that could not be looked up now */
	struct resolver_query *query;
	void   (*on_ready)(void *ctx);
	void    *ctx;
	/* as many as counted */
	struct ip addresses[RESOLVER_RECORDS_MAX];
	char     dns_detail[160];       /* of the last in dns_failed */
};

enum target_result {
	TARGET_WAIT,                    /* a name is being looked up; on_ready follows */
	TARGET_ADDRESS,
	TARGET_NONE,
};

void target_init(struct target *target, struct resolver *resolver, const struct host_set *hosts,
		 const struct ruleset_vmta *vmta, struct prng *prng, void (*on_ready)(void *ctx), void *ctx);
void target_fini(struct target *target);
enum target_result target_next(struct target *target, const struct queue_settings *settings, struct endpoint *out);
/* DNS sends us to a listener of our own. local: from where we are connected to `at`; NULL: not yet. */
bool target_leads_back(const struct target *target, const struct ruleset *ruleset, const struct endpoint *at, const struct ip *local);
/* Leaves out what is left of this host's addresses. */
void target_skip_host(struct target *target);
bool target_has_another_host(const struct target *target, const struct queue_settings *settings);
/* The name to tell and to verify: the host's, or "[address]" where it has none. */
void target_host_name(const struct target *target, const struct endpoint *at, char out[DOMAIN_MAX]);
