/*
 * control_request - one line of the control protocol, checked.
 *
 * Ownership  What parse gave (true) ends by control_request_fini(); every text
 *            is borrowed from it.
 * Limits     A line of 64 KiB, 8 arguments, 8 options.
 * Errors     One sentence for who asked.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include "util/err.h"
#include "util/span.h"

enum { CONTROL_REQUEST_MAX = 64 * 1024, CONTROL_ARGUMENTS_MAX = 8, CONTROL_OPTIONS_MAX = 8 };

struct control_request {
	json_t     *json;
	const char *command;
	const char *arguments[CONTROL_ARGUMENTS_MAX];
	unsigned    arguments_n;
	json_t     *options;            /* names to text, or true; NULL: none */
};

bool control_request_parse(struct span line, struct control_request *out, struct err *err);
void control_request_fini(struct control_request *request);
/* NULL: not given; "" for a flag. */
const char *control_request_option(const struct control_request *request, const char *name);
