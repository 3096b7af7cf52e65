/*
 * last_good - written beside, synced, then named: power may go at any instant. What
 * is there already is not written again.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "last_good.h"

#include "util/table.h"

struct saving {
	struct worker_job job;
	struct disk      *disk;
	struct log       *log;
	struct buf        bytes;
};

static bool
write_whole(struct disk *disk, const char *name, struct span bytes, struct err *err)
{
	struct iovec iov = { (void *)bytes.p, bytes.n };
	struct disk_file *file;
	bool ok;

	disk->ops->remove(disk, name, NULL);
	file = disk->ops->open(disk, name, true, err);
	if (file == NULL)
		return false;
	ok = disk->ops->write(file, 0, &iov, 1, err) && disk->ops->sync(file, err);
	disk->ops->close(file);
	return ok;
}

static void
save(void *ctx)
{
	struct saving *saving = ctx;
	struct err err = { 0 };

	if (!write_whole(saving->disk, LAST_GOOD_FILE ".new", buf_span(&saving->bytes), &err) ||
	    !saving->disk->ops->rename(saving->disk, LAST_GOOD_FILE ".new", LAST_GOOD_FILE, &err))
		log_error(saving->log, "the last good policy is not kept: %s", err.text);
	buf_fini(&saving->bytes);
}

void
last_good_keep(struct last_good *keeper, const struct bundle *bundle)
{
	struct saving *saving = mem_alloc(sizeof *saving);
	uint64_t hash;

	buf_init(&saving->bytes, 0);
	bundle_encode(bundle, &saving->bytes);
	hash = hash_bytes(buf_span(&saving->bytes), 1) | 1;
	if (hash == keeper->kept) {
		buf_fini(&saving->bytes);
		free(saving);
		return;
	}
	keeper->kept = hash;
	saving->disk = keeper->disk;
	saving->log = keeper->log;
	saving->job = (struct worker_job){ .work = save, .done = free, .ctx = saving };
	worker_run(keeper->worker, &saving->job);
}

struct bundle *
last_good_read(const char *spool, uint32_t *writer_out, struct err *err)
{
	struct bundle *folder = bundle_new(LAST_GOOD_FILE, spool), *good = NULL;
	struct span text;

	/* A root that starts the node reads where the node's user writes. */
	folder->plain = true;
	if (!bundle_read(folder, LAST_GOOD_FILE, &text, err)) {
		err_prefix(err, "%s/" LAST_GOOD_FILE " ", spool);
	} else {
		if (writer_out != NULL)
			*writer_out = folder->files[0].owner;
		good = bundle_decode(text);
		if (good == NULL)
			err_set(err, ERR_PERM, "%s/" LAST_GOOD_FILE " is damaged", spool);
	}
	bundle_free(folder);
	return good;
}
