/*
 * tls_memory - the sessions that a TLS client may resume: a few hundred bytes
 * each, by a key.
 *
 * Ownership  new/free; what recall gives is borrowed until the next call.
 * Threads    One.
 * Time       Entries are over at `until`.
 * Limits     TLS_MEMORY_MAX entries of TLS_MEMORY_BYTES_MAX; who was not recalled
 *            for longest gives way, and what is larger is not kept.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/span.h"

#define TLS_MEMORY_MAX       1024
#define TLS_MEMORY_BYTES_MAX 4096

struct tls_memory;

struct tls_memory *tls_memory_new(uint64_t seed);
void tls_memory_free(struct tls_memory *memory);

/* In place of what was kept by that key. */
void tls_memory_keep(struct tls_memory *memory, struct span key, struct span bytes, mono_us_t until);
/* Empty: there is none, or its time is over. */
struct span tls_memory_recall(struct tls_memory *memory, struct span key, mono_us_t now, mono_us_t *until_out);
void tls_memory_forget(struct tls_memory *memory, struct span key);
