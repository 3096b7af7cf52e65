/*
 * crowd - counters and a table of clients under one lock: to ask and to count is
 * one step, so of two that come at once to the last place one is refused. With
 * one shard the lock is never waited for.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "reception/crowd.h"

#include <pthread.h>

#include "util/table.h"

struct crowd {
	pthread_mutex_t lock;           /* guards all of it and its doors */
	uint64_t        seed;
	unsigned        refs;
	uint32_t        sessions;
};

struct crowd_door {
	struct crowd *crowd;
	unsigned      refs;
	uint32_t      sessions;
	struct table  clients;          /* address -> struct crowd_client, those with a session */
};

struct crowd_client {
	struct ip ip;
	uint32_t  sessions;
};

static bool
drop_ref(struct crowd *crowd, unsigned *refs)
{
	bool last;

	pthread_mutex_lock(&crowd->lock);
	check(*refs > 0);
	last = --*refs == 0;
	pthread_mutex_unlock(&crowd->lock);
	return last;
}

static void
add_ref(struct crowd *crowd, unsigned *refs)
{
	pthread_mutex_lock(&crowd->lock);
	++*refs;
	pthread_mutex_unlock(&crowd->lock);
}

struct crowd *
crowd_new(uint64_t seed)
{
	struct crowd *crowd = mem_alloc(sizeof *crowd);

	check(pthread_mutex_init(&crowd->lock, NULL) == 0);
	crowd->seed = seed;
	crowd->refs = 1;
	return crowd;
}

void
crowd_pin(struct crowd *crowd)
{
	add_ref(crowd, &crowd->refs);
}

void
crowd_unpin(struct crowd *crowd)
{
	if (!drop_ref(crowd, &crowd->refs))
		return;
	check(crowd->sessions == 0);
	pthread_mutex_destroy(&crowd->lock);
	free(crowd);
}

struct crowd_door *
crowd_door_new(struct crowd *crowd)
{
	struct crowd_door *door = mem_alloc(sizeof *door);

	crowd_pin(crowd);
	door->crowd = crowd;
	door->refs = 1;
	table_init(&door->clients, crowd->seed);
	return door;
}

void
crowd_door_pin(struct crowd_door *door)
{
	add_ref(door->crowd, &door->refs);
}

void
crowd_door_unpin(struct crowd_door *door)
{
	struct crowd *crowd = door->crowd;

	if (!drop_ref(crowd, &door->refs))
		return;
	check(door->sessions == 0);
	table_fini(&door->clients);
	free(door);
	crowd_unpin(crowd);
}

static struct crowd_client *
client_new(struct crowd_door *door, const struct ip *ip)
{
	struct crowd_client *client = mem_alloc(sizeof *client);

	client->ip = *ip;
	table_put(&door->clients, span_make(&client->ip, sizeof client->ip), client);
	return client;
}

static enum crowd_answer
enter(struct crowd_door *door, const struct ip *ip, const struct crowd_limits *limits, struct crowd_client **client_out)
{
	struct crowd_client *client = table_get(&door->clients, span_make(ip, sizeof *ip));

	if (door->crowd->sessions >= limits->of_node || door->sessions >= limits->of_door)
		return CROWD_FULL;
	if ((client != NULL ? client->sessions : 0) >= limits->of_client)
		return CROWD_CLIENT_FULL;
	if (client == NULL)
		client = client_new(door, ip);
	client->sessions++;
	door->sessions++;
	door->crowd->sessions++;
	*client_out = client;
	return CROWD_ENTERS;
}

enum crowd_answer
crowd_enter(struct crowd_door *door, const struct ip *ip, const struct crowd_limits *limits, struct crowd_client **client_out)
{
	enum crowd_answer answer;

	pthread_mutex_lock(&door->crowd->lock);
	answer = enter(door, ip, limits, client_out);
	pthread_mutex_unlock(&door->crowd->lock);
	return answer;
}

void
crowd_leave(struct crowd_door *door, struct crowd_client *client)
{
	pthread_mutex_lock(&door->crowd->lock);
	door->crowd->sessions--;
	door->sessions--;
	if (--client->sessions == 0) {
		table_remove(&door->clients, span_make(&client->ip, sizeof client->ip));
		free(client);
	}
	pthread_mutex_unlock(&door->crowd->lock);
}
