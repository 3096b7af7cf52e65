/*
 * Where a receiver is in a world: a host on a net_sim, put there anew whenever
 * something about it changes. Connections that are open keep what they began with.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/net_sim.h"
#include "sim/receiver_own.h"

void
receiver_place(struct receiver *receiver)
{
	struct net_sim_host host = {
		.latency_us = (receiver->round_trip_us + 1) / 2,
		.behaviour = NET_SIM_UP,
		.tls_untrusted = receiver->tls_invalid,
		.on_accept = receiver_accept,
		.ctx = receiver,
	};

	if (!receiver->options.net)
		return;
	if (receiver->down)
		host.behaviour = receiver->how == RECEIVER_SILENT ? NET_SIM_SILENT : NET_SIM_REFUSES;
	net_sim_host(receiver->options.net, receiver->options.ip, &host);
}

void
receiver_leave_place(struct receiver *receiver)
{
	if (receiver->options.net)
		net_sim_host(receiver->options.net, receiver->options.ip, NULL);
}

static void
cut(struct receiver_session *session, enum receiver_down how)
{
	if (how == RECEIVER_SILENT)
		net_sim_hang(session->conn);
	else
		net_sim_reset(session->conn);
	if (session->asking)
		session->act = ANSWER_CLOSE;
	else
		receiver_session_free(session);
}

void
receiver_down(struct receiver *receiver, enum receiver_down how)
{
	check(receiver->options.net);
	receiver->down = true;
	receiver->how = how;
	receiver_place(receiver);
	list_each_safe (pos, &receiver->sessions)
		cut(list_entry(pos, struct receiver_session, link), how);
}

void
receiver_up(struct receiver *receiver)
{
	receiver->down = false;
	receiver_place(receiver);
}

void
receiver_set_latency(struct receiver *receiver, int64_t round_trip_us)
{
	receiver->round_trip_us = round_trip_us;
	receiver_place(receiver);
}

void
receiver_set_tls_valid(struct receiver *receiver, bool valid)
{
	receiver->tls_invalid = !valid;
	receiver_place(receiver);
}
