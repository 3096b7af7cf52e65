/*
 * inject - a load under way: what `inject` was told and has counted, and the
 * sessions that send it.
 *
 * Ownership  The caller's; a session frees itself when it is over.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cmd/latency.h"
#include "net/conn.h"
#include "smtp/smtp_client.h"
#include "util/list.h"

struct inject {
	struct loop    *loop;
	struct net     *net;
	struct endpoint to;
	const char     *sender, *recipient;
	struct smtp_client_config config;
	struct tls_client *tls;                 /* --starttls */
	struct list     sessions;
	struct timer    tick;
	struct buf      head, body;             /* wire form, without Message-ID and the final dot */
	uint64_t        count, begun, accepted, refused;
	uint64_t        run_id, ids;            /* what Message-IDs are made of */
	mono_us_t       started, last_heard;
	struct latency  latency;                /* of final replies */
	bool            progress, stopped;
	char            first_trouble[SMTP_REPLY_TEXT_MAX + 100];
};

/* False: not even begun, and first_trouble says why. */
bool inject_session_open(struct inject *inject);
/* Ends them all where they are. */
void inject_sessions_cut(struct inject *inject);
/* The first one counts. */
void inject_trouble(struct inject *inject, const char *text);
