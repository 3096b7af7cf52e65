/*
 * Bytes of the spool that nobody can read any more, and how reading goes on behind
 * them.
 *
 * In a segment stands what strangers wrote, so a header found by searching may be the
 * text of a mail. Behind a bad record reading goes on only where a record is known to
 * begin: where the bad one ends by its own header, which is mostly whole; else at the
 * next place up to which, by the journal, the segment was synced. A header is not
 * believed over that place. So reading never goes back, and what it skips is read no
 * second time. A journal holds nothing of strangers: there the next header is searched.
 *
 * What the disk cannot read is such a hole as well, only that it is never taken for a
 * torn tail. Reading goes around it by blocks (spool_read_some()).
 *
 * A power cut may tear what a sync was to make durable at any sector, so that good records follow bad
 * ones (zeros had been written ahead, or the file had grown). Nobody was told of any of it, and
 * no record of a later round was ever written: so it is told from damage, and cut off from its first
 * bad byte on. That a sector of zeros must be there, as a write that was not carried out leaves it, keeps a bit that flipped
 * in what was durable, and last, from taking others along.
 *
 * A damaged segment stays where it is until its live messages have been copied out or
 * are over; it is compacted at once (spool_segment.c), and what is left is renamed
 * instead of removed (spool_remove.c). Nothing is written into the file, so a crash
 * on the way finds the same damage again.
 *
 * A journal is written on, and where a sector of it is bad that may fail for good. So
 * a damaged one is set aside at once, for a new one that says what could be read of it (spool_renew.c).
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_recover.h"

#define TEXT_MAX 300u

void
spool_finding_tell(struct spool_core *core, const struct spool_finding *finding)
{
	if (finding->damage)
		core->damages++;
	if (core->look)
		core->look->on_finding(core->look->ctx, finding);
	else if (finding->to)
		log_error(core->log, "spool: %s is damaged at byte %llu, up to byte %llu: %s", finding->file,
			  (unsigned long long)finding->at, (unsigned long long)finding->to, finding->text);
	else
		log_error(core->log, "spool: %s %s", finding->file, finding->text);
}

/* ---- where records are known to begin ---- */

void
spool_place_add(struct spool_recovery *r, uint64_t at)
{
	if (r->places_n == r->places_cap) {
		r->places_cap = r->places_cap ? r->places_cap * 2 : 64;
		r->places = mem_grow(r->places, r->places_cap * sizeof(*r->places));
	}
	r->places[r->places_n++] = at;
	r->places_sorted = false;
}

static int
by_place(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

uint64_t
spool_place_behind(const uint64_t *places, size_t n, uint64_t at)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (places[mid] <= at)
			low = mid + 1;
		else
			high = mid;
	}
	return low < n ? places[low] : UINT64_MAX;
}

static uint64_t
place_behind(struct spool_recovery *r, uint64_t at)
{
	if (!r->places_sorted && r->places_n)
		qsort(r->places, r->places_n, sizeof(*r->places), by_place);
	r->places_sorted = true;
	return spool_place_behind(r->places, r->places_n, at);
}

/* ---- holes ---- */

void
spool_hole_begin(struct spool_recovery *r, struct spool_segment *segment, uint64_t at, uint32_t round, const char *why)
{
	struct spool_hole *hole = &r->hole;

	if (!hole->open) {
		*hole = (struct spool_hole){
			.open = true, .at = at, .round = round, .copies_n = r->copies_n, .heard_n = r->heard_n, .places_n = r->places_n,
			.records = r->core->counts ? r->core->counts->records : 0, .marked = segment->marked, .before = segment->journal_round,
		};
	} else if (!hole->round) {
		hole->round = round;
	} else if (round && hole->round != round) {
		hole->round = SPOOL_ROUNDS;
	}
	hole->to = 0;
	if (why)
		hole->why = why;
}

/* Behind it stand records that waited for the same sync, and none that waited for a later one. */
static bool
may_be_torn(struct spool_recovery *r, const struct spool_segment *segment, bool journal, const struct spool_scan *scan,
	    const struct spool_record *record)
{
	struct spool_hole *hole = &r->hole;

	/* Of what nobody can name only so much may be missing. */
	if (!hole->round)
		hole->round = record->round == hole->before || record->round == spool_round_after(hole->before) ? record->round : SPOOL_ROUNDS;
	if (!record->round || hole->round != record->round || hole->why || hole->at == 0 || r->core->was_clean ||
	    segment->damaged || segment->journal_damaged || (!journal && hole->at < segment->marked))
		return false;
	/* Once a hole: what is hostile must not be looked through again and again. */
	return hole->followed || spool_scan_has_zeros(scan, hole->at, record->at);
}

