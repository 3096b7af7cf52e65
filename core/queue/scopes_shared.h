/*
 * scopes_shared - what the shards of a node have in common of its own scope, of those of
 * its pools and of those of its virtual MTAs, by name.
 *
 * A shard's scope joins the one of its name, and leaves it with the virtual MTA or the
 * pool; when nobody has it any more it is gone: what comes back by that name is new.
 *
 * Ownership  Outlives the queues of all shards, and their mail.
 * Threads    The table is the first shard's thread's alone: before others run, or while they stand still.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "queue/scope.h"
#include "util/table.h"

struct scopes_shared;

struct scopes_shared *scopes_shared_new(struct peers *peers);
void scopes_shared_free(struct scopes_shared *shared);          /* NULL is fine */

/* kind: "node", "pool", "vmta". Before anything is in use of the scope. */
void scopes_shared_join(struct scopes_shared *shared, unsigned me, const char *kind, const char *name, struct scope *scope);
/* Instead of scope_fini(). For the last one no session may be open. */
void scopes_shared_leave(struct scopes_shared *shared, struct scope *scope);
