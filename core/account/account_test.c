/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "account/account.h"
#include "util/buf.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define HEADER "type,timeLogged,timeQueued,orig,rcpt,orcpt,dsnAction,dsnStatus,dsnDiag,dsnMta,bounceCat,srcType,srcMta," \
	       "dlvType,dlvSourceIp,dlvDestinationIp,dlvEsmtpAvailable,dlvSize,vmta,jobId,envId,queue,vmtaPool\r\n"

struct fixture {
	char       dir[64], path[96];
	struct log log;
	wall_ms_t  now;
	struct buf lines;       /* of the log */
	struct buf text;        /* of the file, read last */
};

static wall_ms_t
fixture_wall(void *ctx)
{
	return ((struct fixture *)ctx)->now;
}

static void
fixture_sink(void *ctx, const char *line, size_t n)
{
	buf_add(&((struct fixture *)ctx)->lines, span_make(line, n));
}

static int
setup(void **state)
{
	struct fixture *f = mem_alloc(sizeof(*f));
	snprintf(f->dir, sizeof(f->dir), "/tmp/account_test.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/a.csv", f->dir);
	f->log = (struct log){ .wall = fixture_wall, .wall_ctx = f, .sink = fixture_sink, .sink_ctx = f };
	f->now.ms = INT64_C(1767323045000);
	buf_init(&f->lines, 0);
	buf_init(&f->text, 0);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	char old[128];
	snprintf(old, sizeof(old), "%s.old", f->path);
	unlink(f->path);
	unlink(old);
	rmdir(f->dir);
	buf_fini(&f->lines);
	buf_fini(&f->text);
	free(f);
	return 0;
}

static const char *
contents_of(struct fixture *f, const char *path)
{
	int fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	buf_clear(&f->text);
	for (;;) {
		ssize_t n = read(fd, buf_grow(&f->text, 65536), 65536);
		if (n <= 0)
			break;
		buf_grow_commit(&f->text, (size_t)n);
	}
	close(fd);
	return buf_text(&f->text);
}

static const char *
contents(struct fixture *f)
{
	return contents_of(f, f->path);
}

