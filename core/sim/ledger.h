/*
 * ledger - the accounting of a world, kept small: a day of a million recipients
 * is two million records.
 *
 * Ownership  new/free. What ledger_read() gives is borrowed until the next call.
 * Limits     40 bytes a record, and each text once.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "account/account.h"

struct ledger;

struct ledger *ledger_new(void);
void ledger_free(struct ledger *ledger);

void ledger_add(struct ledger *ledger, const struct account_record *record);
size_t ledger_n(const struct ledger *ledger);
/* The i-th, oldest first. */
void ledger_read(const struct ledger *ledger, size_t i, struct account_record *out);
