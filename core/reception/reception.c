/*
 * reception - opens what the policy listens on and counts who is there.
 *
 * A door is an address; a port is what one policy says of it. A swap puts another
 * port behind the same door, so that nobody who is about to come in is turned
 * away, and who is in is counted on: sessions keep their port, which keeps its
 * policy and its certificate until the last of them has gone.
 *
 * The shards of a node have the same doors: the first one's are opened first, and
 * the others' join them at the address that came of it, whatever its port was
 * declared to be.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "reception/reception_own.h"

#include "shards.h"

/* A connection that has ended is freed at the end of its turn, with what is left of its TLS. */
#define BURY_AFTER_US (1 * US_PER_S)

static void
on_accept(void *ctx, struct conn *conn)
{
	struct door *door = ctx;

	inbound_accept(door->port, conn);
}

/* ---- doors ---- */

/* first: the same door of the first shard; NULL there. */
static struct door *
door_new(struct reception *reception, const struct endpoint *at, const struct door *first)
{
	struct door *door = mem_alloc(sizeof *door);

	door->reception = reception;
	door->declared = *at;
	if (first != NULL)
		crowd_door_pin(door->crowd = first->crowd);
	else
		door->crowd = crowd_door_new(reception->crowd);
	list_add_tail(&reception->doors, &door->node);
	return door;
}

static void
door_close(struct door *door)
{
	listener_close(door->reception->shard->net, door->listener);
	door->listener = NULL;
}

static void
door_maybe_free(struct door *door)
{
	if (door->ports_n > 0)
		return;
	door_close(door);
	list_remove(&door->node);
	crowd_door_unpin(door->crowd);
	free(door);
}

/* ---- ports ---- */

static void
port_free(struct port *port)
{
	struct door *door = port->door;

	check(port->sessions == 0);
	tls_server_free(port->tls);
	shard_unpin(door->reception->shard, port->policy);
	list_remove(&port->node);
	door->ports_n--;
	door_maybe_free(door);
	free(port);
}

static void
on_bury(void *ctx, struct now now)
{
	struct reception *reception = ctx;

	(void)now;
	while (!list_empty(&reception->dead))
		port_free(list_first(&reception->dead, struct port, node));
}

void
port_maybe_bury(struct port *port)
{
	struct reception *reception = port->door->reception;
	struct loop *loop = reception->shard->loop;

	if (port->sessions > 0 || port->door->port == port || list_linked(&port->node))
		return;
	list_add_tail(&reception->dead, &port->node);
	if (!timer_started(&reception->bury))
		timer_start(&loop->timers, &reception->bury, loop_now(loop).mono + BURY_AFTER_US);
}

static struct port *
port_new(struct door *door, const struct ruleset_listener *rules, struct policy *policy)
{
	struct port *port = mem_alloc(sizeof *port);

	port->door = door;
	port->reception = door->reception;
	port->rules = rules;
	port->hostname = rules->hostname ? rules->hostname : policy_ruleset(policy)->node.hostname;
	port->policy = policy;
	policy_pin(policy);
	list_init(&port->node);
	door->ports_n++;
	return port;
}

static bool
door_listen(struct door *door, const struct door *first, struct err *err)
{
	const struct shard *shard = door->reception->shard;

	if (first != NULL)
		door->listener = net_listen(shard->net, &first->listener->at, LISTEN_JOINS, on_accept, door, err);
	else
		door->listener = net_listen(shard->net, &door->declared, shard->shards->n > 1 ? LISTEN_FIRST : LISTEN_ALONE,
					    on_accept, door, err);
	return door->listener != NULL;
}

static bool
port_ready(struct port *port, const struct port *first, struct err *err)
{
	const struct ruleset_listener *rules = port->rules;

	if (rules->tls_certificate != NULL) {
		port->tls = tls_server_new(rules->tls_certificate, rules->tls_key, err);
		if (port->tls == NULL)
			return false;
		/* A client comes back to whichever shard the system gives it. */
		if (first != NULL)
			tls_server_share_tickets(port->tls, first->tls);
	}
	return port->door->listener != NULL || door_listen(port->door, first != NULL ? first->door : NULL, err);
}