static void
put_file(struct fixture *f, const char *text)
{
	int fd = open(f->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static struct account *
open_account(struct fixture *f, unsigned mask)
{
	struct err err;
	struct account *account = account_open(f->path, mask, &f->log, &err);
	assert_non_null(account);
	return account;
}

static const struct account_record delivered = {
	.type = ACCOUNT_DELIVERED, .logged = { 1767323045678 }, .queued = { 1767323040000 },
	.orig = { "s@example.com", 13 }, .rcpt = { "r@b.example", 11 }, .orcpt = { "rfc822;r@b.example", 18 },
	.status = { "2.0.0", 5 }, .diag = { "250 2.0.0 ok", 12 }, .mta = { "mx.b.example (192.0.2.9)", 24 },
	.src_type = { "smtp", 4 }, .src_mta = { "relay (192.0.2.1)", 17 }, .source_ip = { "192.0.2.2", 9 },
	.destination_ip = { "192.0.2.9", 9 }, .esmtp = { "PIPELINING,8BITMIME", 19 }, .size_bytes = 1234,
	.vmta = { "mta-1", 5 }, .job = { "news", 4 }, .env_id = { "e1", 2 }, .queue = { "b.example/mta-1", 15 },
	.pool = { "bulk", 4 },
};

static void
records_are_lines_with_powermtas_fields(void **state)
{
	struct fixture *f = *state;
	struct account *account = open_account(f, ACCOUNT_MASK_ALL);
	account_write(account, &delivered);
	account_write(account, &(struct account_record){
		.type = ACCOUNT_BOUNCED, .logged = delivered.logged, .status = SPAN("5.1.10"),
		.diag = SPAN("556 5.1.10 null mx") });
	account_write(account, &(struct account_record){
		.type = ACCOUNT_DEFERRED, .logged = delivered.logged, .status = SPAN("4.7.0"), .diag = SPAN("421 RP-001") });
	account_write(account, &(struct account_record){
		.type = ACCOUNT_QUEUE, .logged = delivered.logged, .status = SPAN("4.4.1"), .queue = SPAN("b/m") });
	account_write(account, &(struct account_record){
		.type = ACCOUNT_RECEIVED, .logged = delivered.logged, .orig = SPAN("s@example.com") });
	account_close(account);
	assert_string_equal(contents(f), HEADER
		"d,2026-01-02 03:04:05+0000,2026-01-02 03:04:00+0000,s@example.com,r@b.example,rfc822;r@b.example,relayed,"
		"2.0.0 (success),smtp;250 2.0.0 ok,mx.b.example (192.0.2.9),,smtp,relay (192.0.2.1),smtp,192.0.2.2,192.0.2.9,"
		"\"PIPELINING,8BITMIME\",1234,mta-1,news,e1,b.example/mta-1,bulk\r\n"
		"b,2026-01-02 03:04:05+0000,,,,,failed,5.1.10 (recipient address has null mx),smtp;556 5.1.10 null mx,,"
		"bad-domain,,,smtp,,,,0,,,,,\r\n"
		"t,2026-01-02 03:04:05+0000,,,,,delayed,4.7.0 (other or undefined security status),smtp;421 RP-001,,"
		"policy-related,,,smtp,,,,0,,,,,\r\n"
		"tq,2026-01-02 03:04:05+0000,,,,,,4.4.1 (no answer from host),,,,,,smtp,,,,,,,,b/m,\r\n"
		"r,2026-01-02 03:04:05+0000,,s@example.com,,,,,,,,,,,,,,,,,,,\r\n");
}

static void
a_field_cannot_break_its_line_and_is_otherwise_left_alone(void **state)
{
	struct fixture *f = *state;
	struct account *account = open_account(f, ACCOUNT_MASK_ALL);
	account_write(account, &(struct account_record){
		.type = ACCOUNT_RECEIVED, .logged = delivered.logged, .orig = SPAN("a\r\nd,b"), .rcpt = SPAN("\"q r\"@x"),
		.orcpt = SPAN("=1+1"), .src_type = SPAN("a\0b\tc\x7f"), .job = SPAN("@SUM"), .pool = SPAN("-\xc3\xa9") });
	account_close(account);
	assert_string_equal(contents(f) + strlen(HEADER),
		"r,2026-01-02 03:04:05+0000,,\"a  d,b\",\"\"\"q r\"\"@x\",=1+1,,,,,,a b c ,,,,,,,,@SUM,,,-\xc3\xa9\r\n");
}

static void
the_header_is_written_once_also_across_restarts(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < 3; i++) {
		struct account *account = open_account(f, ACCOUNT_MASK_ALL);
		account_write(account, &(struct account_record){ .type = ACCOUNT_RECEIVED });
		account_close(account);
	}
	assert_string_equal(contents(f), HEADER "r,,,,,,,,,,,,,,,,,,,,,,\r\nr,,,,,,,,,,,,,,,,,,,,,,\r\nr,,,,,,,,,,,,,,,,,,,,,,\r\n");
}

static void
only_the_types_asked_for_are_written(void **state)
{
	struct fixture *f = *state;
	struct account *account = open_account(f, ACCOUNT_MASK(ACCOUNT_BOUNCED) | ACCOUNT_MASK(ACCOUNT_QUEUE));
	for (unsigned type = 0; type <= ACCOUNT_RECEIVED; type++)
		account_write(account, &(struct account_record){ .type = (enum account_type)type });
	account_close(account);
	const char *text = contents(f) + strlen(HEADER);
	assert_true(strncmp(text, "b,", 2) == 0);
	assert_non_null(strstr(text, "\r\ntq,"));
	assert_null(strstr(text, "\r\nr,"));
	assert_null(strstr(text, "\r\nd,"));
}

static void
lines_are_gathered_until_flushed_or_many(void **state)
{
	struct fixture *f = *state;
	struct account *account = open_account(f, ACCOUNT_MASK_ALL);
	account_write(account, &delivered);
	assert_string_equal(contents(f), HEADER);
	account_flush(account);
	assert_true(strlen(contents(f)) > strlen(HEADER));
	size_t before = strlen(contents(f));
	for (unsigned i = 0; i < 1000; i++)
		account_write(account, &delivered);
	assert_true(strlen(contents(f)) > before + 65536);
	account_close(account);
}

static void
add_one(void *ctx)
{
	++*(unsigned *)ctx;
}

static void
who_writes_asks_once_for_a_row_of_flushes_that_ends_when_none_has_come(void **state)
{
	struct fixture *f = *state;
	struct account *account = open_account(f, ACCOUNT_MASK(ACCOUNT_DELIVERED));
	struct account_record refused = { .type = ACCOUNT_BOUNCED };
	unsigned asked = 0;

	account_on_record(account, add_one, &asked);
	assert_false(account_flush(account));
	account_write(account, &refused);
	assert_int_equal(asked, 0);
	for (unsigned i = 0; i < 1000; i++)
		account_write(account, &delivered);
	assert_int_equal(asked, 1);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(account_flush(account));
		account_write(account, &delivered);
	}
	assert_int_equal(asked, 1);
	assert_true(account_flush(account));
	assert_false(account_flush(account));
	account_write(account, &delivered);
	assert_int_equal(asked, 2);
	account_close(account);
}

