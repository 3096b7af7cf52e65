/*
 * reception - opens what the policy listens on and counts who is there.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "reception/reception_own.h"

static void
on_accept(void *ctx, struct conn *conn)
{
	inbound_accept(ctx, conn);
}

static bool
port_open(struct port *port, struct reception *reception, const struct ruleset_listener *rules, struct err *err)
{
	struct shard *shard = reception->shard;

	port->reception = reception;
	port->rules = rules;
	port->hostname = rules->hostname ? rules->hostname : policy_ruleset(shard->policy)->node.hostname;
	table_init(&port->clients, prng_u64(&shard->prng));
	if (rules->tls_certificate != NULL) {
		port->tls = tls_server_new(rules->tls_certificate, rules->tls_key, err);
		if (port->tls == NULL)
			return false;
	}
	port->listener = net_listen(shard->net, &rules->at, on_accept, port, err);
	return port->listener != NULL;
}

struct reception *
reception_open(struct shard *shard, struct err *err)
{
	struct reception *reception = mem_alloc(sizeof *reception);

	reception->shard = shard;
	list_init(&reception->sessions);
	reception->ports = mem_alloc((shard->listeners_n + 1) * sizeof *reception->ports);
	for (unsigned i = 0; i < shard->listeners_n; i++) {
		bool ok = port_open(&reception->ports[i], reception, &shard->listeners[i], err);

		reception->ports_n = i + 1;
		if (!ok) {
			reception_close(reception);
			return NULL;
		}
	}
	return reception;
}

static void
close_listeners(struct reception *reception)
{
	for (unsigned i = 0; i < reception->ports_n; i++) {
		listener_close(reception->shard->net, reception->ports[i].listener);
		reception->ports[i].listener = NULL;
	}
}

void
reception_close(struct reception *reception)
{
	if (reception == NULL)
		return;
	reception->stopping = true;
	close_listeners(reception);
	while (!list_empty(&reception->sessions))
		inbound_abort(list_first(&reception->sessions, struct inbound, node));
	for (unsigned i = 0; i < reception->ports_n; i++) {
		tls_server_free(reception->ports[i].tls);
		table_fini(&reception->ports[i].clients);
	}
	free(reception->ports);
	free(reception);
}

void
reception_stop(struct reception *reception)
{
	reception->stopping = true;
	close_listeners(reception);
	list_each_safe(node, &reception->sessions)
		inbound_stop(list_entry(node, struct inbound, node));
}

unsigned
reception_sessions(const struct reception *reception)
{
	return reception->sessions_n;
}

void
reception_each_listener(const struct reception *reception,
			void (*fn)(void *ctx, const struct ruleset_listener *listener, const struct endpoint *at), void *ctx)
{
	for (unsigned i = 0; i < reception->ports_n; i++)
		if (reception->ports[i].listener != NULL)
			fn(ctx, reception->ports[i].rules, &reception->ports[i].listener->at);
}
