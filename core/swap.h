/*
 * swap - puts another policy in force while mail flows: by command, by signal,
 * when a file changes; back to the one before, by hand or by itself.
 *
 * A policy is read once (a bundle), loaded beside the one in force and compared with
 * it, all off the loop; only the step itself is the loop's (shards_swap()). One
 * at a time. What was accepted is on probation for a minute: with too many hook
 * errors in it the policy before comes back by the same road. What has passed
 * it is kept in the spool's folder, for a start with `--last-good`.
 *
 * Ownership  new/free; free before the shards close, and the worker after both.
 * Threads    The first shard's; the work is done on the worker.
 * Limits     One swap at a time; another one is told so.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/control_swap.h"
#include "policy/bundle.h"
#include "shards.h"

struct swap;

struct swap_options {
	struct shards *shards;
	struct worker *worker;                  /* not the spool's: a load takes longer than a commit may */
	struct clock  *clock;
	struct bundle *bundle;                  /* of the policy in force; taken */
	bool           watch;
	/* What of the node's settings is not the shard's: prepare may fail, and is followed by one of the others. */
	bool         (*prepare)(void *ctx, const struct ruleset_node *settings, struct err *err);
	void         (*commit)(void *ctx);
	void         (*abandon)(void *ctx);
	void          *ctx;
};

struct swap *swap_new(const struct swap_options *options);
/* clean: the node ends in order, so what is in force has proved itself as far as it could. */
void swap_free(struct swap *swap, bool clean);

void swap_again(struct swap *swap);             /* the same file; what comes of it is logged */
/* For control_on_swap(): ctx is the swap. */
void swap_ask(void *ctx, const struct control_swap *asked, struct control_later *later);

/* FILE:LINE: and the text, for each error; warnings to the log. */
void swap_print_report(struct log *log, const struct policy_report *report);
