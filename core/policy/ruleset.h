/*
 * ruleset - a loaded policy as plain data: what was declared, and which
 * setting holds for a queue. Immutable; no Lua in it.
 *
 * Precedence (POLICY.md), for each setting by itself: the virtual MTA's block,
 * the pool's, the provider's or exact domain's, wildcard domains (longest
 * first), domain "*", the built-in. A named site in an outer level beats "*"
 * in an inner one.
 *
 * Ownership  Everything lives as long as the ruleset; ruleset_free() ends it.
 * Threads    Read-only: any.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "mail/domain.h"
#include "net/ip.h"
#include "util/arena.h"
#include "util/prng.h"
#include "util/table.h"
#include "util/units.h"

#define UNLIMITED UINT32_MAX

/* Where a value was declared. file NULL: built in. */
struct where {
	const char *file;
	int         line;
	const char *scope;              /* `provider "google"`; "built-in" */
};

/* A list that replaces MX: groups of equal preference, in order. */
struct smtp_host {
	unsigned group;                 /* 0 is tried first */
	char     name[DOMAIN_MAX];      /* "" where it is an address */
	struct ip ip;
	uint16_t port;                  /* 0: smtp_port */
};

struct smtp_hosts {
	unsigned n;
	const struct smtp_host *hosts;
};

/* Every setting of a queue: X(name, kind, level). The one table from which the
 * loader, precedence, provenance, `effective` and the reference page come.
 *   kind   COUNT UNLIMITED|uint32_t · RATE struct rate_spec · DURATION int64_t us ·
 *          DURATIONS struct duration_list · PERCENT double · BOOL · PORT · HOSTS · PATH ·
 *          REACTIONS (its own level's alone: ruleset_reactions() follows `inherit`)
 *   level  Q holds for the queue · T for the site's total · S for a session ·
 *          R for a recipient's own domain, also where its domain is rolled up */
#define QUEUE_SETTINGS(X) \
	X(max_smtp_out,              COUNT,     Q) \
	X(total_max_smtp_out,        COUNT,     T) \
	X(max_connect_rate,          RATE,      Q) \
	X(total_max_connect_rate,    RATE,      T) \
	X(max_msg_rate,              RATE,      Q) \
	X(total_max_msg_rate,        RATE,      T) \
	X(max_msg_per_connection,    COUNT,     S) \
	X(max_rcpt_per_message,      COUNT,     S) \
	X(max_errors_per_connection, COUNT,     S) \
	X(retry_after,               DURATIONS, Q) \
	X(retry_recipients_after,    DURATIONS, R) \
	X(retry_after_dns_error,     DURATION,  R) \
	X(retry_jitter,              PERCENT,   Q) \
	X(bounce_after,              DURATION,  R) \
	X(max_attempts,              COUNT,     R) \
	X(smtp_hosts,                HOSTS,     S) \
	X(smtp_port,                 PORT,      S) \
	X(mx_connection_attempts,    COUNT,     S) \
	X(use_starttls,              BOOL,      S) \
	X(require_starttls,          BOOL,      S) \
	X(verify_tls,                BOOL,      S) \
	X(tls_ca,                    PATH,      S) \
	X(connect_timeout,           DURATION,  S) \
	X(greeting_timeout,          DURATION,  S) \
	X(command_timeout,           DURATION,  S) \
	X(data_timeout,              DURATION,  S) \
	X(final_timeout,             DURATION,  S) \
	X(idle_timeout,              DURATION,  S) \
	X(bounce_upon_no_mx,         BOOL,      R) \
	X(rollup,                    BOOL,      Q) \
	X(backoff,                   REACTIONS, Q) \
	X(paused,                    BOOL,      Q)

#define SETTING_TYPE_COUNT     uint32_t
#define SETTING_TYPE_RATE      struct rate_spec
#define SETTING_TYPE_DURATION  int64_t
#define SETTING_TYPE_DURATIONS struct duration_list
#define SETTING_TYPE_PERCENT   double
#define SETTING_TYPE_BOOL      bool
#define SETTING_TYPE_PORT      uint16_t
#define SETTING_TYPE_HOSTS     const struct smtp_hosts *
#define SETTING_TYPE_PATH      const char *
#define SETTING_TYPE_REACTIONS const struct reaction_list *

