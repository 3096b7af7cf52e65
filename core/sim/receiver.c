/*
 * The limits of a receiver. They are its own measure of a sender, so they share
 * nothing with the node's limiters: the rate is a count of what was really taken
 * in the window that ends now.
 *
 * A recipient is taken at RCPT and counts from its final dot, so between the
 * two it is promised: promised and taken together never pass the rate, whatever
 * the order in which messages end.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/receiver_own.h"

#include <stdlib.h>

#include "sim/net_sim.h"

#define HASH_SEED 1u            /* nobody attacks a receiver of ours, and it replays */

struct try {
	mono_us_t first_at;
	char      recipient[];
};

int64_t
receiver_now(const struct receiver *receiver)
{
	return loop_now(receiver->options.loop).mono - receiver->options.epoch;
}

struct receiver *
receiver_new(const struct receiver_options *options)
{
	struct receiver *receiver = mem_alloc(sizeof(*receiver));

	receiver->options = *options;
	if (options->net && !options->reset)
		receiver->options.reset = net_sim_reset;
	receiver->host = mem_strdup(options->host);
	receiver->config.hostname = receiver->host;
	answers_init(&receiver->answers);
	list_init(&receiver->sessions);
	list_init(&receiver->spares);
	table_init(&receiver->tries, HASH_SEED);
	sightings_init(&receiver->seen);
	receiver_place(receiver);
	return receiver;
}

static void
forget_tries(struct receiver *receiver)
{
	uint32_t pos = 0;
	struct try *try;

	while ((try = table_next(&receiver->tries, &pos)) != NULL)
		free(try);
	table_fini(&receiver->tries);
}

void
receiver_free(struct receiver *receiver)
{
	if (!receiver)
		return;
	receiver->options.watch = (struct receiver_watch){ 0 };
	receiver_leave_place(receiver);
	while (!list_empty(&receiver->sessions))
		receiver_session_free(list_first(&receiver->sessions, struct receiver_session, link));
	receiver_spares_free(receiver);
	forget_tries(receiver);
	answers_fini(&receiver->answers);
	sightings_fini(&receiver->seen);
	free(receiver->host);
	free(receiver);
}

void
receiver_drain(struct receiver *receiver)
{
	receiver->draining = true;
}

struct answers *
receiver_answers(struct receiver *receiver)
{
	return &receiver->answers;
}

void
receiver_set_max_connections(struct receiver *receiver, uint32_t max_connections)
{
	receiver->max_connections = max_connections;
}

void
receiver_set_rate(struct receiver *receiver, const struct rate_spec *rate)
{
	check(!receiver->options.forgets || rate_unlimited(rate));
	receiver->rate = *rate;
	receiver->rate_first = 0;
}

void
receiver_greylist(struct receiver *receiver, int64_t delay_us)
{
	receiver->greylist_us = delay_us;
}

void
receiver_set_starttls(struct receiver *receiver, bool offered)
{
	receiver->config.starttls = offered;
}

struct refusal
receiver_connect_refusal(const struct receiver *receiver)
{
	if (receiver->max_connections && receiver->admitted >= receiver->max_connections)
		return (struct refusal){ 421, "4.7.0 too many connections" };
	return (struct refusal){ 0 };
}

static bool
is_greylisted(struct receiver *receiver, struct span recipient)
{
	int64_t now = receiver_now(receiver);
	struct try *try = table_get(&receiver->tries, recipient);

	if (!try) {
		try = mem_alloc(sizeof(*try) + recipient.n);
		try->first_at = now;
		memcpy(try->recipient, recipient.p, recipient.n);
		table_put(&receiver->tries, span_make(try->recipient, recipient.n), try);
	}
	return now - try->first_at < receiver->greylist_us;
}

static bool
is_over_rate(struct receiver *receiver)
{
	const struct instants *accepted = &receiver->seen.accepted;
	int64_t began = receiver_now(receiver) - receiver->rate.window_us;

	if (rate_unlimited(&receiver->rate))
		return false;
	while (receiver->rate_first < accepted->n && accepted->at[receiver->rate_first] <= began)
		receiver->rate_first++;
	return accepted->n - receiver->rate_first + receiver->promised >= receiver->rate.count;
}

struct refusal
receiver_rcpt_refusal(struct receiver *receiver, struct span recipient)
{
	if (receiver->greylist_us > 0 && is_greylisted(receiver, recipient))
		return (struct refusal){ 451, "4.7.1 greylisted, come back later" };
	if (is_over_rate(receiver))
		return (struct refusal){ 451, "4.7.1 rate limit exceeded" };
	return (struct refusal){ 0 };
}

uint32_t
receiver_open_from(const struct receiver *receiver, const char *source)
{
	char text[IP_TEXT_MAX];
	uint32_t n = 0;

	if (!source)
		return receiver->totals.open;
	list_each(node, &receiver->sessions) {
		ip_format(&list_entry(node, struct receiver_session, link)->conn->peer.ip, text);
		n += strcmp(text, source) == 0;
	}
	return n;
}

const struct receiver_totals *
receiver_totals(const struct receiver *receiver)
{
	return &receiver->totals;
}

const struct sightings *
receiver_sightings(const struct receiver *receiver)
{
	return &receiver->seen;
}