/* ---- another policy's ---- */

struct reception_change {
	struct reception *reception;
	struct port     **ports;
	unsigned          n;
};

static bool
is_taken(const struct reception_change *change, const struct door *door)
{
	for (unsigned i = 0; i < change->n; i++)
		if (change->ports[i]->door == door)
			return true;
	return false;
}

static struct door *
door_for(const struct reception_change *change, const struct endpoint *at, const struct door *first)
{
	list_each(node, &change->reception->doors) {
		struct door *door = list_entry(node, struct door, node);

		if (door->listener != NULL && ip_eq(&door->declared.ip, &at->ip) && door->declared.port == at->port &&
		    (first == NULL || door->crowd == first->crowd) && !is_taken(change, door))
			return door;
	}
	return door_new(change->reception, at, first);
}

void
reception_abandon(struct reception_change *change)
{
	for (unsigned i = 0; i < change->n; i++)
		port_free(change->ports[i]);
	free(change->ports);
	free(change);
}

struct reception_change *
reception_prepare(struct reception *reception, struct policy *fresh, const struct reception_change *first, struct err *err)
{
	const struct ruleset *ruleset = policy_ruleset(fresh);
	const struct shard *shard = reception->shard;
	const struct ruleset_listener *listeners = shard->listeners != NULL ? shard->listeners : ruleset->listeners;
	unsigned n = shard->listeners != NULL ? shard->listeners_n : ruleset->listeners_n;
	struct reception_change *change = mem_alloc(sizeof *change);

	change->reception = reception;
	change->ports = mem_alloc((n + 1) * sizeof(struct port *));
	for (unsigned i = 0; i < n; i++) {
		const struct ruleset_listener *rules = &listeners[i];
		const struct port *same = first != NULL ? first->ports[i] : NULL;
		struct port *port = port_new(door_for(change, &rules->at, same != NULL ? same->door : NULL), rules, fresh);

		change->ports[change->n++] = port;
		if (port_ready(port, same, err))
			continue;
		if (rules->where.file != NULL)
			err_prefix(err, "%s:%d: listener \"%s\": ", rules->where.file, rules->where.line, rules->name);
		reception_abandon(change);
		return NULL;
	}
	return change;
}

void
reception_commit(struct reception_change *change)
{
	struct reception *reception = change->reception;

	list_each_safe(node, &reception->doors) {
		struct door *door = list_entry(node, struct door, node);
		struct port *before = door->port;

		door->port = NULL;
		for (unsigned i = 0; i < change->n; i++)
			if (change->ports[i]->door == door)
				door->port = change->ports[i];
		if (door->port == NULL || reception->stopping)
			door_close(door);
		if (before != NULL)
			port_maybe_bury(before);
	}
	free(change->ports);
	free(change);
}

/* ---- the whole ---- */

struct reception *
reception_new(struct shard *shard, const struct reception *first)
{
	struct reception *reception = mem_alloc(sizeof *reception);

	reception->shard = shard;
	if (first != NULL)
		crowd_pin(reception->crowd = first->crowd);
	else
		reception->crowd = crowd_new(prng_u64(&shard->prng));
	list_init(&reception->doors);
	list_init(&reception->dead);
	list_init(&reception->sessions);
	buf_init(&reception->received, 0);
	timer_init(&reception->bury, on_bury, reception);
	return reception;
}

static void
close_listeners(struct reception *reception)
{
	list_each(node, &reception->doors)
		door_close(list_entry(node, struct door, node));
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
	list_each(node, &reception->doors) {
		struct door *door = list_entry(node, struct door, node);
		struct port *port = door->port;

		door->port = NULL;
		if (port != NULL)
			port_maybe_bury(port);
	}
	timer_stop(&reception->shard->loop->timers, &reception->bury);
	on_bury(reception, loop_now(reception->shard->loop));
	check(list_empty(&reception->doors));
	buf_fini(&reception->received);
	crowd_unpin(reception->crowd);
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
	list_each(node, &reception->doors) {
		const struct door *door = list_entry(node, struct door, node);

		if (door->listener != NULL)
			fn(ctx, door->port->rules, &door->listener->at);
	}
}