struct reaction_list;                   /* policy/reaction.h */

enum setting_id {
#define X(name, kind, level) SETTING_##name,
	QUEUE_SETTINGS(X)
#undef X
	SETTINGS_N
};

/* What holds for one queue (or for one domain within it), fully resolved. */
struct queue_settings {
#define X(name, kind, level) SETTING_TYPE_##kind name;
	QUEUE_SETTINGS(X)
#undef X
	struct where where[SETTINGS_N];
};

const char *setting_name(enum setting_id id);

struct ruleset_block;                   /* settings as declared somewhere */
struct block_index;                     /* finds the block of a site */

#define WARMUP_DAYS_MAX 1000u

struct ruleset_warmup {
	wall_ms_t   start;              /* midnight of day 1, UTC */
	uint32_t   *per_day;            /* recipients to a site; the last holds from then on */
	uint32_t    days_n;
	const char **providers;         /* none: every site */
	unsigned    providers_n;
	const char *overflow;           /* virtual MTA or pool */
	struct where where;
};

int64_t warmup_day(const struct ruleset_warmup *warmup, wall_ms_t now);         /* 0: before the start */
uint32_t warmup_per_day(const struct ruleset_warmup *warmup, int64_t day);
wall_ms_t warmup_day_ends(const struct ruleset_warmup *warmup, int64_t day);
struct ruleset_provider;
bool warmup_is_for(const struct ruleset_warmup *warmup, const struct ruleset_provider *provider);

struct ruleset_vmta {
	const char *name;
	unsigned    index;              /* in ruleset->vmtas */
	struct where where;
	const struct ip *sources;       /* n == 0: "any" */
	unsigned    sources_n;
	const char *hostname;           /* NULL: the node's */
	uint32_t    max_smtp_out;       /* UNLIMITED */
	struct rate_spec max_connect_rate, max_msg_rate;
	struct where max_smtp_out_where, max_connect_rate_where, max_msg_rate_where;
	const struct ruleset_warmup *warmup;    /* NULL: none */
	const struct ruleset_pool *limit_pool;  /* the one pool with caps or settings that holds it; NULL */
	const struct ruleset_block *const *blocks;      /* its own provider and domain blocks */
	unsigned    blocks_n;
	struct block_index *index_of_blocks;
};

struct ruleset_member { const struct ruleset_vmta *vmta; uint32_t weight; };

struct ruleset_pool {
	const char *name;
	unsigned    index;
	struct where where;
	const struct ruleset_member *members;
	unsigned    members_n;
	uint64_t    weight_sum;
	uint32_t    max_smtp_out;
	struct rate_spec max_connect_rate, max_msg_rate;
	struct where max_smtp_out_where, max_connect_rate_where, max_msg_rate_where;
	const struct ruleset_block *const *blocks;
	unsigned    blocks_n;
	struct block_index *index_of_blocks;
};

/* What a name of the shared name space means: one of the two. */
struct ruleset_name { const struct ruleset_vmta *vmta; const struct ruleset_pool *pool; };

struct ruleset_provider {
	const char *name;
	unsigned    index;
	struct where where;
	const char *const *domains;     /* normal form */
	unsigned    domains_n;
	const struct domain_pattern *mx;
	unsigned    mx_n;
};

struct ruleset_listener {
	struct endpoint at;
	const char *name;               /* as written: "127.0.0.1:2525" */
	struct where where;
	const struct cidr *relay_from;
	unsigned    relay_from_n;
	const struct domain_pattern *relay_to;
	unsigned    relay_to_n;
	const char *hostname;           /* NULL: the node's */
	uint64_t    max_message_size;
	uint32_t    max_rcpt_per_message, max_messages_per_connection;
	uint32_t    max_sessions, max_sessions_per_client;      /* UNLIMITED */
	uint32_t    max_errors;
	int64_t     command_timeout, data_timeout;
	const char *tls_certificate, *tls_key;  /* NULL: no STARTTLS; paths resolved against the policy's folder */
	bool        require_tls;
};