static void
an_unfinished_last_line_is_cut_off_at_the_start(void **state)
{
	static const struct { const char *before, *after; } rows[] = {
		{ HEADER "d,1\r\nd,2", HEADER "d,1\r\nr,,,,,,,,,,,,,,,,,,,,,,\r\n" },
		{ "type,timeLo", HEADER "r,,,,,,,,,,,,,,,,,,,,,,\r\n" },
		{ "", HEADER "r,,,,,,,,,,,,,,,,,,,,,,\r\n" },
	};
	struct fixture *f = *state;
	for (unsigned i = 0; i < countof(rows); i++) {
		put_file(f, rows[i].before);
		struct account *account = open_account(f, ACCOUNT_MASK_ALL);
		account_write(account, &(struct account_record){ .type = ACCOUNT_RECEIVED });
		account_close(account);
		assert_string_equal(contents(f), rows[i].after);
	}
}

static void
after_a_rotation_the_new_file_begins_with_a_header(void **state)
{
	struct fixture *f = *state;
	struct account *account = open_account(f, ACCOUNT_MASK_ALL);
	char old[128];
	snprintf(old, sizeof(old), "%s.old", f->path);
	account_write(account, &(struct account_record){ .type = ACCOUNT_RECEIVED });
	assert_int_equal(rename(f->path, old), 0);
	assert_true(account_reopen(account, NULL));
	account_write(account, &(struct account_record){ .type = ACCOUNT_QUEUE });
	account_close(account);
	assert_string_equal(contents_of(f, old), HEADER "r,,,,,,,,,,,,,,,,,,,,,,\r\n");
	assert_string_equal(contents(f), HEADER "tq,,,,,,,,,,,,,smtp,,,,,,,,,\r\n");
}

static void
a_rotation_that_fails_leaves_the_old_file_in_use(void **state)
{
	struct fixture *f = *state;
	struct account *account = open_account(f, ACCOUNT_MASK_ALL);
	struct err err = { 0 };
	char old[128];
	snprintf(old, sizeof(old), "%s.old", f->path);
	assert_int_equal(rename(f->path, old), 0);
	assert_int_equal(mkdir(f->path, 0700), 0);
	assert_false(account_reopen(account, &err));
	assert_int_not_equal(err.kind, ERR_NONE);
	account_write(account, &(struct account_record){ .type = ACCOUNT_RECEIVED });
	account_close(account);
	assert_string_equal(contents_of(f, old), HEADER "r,,,,,,,,,,,,,,,,,,,,,,\r\n");
	assert_int_equal(rmdir(f->path), 0);
}

