/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines are gathered in a buffer and go out with one write() to a file in append
 * mode. Where the disk takes a part of it only, the file is cut back to its last whole
 * line, and the buffer keeps what is not in the file; where even that fails, the
 * buffer keeps the rest of the broken line in front (`torn`), so the next write mends
 * it. A crash can still leave a broken line: the next start cuts it off. The header line
 * goes before everything else when the file is empty.
 *
 * The shards of a node share one file and one buffer: their lines stand whole and in the
 * order they were written, and what is lost while the disk takes nothing is counted once. A
 * line is formatted under the lock, into the buffer itself; it takes a microsecond, where a
 * buffer for each shard would be a megabyte for each that could be lost.
 *
 * A field is quoted where RFC 4180 wants it. Control characters become blanks: a reply
 * that holds a line end must not look like a second record. What a spreadsheet would
 * take for a formula is left alone: programs read this file, and they want the text.
 */
#include "account/account.h"

#include "util/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#define FLUSH_BYTES    65536u
#define HELD_MAX       (1024u * 1024u)
#define TAIL_BYTES     65536
#define COMPLAIN_MS    60000

const char account_header[] =
	"type,timeLogged,timeQueued,orig,rcpt,orcpt,dsnAction,dsnStatus,dsnDiag,dsnMta,bounceCat,srcType,srcMta,"
	"dlvType,dlvSourceIp,dlvDestinationIp,dlvEsmtpAvailable,dlvSize,vmta,jobId,envId,queue,vmtaPool\r\n";

struct account {
	char       *path;
	unsigned    mask;
	struct log *log;
	void      (*sink)(void *ctx, const struct account_record *record);      /* NULL: the file below */
	void       *sink_ctx;
	void      (*on_record)(void *ctx);      /* NULL: nobody asks */
	void       *on_record_ctx;
	pthread_mutex_t lock;           /* guards what follows */
	int         fd;
	bool        followed;           /* account_flush() will be called */
	bool        torn;               /* the file ends within the line that the buffer begins with */
	struct buf  held;
	uint64_t    lost, lost_told;
	wall_ms_t   told;               /* when the log last heard of trouble */
	struct err  trouble;
};

/* Fields. */

enum care { QUOTE = 1, CONTROL = 2 };

static const uint8_t care[256] = { [0 ... ' ' - 1] = CONTROL, [127] = CONTROL, ['"'] = QUOTE, [','] = QUOTE };

static void
put_with_care(struct buf *out, struct span value)
{
	for (size_t i = 0; i < value.n; i++) {
		unsigned char c = (unsigned char)value.p[i];
		if (c == '"')
			buf_add_char(out, '"');
		buf_add_char(out, care[c] & CONTROL ? ' ' : (char)c);
	}
}

/* One field of several parts. Most hold nothing that wants care, and go out as they are: two records a message are
 * forty fields. */
static void
put_parts(struct buf *out, const struct span *parts, size_t parts_n)
{
	unsigned wants = 0;

	for (size_t k = 0; k < parts_n; k++)
		for (size_t i = 0; i < parts[k].n; i++)
			wants |= care[(unsigned char)parts[k].p[i]];
	if (wants & QUOTE)
		buf_add_char(out, '"');
	for (size_t k = 0; k < parts_n; k++) {
		if (wants != 0)
			put_with_care(out, parts[k]);
		else
			buf_add(out, parts[k]);
	}
	if (wants & QUOTE)
		buf_add_char(out, '"');
}

static void
next_field(struct buf *out, struct span value)
{
	buf_add_char(out, ',');
	if (value.n > 0)
		put_parts(out, &value, 1);
}

/* "2026-01-02 03:04:05+0000" */
static void
next_time(struct buf *out, wall_ms_t wall)
{
	char text[32];
	buf_add_char(out, ',');
	if (wall.ms == 0)
		return;
	wall_format(wall, text);
	buf_add(out, span_make(text, 10));
	buf_add_char(out, ' ');
	buf_add(out, span_make(text + 11, 8));
	buf_add_text(out, "+0000");
}

static void
next_diagnosis(struct buf *out, struct span diag)
{
	const struct span parts[] = { SPAN("smtp;"), diag };

	buf_add_char(out, ',');
	if (diag.n > 0)
		put_parts(out, parts, countof(parts));
}

static void
next_status(struct buf *out, struct span status)
{
	const struct span parts[] = { status, SPAN(" ("), span_text(account_status_text(status)), SPAN(")") };

	buf_add_char(out, ',');
	if (status.n > 0)
		put_parts(out, parts, countof(parts));
}

static const char *
type_letters(enum account_type type)
{
	static const char *const letters[] = { "d", "b", "t", "tq", "r" };
	check(type < countof(letters));
	return letters[type];
}

static const char *
action_of(enum account_type type)
{
	switch (type) {
	case ACCOUNT_DELIVERED:
		return "relayed";
	case ACCOUNT_BOUNCED:
		return "failed";
	case ACCOUNT_DEFERRED:
		return "delayed";
	default:
		return "";
	}
}