void
spool_hole_followed(struct spool_recovery *r, struct spool_segment *segment, const char *suffix,
		    const struct spool_scan *scan, const struct spool_record *record)
{
	struct spool_hole *hole = &r->hole;

	if (!hole->open)
		return;
	if (may_be_torn(r, segment, strcmp(suffix, ".jnl") == 0, scan, record)) {
		hole->to = hole->to ? hole->to : record->at;
		hole->followed = true;
	} else {
		spool_hole_end(r, segment, suffix, hole->to ? hole->to : record->at);
	}
}

bool
spool_hole_is_torn(const struct spool_recovery *r)
{
	return !r->hole.why && (!r->hole.followed || r->hole.round != SPOOL_ROUNDS);
}

uint64_t
spool_hole_take_back(struct spool_recovery *r, struct spool_segment *segment)
{
	const struct spool_hole *hole = &r->hole;

	r->copies_n = hole->copies_n;
	r->heard_n = hole->heard_n;
	r->places_n = hole->places_n;
	segment->marked = hole->marked;
	segment->journal_round = hole->before;
	if (r->core->counts)
		r->core->counts->records = hole->records;
	r->hole.open = false;
	return hole->at;
}

bool
spool_hole_skip(struct spool_recovery *r, struct spool_segment *segment, struct spool_scan *scan)
{
	uint64_t place = place_behind(r, scan->bad_to ? scan->bad_to - 1 : scan->at);
	uint64_t to = scan->beyond && scan->beyond <= place ? scan->beyond : place;

	spool_hole_begin(r, segment, scan->at, to == scan->beyond && scan->round ? scan->round : SPOOL_ROUNDS,
			 scan->bad_to ? SPOOL_UNREADABLE : NULL);
	if (to == scan->beyond)
		r->hole.messages += scan->kind == SPOOL_MESSAGE;
	else
		r->hole.unknown = true;
	if (to > scan->size)
		return false;
	spool_scan_seek(scan, to);
	return true;
}

static void
segment_text(const struct spool_hole *hole, const char *name, char text[TEXT_MAX])
{
	snprintf(text, TEXT_MAX, "%s%s%s%u message%s that stood there cannot be read; the rest is taken, and the file set aside as %s.damaged "
		 "when none of it waits any more", hole->why ? hole->why : "", hole->why ? "; " : "", hole->unknown ? "at least " : "",
		 hole->messages, hole->messages == 1 ? "" : "s", name);
}

void
spool_hole_end(struct spool_recovery *r, struct spool_segment *segment, const char *suffix, uint64_t to)
{
	bool journal = strcmp(suffix, ".jnl") == 0;
	char name[SPOOL_NAME_MAX], text[TEXT_MAX];

	if (!r->hole.open)
		return;
	r->hole.open = false;
	spool_segment_name(segment, suffix, name);
	if (journal) {
		segment->journal_damaged = true;
		snprintf(text, sizeof(text), "%s%swhat it said there of recipients is lost, and some may get their mail again",
			 r->hole.why ? r->hole.why : "", r->hole.why ? "; " : "");
	} else {
		segment->damaged = segment->unread = true;
		r->core->unread += r->hole.messages;
		segment_text(&r->hole, name, text);
	}
	spool_finding_tell(r->core, &(struct spool_finding){ .file = name, .at = r->hole.at, .to = to, .damage = true, .text = text });
}

/* ---- what is gone whole ---- */

void
spool_journal_missing(struct spool_segment *segment)
{
	char name[SPOOL_NAME_MAX];

	segment->journal_damaged = true;
	spool_segment_name(segment, ".jnl", name);
	spool_finding_tell(segment->core, &(struct spool_finding){ .file = name, .damage = true,
		.text = "is missing, so nobody knows what was delivered of its segment: all of it is delivered, some perhaps again" });
}

/* Its journal is there, and says that it was. */
void
spool_segment_missing(struct spool_segment *segment)
{
	char name[SPOOL_NAME_MAX], text[TEXT_MAX];

	segment->damaged = segment->unread = segment->missing = true;
	segment->file_made = false;
	spool_segment_name(segment, ".seg", name);
	snprintf(text, sizeof(text), "is missing: what still waited in its %llu bytes is lost; its journal is set aside",
		 (unsigned long long)segment->marked);
	spool_finding_tell(segment->core, &(struct spool_finding){ .file = name, .damage = true, .text = text });
}

