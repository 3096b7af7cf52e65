/*
 * cmd_spool - what `spool check` and `spool dump` share: a look at the files of a
 * spool that no node uses.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include "mail/envelope.h"
#include "spool/spool_look.h"
#include "util/arena.h"

/* One message as it was found; borrowed for the call. */
struct cmd_spool_message {
	const struct spool_recovered *found;
	const struct envelope *envelope;
	const struct spool_message *message;    /* stays; to be read when the look is over */
};

struct cmd_spool {
	struct arena  kept;             /* messages */
	struct arena  arena;            /* of one envelope */
	struct disk  *disk;
	struct spool *spool;
	struct spool_counts counts;
	/* Who looks. */
	void (*on_message)(void *ctx, const struct cmd_spool_message *message);
	void (*on_finding)(void *ctx, const struct spool_finding *finding);
	void  *ctx;
	bool   progress;                /* shown on standard error */
};

/* Reads all of it. False: *err; cmd_spool_close() in any case. */
bool cmd_spool_open(struct cmd_spool *look, const char *folder, struct err *err);
void cmd_spool_close(struct cmd_spool *look);

void cmd_spool_file(uint64_t segment, char out[24]);
/* "FILE: bytes 4 to 9: what", without control characters. */
void cmd_spool_finding_text(const struct spool_finding *finding, struct buf *out);

struct cmd_option;
int cmd_spool_dump(const char *folder, const char *id, bool json, bool body);