/* A limit on the size of files is a disk that fills up: first a part is taken, then nothing. */
static void
limit_files(rlim_t bytes)
{
	struct rlimit limit;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void
a_full_disk_leaves_whole_lines_and_loses_nothing_that_is_held(void **state)
{
	struct fixture *f = *state;
	signal(SIGXFSZ, SIG_IGN);
	struct account *account = open_account(f, ACCOUNT_MASK_ALL);
	for (unsigned i = 0; i < 10; i++)
		account_write(account, &(struct account_record){ .type = ACCOUNT_RECEIVED });
	limit_files(strlen(HEADER) + 30);
	account_flush(account);
	account_flush(account);
	limit_files(RLIM_INFINITY);
	assert_string_equal(contents(f), HEADER "r,,,,,,,,,,,,,,,,,,,,,,\r\n");
	account_flush(account);
	account_close(account);
	assert_int_equal(strlen(contents(f)), strlen(HEADER) + 10 * strlen("r,,,,,,,,,,,,,,,,,,,,,,\r\n"));
	assert_non_null(strstr(buf_text(&f->lines), "is written again; 0 records were lost"));
}

static unsigned
count(const char *text, const char *what)
{
	unsigned n = 0;
	for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
		n++;
	return n;
}

static void
a_disk_that_stays_full_is_told_once_a_minute_with_what_was_lost(void **state)
{
	struct fixture *f = *state;
	signal(SIGXFSZ, SIG_IGN);
	struct account *account = open_account(f, ACCOUNT_MASK_ALL);
	limit_files(strlen(HEADER));
	for (unsigned i = 0; i < 10000; i++) {
		account_write(account, &delivered);
		if (i % 1000 == 0)
			account_flush(account);
	}
	uint64_t lost = account_lost(account);
	assert_true(lost > 1000 && lost < 9000);
	assert_int_equal(count(buf_text(&f->lines), "error"), 1);
	struct err trouble;
	assert_true(account_trouble(account, &trouble));
	assert_non_null(strstr(trouble.text, "File too large"));
	f->now.ms += 60000;
	account_flush(account);
	assert_int_equal(count(buf_text(&f->lines), "error"), 2);
	char told[64];
	snprintf(told, sizeof(told), "; %llu records lost", (unsigned long long)lost);
	assert_non_null(strstr(buf_text(&f->lines), told));
	limit_files(RLIM_INFINITY);
	account_flush(account);
	account_write(account, &delivered);
	account_close(account);
	assert_int_equal(count(contents(f), "\r\nd,"), 10001 - lost);
}

static void
a_full_disk_keeps_nobody_from_starting(void **state)
{
	struct fixture *f = *state;
	signal(SIGXFSZ, SIG_IGN);
	limit_files(3);
	struct account *account = open_account(f, ACCOUNT_MASK_ALL);
	assert_int_equal(count(buf_text(&f->lines), "error"), 1);
	account_write(account, &delivered);
	limit_files(RLIM_INFINITY);
	account_flush(account);
	account_close(account);
	assert_true(strncmp(contents(f), HEADER, strlen(HEADER)) == 0);
	assert_int_equal(count(contents(f), "\r\nd,"), 1);
}

/* All loops of the node would wait for whoever reads it. */
static void
a_pipe_that_nobody_reads_holds_nobody_up_and_is_read_whole_later(void **state)
{
	enum { RECORDS = 1000 };        /* more than a pipe's 64 KiB */
	struct fixture *f = *state;
	struct account *account;
	struct err trouble;
	unsigned lines = 0;
	int reads;

	assert_int_equal(mkfifo(f->path, 0600), 0);
	alarm(5);
	account = open_account(f, ACCOUNT_MASK_ALL);
	for (unsigned i = 0; i < RECORDS; i++)
		account_write(account, &delivered);
	account_flush(account);
	alarm(0);
	assert_true(account_trouble(account, &trouble));
	reads = open(f->path, O_RDONLY | O_NONBLOCK);
	buf_clear(&f->text);
	for (ssize_t n; (n = read(reads, buf_grow(&f->text, 65536), 65536)) > 0; account_flush(account))
		buf_grow_commit(&f->text, (size_t)n);
	close(reads);
	assert_false(account_trouble(account, &trouble));
	account_close(account);
	for (struct span line, all = buf_span(&f->text); span_split(&all, '\n', &line); lines++)
		assert_true(span_starts(line, lines == 0 ? SPAN("type,") : SPAN("d,2026")));
	assert_int_equal(lines, 1 + RECORDS);
}

static void
a_path_that_cannot_be_opened_is_named(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };
	assert_null(account_open(f->dir, ACCOUNT_MASK_ALL, &f->log, &err));
	assert_non_null(strstr(err.text, f->dir));
}

#define WRITERS 4
#define WRITES  5000

static void *
write_many(void *ctx)
{
	struct account_record record = { .type = ACCOUNT_DELIVERED, .orig = SPAN("a@b.example"), .rcpt = SPAN("c@d.example") };

	for (unsigned i = 0; i < WRITES; i++)
		account_write(ctx, &record);
	return NULL;
}

static void
threads_share_it_and_each_line_is_there_whole(void **state)
{
	struct fixture *f = *state;
	struct account *account = account_open(f->path, ACCOUNT_MASK_ALL, &f->log, NULL);
	pthread_t writers[WRITERS];
	unsigned lines = 0;
	char line[512];
	FILE *file;

	for (unsigned i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&writers[i], NULL, write_many, account), 0);
	account_flush(account);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(writers[i], NULL);
	account_close(account);
	file = fopen(f->path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof line, file) != NULL) {
		assert_true(lines == 0 || strncmp(line, "d,", 2) == 0);
		assert_non_null(strchr(line, '\n'));
		lines++;
	}
	fclose(file);
	assert_int_equal(lines, 1 + WRITERS * WRITES);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(records_are_lines_with_powermtas_fields),
		TEST(a_field_cannot_break_its_line_and_is_otherwise_left_alone),
		TEST(the_header_is_written_once_also_across_restarts),
		TEST(only_the_types_asked_for_are_written),
		TEST(lines_are_gathered_until_flushed_or_many),
		TEST(who_writes_asks_once_for_a_row_of_flushes_that_ends_when_none_has_come),
		TEST(an_unfinished_last_line_is_cut_off_at_the_start),
		TEST(after_a_rotation_the_new_file_begins_with_a_header),
		TEST(a_rotation_that_fails_leaves_the_old_file_in_use),
		TEST(a_full_disk_leaves_whole_lines_and_loses_nothing_that_is_held),
		TEST(a_disk_that_stays_full_is_told_once_a_minute_with_what_was_lost),
		TEST(a_full_disk_keeps_nobody_from_starting),
		TEST(a_pipe_that_nobody_reads_holds_nobody_up_and_is_read_whole_later),
		TEST(a_path_that_cannot_be_opened_is_named),
		TEST(threads_share_it_and_each_line_is_there_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
