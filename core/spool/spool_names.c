/*
 * Which files are there, before any is read: segments and journals by their numbers, and
 * what a crash left half done.
 *
 *   - a journal alone is the rest of a removal, or of a creation: removed; or, if its
 *     segment was set aside, the rest of that: set aside as well; or, if it says that some of
 *     its segment had been synced, and nothing is being removed, that is missing;
 *   - a journal written anew in place of a damaged one (spool_renew.c) takes the place
 *     if that is empty: the damaged one had been renamed. Else it is no more than begun.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_recover.h"

static bool
name_number(const char *name, const char *suffix, uint64_t *number_out)
{
	uint64_t number = 0;

	for (int i = 0; i < 16; i++) {
		char c = name[i];
		if (c >= '0' && c <= '9')
			number = number << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			number = number << 4 | (uint64_t)(c - 'a' + 10);
		else
			return false;
	}
	*number_out = number;
	return number > 0 && number < INT64_MAX && strcmp(name + 16, suffix) == 0;
}

static void
add_number(uint64_t **numbers, size_t *n, uint64_t number)
{
	*numbers = mem_grow(*numbers, (*n + 1) * sizeof(**numbers));
	(*numbers)[(*n)++] = number;
}

static void
on_name(void *ctx, const char *name)
{
	struct spool_recovery *r = ctx;
	uint64_t number;

	if (name_number(name, ".seg", &number))
		add_number(&r->segments, &r->segments_n, number);
	else if (name_number(name, ".jnl", &number))
		add_number(&r->journals, &r->journals_n, number);
	else if (name_number(name, SPOOL_RENEWED, &number))
		add_number(&r->renewed, &r->renewed_n, number);
	else if (name_number(name, ".seg" SPOOL_DAMAGED, &number))
		add_number(&r->aside, &r->aside_n, number);
	else if (strcmp(name, SPOOL_REMOVED) == 0)
		r->debris = true;
}

static int
by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

bool
spool_number_among(const uint64_t *numbers, size_t n, uint64_t number)
{
	return n && bsearch(&number, numbers, n, sizeof(number), by_number);
}

static void
numbers_sort(struct spool_core *core, uint64_t *numbers, size_t n)
{
	if (!n)
		return;
	qsort(numbers, n, sizeof(*numbers), by_number);
	if (core->next_number <= numbers[n - 1])
		core->next_number = numbers[n - 1] + 1;
}

/* What cannot be read may have. */
static bool
promises(struct disk *disk, uint64_t number, const char *name)
{
	struct spool_record record;
	struct spool_scan scan;
	struct err err = { 0 };
	uint64_t size = 0;
	struct disk_file *file = spool_file_open(disk, name, &size, &err);
	enum spool_step step;

	if (!file)
		return spool_is_unreadable(&err);
	spool_scan_init(&scan, disk->ops, file, number, size);
	do
		step = spool_scan_next(&scan, &record, &err);
	while (step == SPOOL_STEP_RECORD && record.kind != SPOOL_SYNCED);
	spool_scan_fini(&scan);
	disk->ops->close(file);
	return step == SPOOL_STEP_RECORD || (step == SPOOL_STEP_BAD && scan.bad_to);
}

/* Those whose segments are missing count as segments. But one is removed at a time, and its journal goes last. */
static void
missing_find(struct spool_recovery *r)
{
	size_t there_n = r->segments_n;
	char name[SPOOL_NAME_MAX];

	for (size_t i = 0; i < r->journals_n; i++) {
		uint64_t number = r->journals[i];

		snprintf(name, sizeof(name), "%016llx.jnl", (unsigned long long)number);
		if (!spool_number_among(r->segments, there_n, number) && !spool_number_among(r->aside, r->aside_n, number) &&
		    promises(r->core->disk, number, name))
			add_number(&r->segments, &r->segments_n, number);
	}
	if (r->debris && r->segments_n == there_n + 1)
		r->segments_n = there_n;
	numbers_sort(r->core, r->segments, r->segments_n);
}

static void
journal_alone(struct spool_recovery *r, uint64_t number)
{
	struct disk *disk = r->core->disk;
	char name[SPOOL_NAME_MAX], aside[SPOOL_NAME_MAX];

	snprintf(name, sizeof(name), "%016llx.jnl", (unsigned long long)number);
	if (spool_number_among(r->aside, r->aside_n, number))
		spool_set_aside(disk, name, aside, NULL);
	else if (!disk->ops->rename(disk, name, SPOOL_REMOVED, NULL))
		disk->ops->remove(disk, name, NULL);
}

static bool
journal_renewed(struct spool_recovery *r, uint64_t number, struct err *err)
{
	struct disk *disk = r->core->disk;
	char name[SPOOL_NAME_MAX], fresh[SPOOL_NAME_MAX];

	snprintf(name, sizeof(name), "%016llx.jnl", (unsigned long long)number);
	snprintf(fresh, sizeof(fresh), "%016llx" SPOOL_RENEWED, (unsigned long long)number);
	if (spool_number_among(r->journals, r->journals_n, number) || !spool_number_among(r->segments, r->segments_n, number)) {
		disk->ops->remove(disk, fresh, NULL);
		return true;
	}
	if (!disk->ops->rename(disk, fresh, name, err))
		return false;
	add_number(&r->journals, &r->journals_n, number);
	qsort(r->journals, r->journals_n, sizeof(*r->journals), by_number);
	return true;
}

bool
spool_names_read(struct spool_recovery *r, struct err *err)
{
	struct spool_core *core = r->core;
	struct disk *disk = core->disk;

	if (!disk->ops->list(disk, on_name, r, err))
		return false;
	numbers_sort(core, r->segments, r->segments_n);
	numbers_sort(core, r->journals, r->journals_n);
	numbers_sort(core, r->renewed, r->renewed_n);
	numbers_sort(core, r->aside, r->aside_n);
	missing_find(r);
	if (core->look)
		return true;
	for (size_t i = 0; i < r->journals_n; i++) {
		if (!spool_number_among(r->segments, r->segments_n, r->journals[i]))
			journal_alone(r, r->journals[i]);
	}
	disk->ops->remove(disk, SPOOL_REMOVED, NULL);
	for (size_t i = 0; i < r->renewed_n; i++) {
		if (!journal_renewed(r, r->renewed[i], err))
			return false;
	}
	return true;
}