void
account_format(const struct account_record *r, struct buf *out)
{
	bool of_rcpt = r->type == ACCOUNT_DELIVERED || r->type == ACCOUNT_BOUNCED || r->type == ACCOUNT_DEFERRED;
	bool failed = r->type == ACCOUNT_BOUNCED || r->type == ACCOUNT_DEFERRED;

	buf_add_text(out, type_letters(r->type));
	next_time(out, r->logged);
	next_time(out, r->queued);
	next_field(out, r->orig);
	next_field(out, r->rcpt);
	next_field(out, r->orcpt);
	next_field(out, span_text(action_of(r->type)));
	next_status(out, r->status);
	next_diagnosis(out, r->diag);
	next_field(out, r->mta);
	if (r->category.n > 0)
		next_field(out, r->category);
	else
		next_field(out, span_text(failed ? account_bounce_category(r->status, r->diag) : ""));
	next_field(out, r->src_type);
	next_field(out, r->src_mta);
	next_field(out, span_text(r->type == ACCOUNT_RECEIVED ? "" : "smtp"));
	next_field(out, r->source_ip);
	next_field(out, r->destination_ip);
	next_field(out, r->esmtp);
	buf_add_char(out, ',');
	if (of_rcpt)
		buf_add_u64(out, r->size_bytes);
	next_field(out, r->vmta);
	next_field(out, r->job);
	next_field(out, r->env_id);
	next_field(out, r->queue);
	next_field(out, r->pool);
	buf_add_text(out, "\r\n");
}

/* The file. */

static wall_ms_t
log_time(const struct log *log)
{
	return log->wall(log->wall_ctx);
}

static void
complain(struct account *account)
{
	wall_ms_t now = log_time(account->log);
	if (account->told.ms != 0 && now.ms - account->told.ms < COMPLAIN_MS && now.ms >= account->told.ms)
		return;
	log_error(account->log, "accounting: %s; %llu records lost, %zu bytes held back", account->trouble.text,
		  (unsigned long long)(account->lost - account->lost_told), buf_len(&account->held));
	account->lost_told = account->lost;
	account->told = now;
}

/* Bytes behind the last line end in the file; SIZE_MAX: no line end in sight. */
static size_t
unfinished_bytes(int fd, off_t size)
{
	size_t want = size < TAIL_BYTES ? (size_t)size : TAIL_BYTES;
	char *tail = mem_alloc(TAIL_BYTES);
	ssize_t n = pread(fd, tail, want, size - (off_t)want);
	size_t behind = SIZE_MAX;
	for (ssize_t i = n; i > 0 && behind == SIZE_MAX; i--)
		if (tail[i - 1] == '\n')
			behind = (size_t)(n - i);
	if (behind == SIZE_MAX && n >= 0 && (off_t)n == size)
		behind = (size_t)size;
	free(tail);
	return behind;
}

/* Opens the path and brings it to a line's end; *empty_out: it wants a header line. */
static int
open_file(const char *path, bool *empty_out, struct err *err)
{
	struct stat st;
	/* A pipe that is full is as a disk that is: trouble, and no wait. */
	int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640);
	if (fd < 0 || fstat(fd, &st) != 0) {
		err_sys(err, "%s", path);
		goto fail;
	}
	*empty_out = st.st_size == 0;
	if (!S_ISREG(st.st_mode) || st.st_size == 0)
		return fd;
	size_t behind = unfinished_bytes(fd, st.st_size);
	if (behind == SIZE_MAX) {
		err_set(err, ERR_PERM, "%s: its last line has no end, so it is no accounting file", path);
		goto fail;
	}
	if (behind && ftruncate(fd, st.st_size - (off_t)behind) != 0) {
		err_sys(err, "%s: its last line is unfinished and cannot be cut off", path);
		goto fail;
	}
	*empty_out = (off_t)behind == st.st_size;
	return fd;
fail:
	if (fd >= 0)
		close(fd);
	return -1;
}

static void
begin_file(struct account *account, bool empty)
{
	if (account->torn) {
		/* Its beginning is in the file before; a rest alone means nothing here. */
		size_t end = span_find(buf_span(&account->held), '\n');
		check(end != SIZE_MAX);
		buf_consume(&account->held, end + 1);
		account->torn = false;
		account->lost++;
	}
	if (empty)
		buf_splice(&account->held, 0, 0, span_make(account_header, sizeof(account_header) - 1));
}

/* The file took n bytes of the held ones, and not the rest. */
static void
mend(struct account *account, size_t n)
{
	struct span written = span_first(buf_span(&account->held), n);
	size_t whole = n;
	while (whole > 0 && written.p[whole - 1] != '\n')
		whole--;
	off_t end = lseek(account->fd, 0, SEEK_END);
	bool at_line = whole > 0 || !account->torn;
	if (at_line && whole < n && end >= (off_t)(n - whole) &&
	    ftruncate(account->fd, end - (off_t)(n - whole)) == 0)
		n = whole;
	if (n > 0)
		account->torn = written.p[n - 1] != '\n';
	buf_consume(&account->held, n);
}

