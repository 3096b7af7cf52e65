/*
 * Removal: dead segments give their room back.
 *
 * What is damaged is not removed but renamed, both files, and stays. Removal renames the segment first
 * and only then its journal, to the same name: whatever survives a crash, there is never a segment whose
 * journal is gone, and a journal alone is a removal's only beside that name; elsewhere its segment was
 * lost. The renamed segment is cut off from its end a piece at a job, batches between: while a file
 * system frees 64 MiB at once nobody's sync gets through, on whichever thread (ext4: 26 to 40 ms; by
 * pieces of 4 MiB no sync takes longer than without). Two things may delay it:
 *   - ids must keep growing over restarts, and a segment is what remembers them,
 *     so another that knows an id as great must remain;
 *   - segments that share a message (compaction made two copies) must not go before
 *     each other's journals have said so: they wait for one batch that was begun
 *     after their death and left no note unwritten. They go in the order of death.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_inside.h"

#define CUT_BYTES (4u * 1024u * 1024u)

static bool
ids_stay_known(const struct spool_segment *segment)
{
	list_each (pos, &segment->core->segments) {
		const struct spool_segment *other = list_entry(pos, struct spool_segment, link);
		if (other != segment && !other->dead && other->created && other->max_id >= segment->max_id)
			return true;
	}
	return false;
}

/* The active one may know smaller ids: a writer that began long ago wrote elsewhere. */
static bool
make_ids_known(struct spool_segment *segment)
{
	struct spool_core *core = segment->core;
	struct spool_segment *active = core->active;

	if (ids_stay_known(segment))
		return true;
	if (!active || (active->created && active->max_id < segment->max_id))
		spool_segment_rotate(core);
	return false;
}

/* Whether a name is still in the folder; if nobody can say, it is. */
static bool
is_there(struct disk *disk, const char *name)
{
	bool there;

	return !spool_name_is_there(disk, name, &there, NULL) || there;
}

/* An earlier try may have renamed it and failed to make that durable. */
static bool
rename_away(struct disk *disk, const char *name, const char *to)
{
	return disk->ops->rename(disk, name, to, NULL) || (!is_there(disk, name) && disk->ops->rename(disk, to, to, NULL));
}

/* False: it is small enough, or cannot be cut: removed as it is. */
static bool
cut_a_piece(struct spool_core *core)
{
	struct disk *disk = core->disk;
	struct disk_file *file = core->removing_left > CUT_BYTES ? disk->ops->open(disk, SPOOL_REMOVED, false, NULL) : NULL;
	bool cut;

	if (!file)
		return false;
	cut = disk->ops->truncate(file, core->removing_left - CUT_BYTES, NULL);
	disk->ops->close(file);
	core->removing_left -= CUT_BYTES;
	return cut;
}

/* False: not yet. */
static bool
journal_away(struct spool_segment *segment)
{
	struct disk *disk = segment->core->disk;
	char name[SPOOL_NAME_MAX], aside[SPOOL_NAME_MAX];
	bool away = true;

	spool_segment_name(segment, ".jnl", name);
	if (segment->damaged || segment->renewal)
		away = spool_set_aside(disk, name, aside, NULL) || segment->damaged || !is_there(disk, name);
	else if (segment->journal_made)
		away = rename_away(disk, name, SPOOL_REMOVED) || (!is_there(disk, name) && !is_there(disk, SPOOL_REMOVED));
	else
		disk->ops->remove(disk, name, NULL);    /* half made at most, so it promises nothing */
	segment->journal_made = segment->journal_made && !away;
	return away;
}

static void
remove_work(struct spool_core *core)
{
	struct spool_segment *segment = core->removing;
	struct disk *disk = core->disk;
	char name[SPOOL_NAME_MAX], aside[SPOOL_NAME_MAX];

	spool_segment_files_close(segment);
	spool_segment_name(segment, ".seg", name);
	spool_segment_name(segment, ".seg" SPOOL_DAMAGED, aside);
	if (segment->file_made) {
		if (!rename_away(disk, name, segment->damaged ? aside : SPOOL_REMOVED))
			return;
		segment->file_made = false;
		if (!segment->damaged)
			core->removing_left = segment->written ? segment->written : 1;
	} else if (segment->made_badly) {
		disk->ops->remove(disk, name, NULL);
	}
	if (cut_a_piece(core))
		return;
	core->removing_left = 0;
	if (journal_away(segment))
		disk->ops->remove(disk, SPOOL_REMOVED, NULL);
}

static void
remove_done(struct spool_core *core)
{
	struct spool_segment *segment = core->removing;

	if (core->removing_left)
		return;                 /* the next piece after the next batch */
	/* Nor is another one's turn, for that would take the name, which may be this one's already. */
	if (segment->journal_made || segment->file_made) {
		segment->retry_at = core->now + SPOOL_RETRY_US;
		spool_retry_later(core);
		return;
	}
	core->removing = NULL;
	spool_damage_gone(segment);
	core->space_at = 0;
	spool_segment_free(segment);
}

bool
spool_remove_start(struct spool_core *core)
{
	bool blocked = false;

	if (core->removing && core->removing->retry_at > core->now)
		return false;
	if (core->removing) {
		spool_job_run(core, remove_work, remove_done);
		return true;
	}
	list_each (pos, &core->dead) {
		struct spool_segment *segment = list_entry(pos, struct spool_segment, dead_link);
		bool ready = !segment->readers && segment->retry_at <= core->now &&
			     (!segment->moves || (!blocked && core->clean_upto >= segment->remove_after));

		if (ready && make_ids_known(segment)) {
			core->removing = segment;
			spool_job_run(core, remove_work, remove_done);
			return true;
		}
		/* Those that share messages go in the order in which they died. */
		blocked = blocked || segment->moves;
	}
	return false;
}

bool
spool_remove_waits(const struct spool_core *core)
{
	list_each (pos, &core->dead) {
		if (list_entry(pos, struct spool_segment, dead_link)->retry_at > core->now)
			return true;
	}
	return false;
}