void
spool_file_lost(struct spool_segment *segment, const char *suffix)
{
	bool journal = strcmp(suffix, ".jnl") == 0;
	char name[SPOOL_NAME_MAX];

	if (journal)
		segment->journal_damaged = true;
	else
		segment->damaged = segment->unread = true;
	spool_segment_name(segment, suffix, name);
	spool_finding_tell(segment->core, &(struct spool_finding){ .file = name, .damage = true, .text = journal ?
		"cannot be opened, so nobody knows what was delivered of its segment: all of it is delivered, some perhaps again" :
		"cannot be opened, so nothing of it can be read; it is set aside when the disk allows it" });
}

void
spool_file_stuck(struct spool_segment *segment, const char *suffix, const struct err *why)
{
	bool journal = strcmp(suffix, ".jnl") == 0;
	char name[SPOOL_NAME_MAX], text[TEXT_MAX];

	if (journal)
		segment->journal_damaged = true;
	else
		segment->damaged = true;
	spool_segment_name(segment, suffix, name);
	snprintf(text, sizeof(text), "cannot be written (%s): what it says is written elsewhere, and it is set aside", strerror(why->sys));
	spool_finding_tell(segment->core, &(struct spool_finding){ .file = name, .damage = true, .text = text });
}

/* Found behind the scan, by itself. */
void
spool_message_lost(struct spool_recovery *r, const struct spool_copy *copy, const char *why)
{
	spool_hole_begin(r, copy->segment, copy->at, SPOOL_ROUNDS, why);
	r->hole.messages = 1;
	spool_hole_end(r, copy->segment, ".seg", copy->at + copy->record_bytes);
}

/* The segment may have given ids that can be read nowhere any more, and what is noted of an id
 * must not meet another message. */
void
spool_damaged_ids(struct spool_recovery *r, struct spool_segment *segment, size_t heard_from)
{
	if (segment->max_id < r->core->next_id - 1)
		segment->max_id = r->core->next_id - 1;
	for (size_t i = heard_from; i < r->heard_n; i++) {
		uint64_t id = r->heard[i].note.id;
		if (segment->max_id < id && id < SPOOL_ID_DOUBTFUL)
			segment->max_id = id;
	}
	if (segment->max_id < SPOOL_ID_DOUBTFUL)
		segment->max_id += SPOOL_IDS_RESERVED;
}

void
spool_damage_gone(const struct spool_segment *segment)
{
	char name[SPOOL_NAME_MAX];

	if (!segment->damaged || segment->missing)
		return;
	spool_segment_name(segment, ".seg", name);
	log_warning(segment->core->log, "spool: nothing of the damaged %s waits any more; it is set aside as %s" SPOOL_DAMAGED, name, name);
}

/* ---- files ---- */

static struct disk_file *
open_once(struct disk *disk, const char *name, uint64_t *size_out, struct err *err)
{
	struct disk_file *file = disk->ops->open(disk, name, false, err);

	if (file && !disk->ops->size(file, size_out, err)) {
		disk->ops->close(file);
		file = NULL;
	}
	return file;
}

struct disk_file *
spool_file_open(struct disk *disk, const char *name, uint64_t *size_out, struct err *err)
{
	struct disk_file *file = open_once(disk, name, size_out, err);

	return file || !spool_is_unreadable(err) ? file : open_once(disk, name, size_out, err);
}

struct taken {
	const char *name;
	unsigned    last;               /* the greatest number behind it; 1: none but the name */
};

static void
on_name(void *ctx, const char *name)
{
	struct taken *taken = ctx;
	size_t n = strlen(taken->name);
	unsigned number;

	if (strncmp(name, taken->name, n) != 0)
		return;
	if (name[n] == '\0' && taken->last == 0)
		taken->last = 1;
	else if (sscanf(name + n, "-%8u", &number) == 1 && number > taken->last)
		taken->last = number;
}

bool
spool_set_aside(struct disk *disk, const char *name, char aside_out[SPOOL_NAME_MAX], struct err *err)
{
	struct taken taken = { .name = aside_out };

	snprintf(aside_out, SPOOL_NAME_MAX, "%.20s" SPOOL_DAMAGED, name);
	if (!disk->ops->list(disk, on_name, &taken, err))
		return false;
	if (taken.last)
		snprintf(aside_out, SPOOL_NAME_MAX, "%.20s" SPOOL_DAMAGED "-%u", name, taken.last + 1);
	return disk->ops->rename(disk, name, aside_out, err);
}
