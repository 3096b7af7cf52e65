/*
 * cmd_view - the node's answers as a person reads them: what matters in the
 * first line, the rest in columns. JSON in (as `--json` prints it), text out.
 *
 * Time       The wall's, handed in, for instants that are shown as "in 9m12s".
 * Errors     A key that is missing or of another kind reads as absent.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include "cmd/cmd_print.h"
#include "util/buf.h"

void cmd_view_status(const json_t *status, bool colour, struct buf *out);
void cmd_view_queues(const json_t *queues, wall_ms_t now, bool colour, struct buf *out);
enum cmd_style cmd_view_queue_style(const char *mode, const char *gate);
void cmd_view_why(const json_t *why, bool colour, struct buf *out);
/* Rows of `why MESSAGE` and `why RECIPIENT`. */
void cmd_view_found(const json_t *found, bool colour, struct buf *out);
struct cmd_view_act { const char *done /* "paused" */, *pattern; };
cmd_view_fn cmd_view_touched;           /* ctx: struct cmd_view_act */
