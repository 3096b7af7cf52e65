/*
 * control - the node's socket for its operator: one request a line, one answer a line, in JSON.
 *
 *   -> {"command":"why","arguments":["google/mta-1"],"options":{"job":"x"}}
 *   <- {"ok":true,"result":{…}}   or   {"ok":false,"error":"no such queue: …"}
 *
 * The result is what `sluice COMMAND --json` prints. Only the user who runs the node, and root, are answered.
 *
 * Threads    The first shard's; a command is done, or a piece of its answer written, while all stand still.
 * Limits     A request of 64 KiB, 16 connections, 30 s of silence.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "shards.h"

struct control;

struct control *control_open(struct shards *shards, const char *path, struct err *err);
void control_close(struct control *control);
/* Another path: it is listened on, and is the caller's until control_move() takes it for the one before. Who is connected stays. */
struct listener *control_listen(struct control *control, const char *path, struct err *err);
void control_move(struct control *control, struct listener *listener);
