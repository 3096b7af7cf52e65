/*
 * notes - what a load found: one line each, with its place.
 *
 * Limits     NOTES_MAX of a kind are kept; a file that wrong is not read to its end.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/policy.h"

#define NOTES_MAX 1000

void notes_error(struct policy_report *report, const char *file, int line, const char *format, ...) PRINTF_LIKE(4, 5);
void notes_warning(struct policy_report *report, const char *file, int line, const char *format, ...) PRINTF_LIKE(4, 5);
void notes_sort(struct policy_report *report);          /* by file, line, text: tables are walked in no order */
