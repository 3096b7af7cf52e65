/*
 * cmd_explain - an explanation (control/explain.h) for a person to read.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include "util/buf.h"

void cmd_explain_view(const json_t *answer, bool colour, struct buf *out);