static bool
write_held(struct account *account)
{
	while (buf_len(&account->held)) {
		struct span bytes = buf_span(&account->held);
		ssize_t n = write(account->fd, bytes.p, bytes.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(&account->trouble, "writing %s", account->path);
		if ((size_t)n < bytes.n) {
			mend(account, (size_t)n);
			return err_set(&account->trouble, ERR_TEMP, "writing %s: the disk took only a part", account->path);
		}
		buf_consume(&account->held, bytes.n);
		account->torn = false;
	}
	return true;
}

struct account *
account_open(const char *path, unsigned mask, struct log *log, struct err *err)
{
	bool empty;
	int fd = open_file(path, &empty, err);
	if (fd < 0)
		return NULL;
	struct account *account = mem_alloc(sizeof(*account));
	check(pthread_mutex_init(&account->lock, NULL) == 0);
	account->path = mem_strdup(path);
	account->mask = mask;
	account->log = log;
	account->fd = fd;
	buf_init(&account->held, 0);
	begin_file(account, empty);
	if (!write_held(account))
		complain(account);
	return account;
}

struct account *
account_open_sink(void (*sink)(void *ctx, const struct account_record *record), void *ctx)
{
	struct account *account = mem_alloc(sizeof(*account));

	check(pthread_mutex_init(&account->lock, NULL) == 0);
	account->sink = sink;
	account->sink_ctx = ctx;
	account->mask = ACCOUNT_MASK_ALL;
	account->fd = -1;
	buf_init(&account->held, 0);
	return account;
}

/* The lock is held. */
static void
flush(struct account *account)
{
	if (!write_held(account)) {
		complain(account);
		return;
	}
	if (account->trouble.kind != ERR_NONE) {
		log_warning(account->log, "accounting: %s is written again; %llu records were lost", account->path,
			    (unsigned long long)account->lost);
		account->trouble.kind = ERR_NONE;
		account->lost_told = account->lost;
		account->told.ms = 0;
	}
}

static void
take(struct account *account, const struct account_record *record)
{
	if (buf_len(&account->held) >= HELD_MAX) {
		account->lost++;
		return;
	}
	account_format(record, &account->held);
	if (!account->followed && account->on_record != NULL) {
		account->followed = true;
		account->on_record(account->on_record_ctx);
	}
	/* While the disk is full it is asked again by the owner's timer, not by each record. */
	if (buf_len(&account->held) >= FLUSH_BYTES && account->trouble.kind == ERR_NONE)
		flush(account);
}

void
account_write(struct account *account, const struct account_record *record)
{
	if (account->sink != NULL) {
		account->sink(account->sink_ctx, record);
		return;
	}
	if (!(account->mask & ACCOUNT_MASK(record->type)))
		return;
	pthread_mutex_lock(&account->lock);
	take(account, record);
	pthread_mutex_unlock(&account->lock);
}

void
account_on_record(struct account *account, void (*fn)(void *ctx), void *ctx)
{
	account->on_record = fn;
	account->on_record_ctx = ctx;
}

/* While records come it goes on being called, so on a busy node nobody is asked anew for each round. */
bool
account_flush(struct account *account)
{
	bool followed;

	pthread_mutex_lock(&account->lock);
	followed = account->followed = buf_len(&account->held) > 0;
	flush(account);
	pthread_mutex_unlock(&account->lock);
	return followed;
}

static bool
reopen(struct account *account, struct err *err)
{
	bool empty;
	flush(account);
	int fd = open_file(account->path, &empty, err);
	if (fd < 0)
		return false;
	close(account->fd);
	account->fd = fd;
	begin_file(account, empty);
	flush(account);
	return true;
}

bool
account_reopen(struct account *account, struct err *err)
{
	if (account->sink != NULL)
		return true;
	pthread_mutex_lock(&account->lock);
	bool ok = reopen(account, err);
	pthread_mutex_unlock(&account->lock);
	return ok;
}

void
account_close(struct account *account)
{
	if (!account)
		return;
	account_flush(account);
	if (buf_len(&account->held)) {
		struct span rest = buf_span(&account->held);
		size_t lf;
		while ((lf = span_find(rest, '\n')) != SIZE_MAX) {
			account->lost++;
			rest = span_from(rest, lf + 1);
		}
		account->told.ms = 0;
		complain(account);
	}
	if (account->fd >= 0)
		close(account->fd);
	buf_fini(&account->held);
	pthread_mutex_destroy(&account->lock);
	free(account->path);
	free(account);
}

bool
account_trouble(struct account *account, struct err *err)
{
	pthread_mutex_lock(&account->lock);
	*err = account->trouble;
	pthread_mutex_unlock(&account->lock);
	return err->kind != ERR_NONE;
}

uint64_t
account_lost(struct account *account)
{
	pthread_mutex_lock(&account->lock);
	uint64_t lost = account->lost;
	pthread_mutex_unlock(&account->lock);
	return lost;
}