struct ruleset_node {
	const char *hostname;           /* never NULL after load */
	const char *spool;
	const char *control;            /* NULL: control.sock in the spool */
	uint32_t    workers;            /* 0: auto */
	const struct endpoint *resolver;
	unsigned    resolver_n;         /* 0: /etc/resolv.conf */
	const char *accounting_file;    /* NULL: none */
	uint32_t    accounting_records; /* enum account_type bits: 1 << type, in CLI.md's order d b t tq r */
	const char *http;               /* NULL: off */
	uint32_t    max_smtp_out, max_smtp_in;
	struct rate_spec max_msg_rate;
	struct where max_smtp_out_where, max_msg_rate_where;
	uint64_t    memory_limit;       /* bytes */
	uint64_t    min_free_space;
	const char *user;               /* NULL: stay */
	uint64_t    seed;               /* 0: from the system */
};

struct ruleset {
	struct arena arena;
	const char  *file;
	struct ruleset_node node;
	const struct ruleset_listener *listeners; unsigned listeners_n;
	const struct ruleset_vmta     *const *vmtas;     unsigned vmtas_n;
	const struct ruleset_pool     *const *pools;     unsigned pools_n;
	const struct ruleset_provider *const *providers; unsigned providers_n;
	/* the loader's own */
	const struct ruleset_block *const *blocks; unsigned blocks_n;   /* global provider and domain blocks */
	struct block_index *index_of_blocks;
	struct table names;             /* virtual MTAs and pools: struct ruleset_name */
	struct table provider_names;
	struct table domains;           /* domain -> provider */
	struct reaction_book *reactions;
};

void ruleset_free(struct ruleset *ruleset);

/* Equal, also in another process, where the same mail counts in the same limiters, and the same ones limit. Not by how much. */
uint64_t ruleset_digest(const struct ruleset *ruleset);

const struct ruleset_vmta *ruleset_vmta(const struct ruleset *ruleset, struct span name);       /* NULL: none */
const struct ruleset_pool *ruleset_pool(const struct ruleset *ruleset, struct span name);
const struct ruleset_provider *ruleset_provider(const struct ruleset *ruleset, struct span name);

/* Who sends what chose `name`: the virtual MTA itself, or a member of the pool picked by
 * weight; *pool_out the pool or NULL. NULL: no such name. */
const struct ruleset_vmta *ruleset_choose(const struct ruleset *ruleset, struct span name, struct prng *prng,
					  const struct ruleset_pool **pool_out);

/* The provider that names the domain. NULL: none does. */
const struct ruleset_provider *ruleset_provider_of_domain(const struct ruleset *ruleset, struct span domain);
/* The provider whose mx patterns match every one of the hosts. */
const struct ruleset_provider *ruleset_provider_of_mx(const struct ruleset *ruleset, const char *const *hosts, unsigned n);
/* The domain must not share a site with others of the same MX set: rollup = false, smtp_hosts, or a
 * block (other than "*") of any level that matches it and sets more than level-R settings. */
bool ruleset_domain_is_alone(const struct ruleset *ruleset, struct span domain);

/* The site of a domain with these mail exchangers of the lowest preference (n 0: none, it is mailed to its address):
 * its name, which lives as long as the arguments and the ruleset; *provider_out where it is a provider. */
struct span ruleset_site(const struct ruleset *ruleset, struct span domain, const char *const *hosts, unsigned n,
			 const struct ruleset_provider **provider_out);

/* What holds. provider NULL: the site is `domain`, or a rolled-up one of which `domain` is a member.
 * vmta NULL: as if none had blocks. */
void ruleset_resolve(const struct ruleset *ruleset, const struct ruleset_provider *provider, struct span domain,
		     const struct ruleset_vmta *vmta, struct queue_settings *out);

/* What that comes from, as addresses: the same ones lay the same settings. 0: more than max. */
unsigned ruleset_sources(const struct ruleset *ruleset, const struct ruleset_provider *provider, struct span domain,
			 const struct ruleset_vmta *vmta, const void **out, unsigned max);

union setting_value;                    /* policy/setting.h */
/* The same, and fn is told of each value that a stronger one beat (out->where says which), strongest first. */
typedef void ruleset_beaten_fn(void *ctx, enum setting_id id, const union setting_value *value, const struct where *where);
void ruleset_resolve_told(const struct ruleset *ruleset, const struct ruleset_provider *provider, struct span domain,
			  const struct ruleset_vmta *vmta, struct queue_settings *out, ruleset_beaten_fn *fn, void *ctx);
