/*
 * cmd_control - asks the running node, by its control socket.
 *
 * Limits     30 s for the node to say something; what is followed may be silent for ever.
 * Errors     *err says it in one sentence; then there is no answer.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include "util/err.h"

/* --control's value, else $SLUICE_CONTROL, else /run/sluice/control.sock. */
const char *cmd_control_path(const char *given);

/* The request's result; NULL fills *err. The request is taken. */
json_t *cmd_control_ask(const char *path, json_t *request, struct err *err);

/* The same for an answer of many lines: fn gets each, borrowed, until it says false (true is returned) or the node ends. */
bool cmd_control_follow(const char *path, json_t *request, bool (*fn)(void *ctx, const json_t *line), void *ctx, struct err *err);

/* {"command":…,"arguments":[…]}; argument NULL: none. */
json_t *cmd_control_request(const char *command, const char *argument);
