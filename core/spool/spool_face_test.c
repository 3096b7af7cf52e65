/* Faces of one spool on loops that move when told; spool_shared_test.c has them on threads. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_post.h"
#include "spool/spool_stuck_fixture.h"

/* A loop that keeps what was posted to it. */
struct box {
	struct loop loop;
	struct loop_call *posted;
	unsigned posts;
};

static void
box_post(struct loop *loop, struct loop_call *call)
{
	struct box *box = container_of(loop, struct box, loop);

	assert_null(box->posted);
	box->posted = call;
	box->posts++;
}

static const struct loop_ops box_ops = { .post = box_post };

static void
box_init(struct box *box, const struct post *post)
{
	*box = (struct box){ .loop = { .ops = &box_ops, .now = post->hand.loop.now } };
	timers_init(&box->loop.timers);
}

static void
box_deliver(struct box *box)
{
	struct loop_call *call = box->posted;

	assert_non_null(call);
	box->posted = NULL;
	call->fn(call->ctx);
}

/* Opened on a loop that can be posted to. */
static void
open_on(struct post *post, struct box *first)
{
	box_init(first, post);
	post->spool = spool_open(&post->fake.disk, &post->hand.worker, &first->loop, &post->options, &post->owner, NULL);
	assert_non_null(post->spool);
	hand_settle(&post->hand);
}

/* A letter sent by that face. */
static struct letter *
send_by(struct post *post, struct spool *face, uint32_t body_bytes)
{
	struct spool *first = post->spool;
	struct letter *letter;

	post->spool = face;
	letter = post_send(post, body_bytes);
	post->spool = first;
	assert_non_null(letter);
	return letter;
}

static void
settle_by(struct post *post, struct spool *face, struct letter *letter, uint16_t rcpt)
{
	struct spool *first = post->spool;

	post->spool = face;
	post_settle(post, letter, rcpt, SPOOL_DELIVERED);
	post->spool = first;
}

static void
tells_a_writer_on_the_loop_that_it_began_on(void **state)
{
	struct post *post = post_new();
	struct letter *ours, *theirs[2];
	struct spool *face;
	struct box box;

	post_open(post);
	box_init(&box, post);
	face = spool_join(post->spool, &box.loop);
	ours = send_by(post, post->spool, 100);
	theirs[0] = send_by(post, face, 100);
	theirs[1] = send_by(post, face, 300000);
	hand_settle(&post->hand);
	assert_int_equal(ours->told, 1);
	assert_int_equal(theirs[0]->told + theirs[1]->told, 0);
	assert_int_equal(box.posts, 1);
	box_deliver(&box);
	assert_int_equal(theirs[0]->told, 1);
	assert_int_equal(theirs[1]->told, 1);
	assert_int_equal(theirs[1]->err.kind, ERR_NONE);
	post_check_read(post, theirs[1], 1000);
	spool_close(face);
	post_free(post);
}

static void
on_room(void *ctx)
{
	++*(unsigned *)ctx;
}

static void
lets_a_writer_go_on_on_the_loop_that_it_began_on(void **state)
{
	struct post *post = post_new();
	char *much = mem_alloc(4 * SPOOL_PIECE_MAX);
	struct spool_writer *writer;
	struct spool *face;
	struct box box;
	unsigned rooms = 0;

	post_open(post);
	box_init(&box, post);
	face = spool_join(post->spool, &box.loop);
	writer = spool_begin(face, NULL);
	assert_true(spool_write(writer, span_make(much, 4 * SPOOL_PIECE_MAX), NULL));
	assert_true(spool_writer_waits(writer, on_room, &rooms));
	hand_settle(&post->hand);
	assert_int_equal(rooms, 0);
	box_deliver(&box);
	assert_int_equal(rooms, 1);
	spool_abort(writer);
	free(much);
	spool_close(face);
	post_free(post);
}

static void
tells_faces_of_the_first_loop_with_the_first(void **state)
{
	struct post *post = post_new();
	struct letter *letter;
	struct spool *face;

	post_open(post);
	face = spool_join(post->spool, &post->hand.loop);
	letter = send_by(post, face, 100);
	hand_settle(&post->hand);
	assert_int_equal(letter->told, 1);
	spool_close(face);
	post_free(post);
}

static void
a_face_that_closes_tells_what_waits(void **state)
{
	struct post *post = post_new();
	struct letter *ours, *theirs;
	struct spool *face;
	struct box first, box;

	open_on(post, &first);
	box_init(&box, post);
	face = spool_join(post->spool, &box.loop);
	ours = send_by(post, post->spool, 100);
	theirs = send_by(post, face, 100);
	spool_close(face);
	assert_int_equal(theirs->told, 1);
	assert_int_equal(theirs->err.kind, ERR_NONE);
	assert_int_equal(ours->told, 0);
	box_deliver(&first);
	assert_int_equal(ours->told, 1);
	hand_settle(&post->hand);
	post_sent(post, 100);
	post_power_cut(post);
	timers_fini(&first.loop.timers);
	post_open(post);
	assert_int_equal(post->recovered, 3);
	post_free(post);
}

static void
a_call_on_its_way_outlives_the_face(void **state)
{
	struct post *post = post_new();
	struct letter *letter;
	struct spool *face;
	struct box box;

	post_open(post);
	box_init(&box, post);
	face = spool_join(post->spool, &box.loop);
	letter = send_by(post, face, 100);
	hand_settle(&post->hand);
	spool_close(face);
	assert_int_equal(letter->told, 1);
	post_close(post);
	box_deliver(&box);
	assert_int_equal(letter->told, 1);
	post_free(post);
}

static void
refusals_at_once_are_told_when_the_own_loop_turns(void **state)
{
	struct post *post = post_new();
	struct spool_writer *writer;
	struct letter *letter = &post->letters[0];
	struct spool *face;
	struct box box;

	post_open(post);
	box_init(&box, post);
	face = spool_join(post->spool, &box.loop);
	writer = spool_begin(face, NULL);
	letter->message.id = spool_next_id(face);
	post->spool->core->failing = (struct err){ .kind = ERR_TEMP };
	spool_commit(writer, &letter->message, 2, SPAN("meta"), SPAN("A: b\r\n\r\n"), post_told, letter);
	hand_pass(&post->hand, US_PER_MS);
	assert_int_equal(letter->told, 0);
	timers_run(&box.loop.timers, box.loop.now);
	assert_int_equal(letter->told, 1);
	assert_int_equal(letter->err.kind, ERR_TEMP);
	post->spool->core->failing = (struct err){ 0 };
	spool_close(face);
	timers_fini(&box.loop.timers);
	post_free(post);
}

static void
what_is_settled_by_any_face_is_written_in_time(void **state)
{
	struct post *post = post_new();
	struct letter *letter;
	struct spool *face;
	struct box box;

	post_open(post);
	box_init(&box, post);
	face = spool_join(post->spool, &box.loop);
	letter = post_sent(post, 100);
	settle_by(post, face, letter, 0);
	settle_by(post, post->spool, letter, 1);
	hand_pass(&post->hand, 10 * US_PER_MS);
	hand_settle(&post->hand);
	assert_int_equal(post->spool->core->active->notes.n, 2);
	box.loop.now.mono += 5 * US_PER_MS;
	timers_run(&box.loop.timers, box.loop.now);
	hand_settle(&post->hand);
	assert_int_equal(post->spool->core->active->notes.n, 0);
	assert_int_equal(box.posts, 0);
	spool_close(face);
	timers_fini(&box.loop.timers);
	post_free(post);
}

static void
notes_do_not_wait_for_a_face_that_is_gone(void **state)
{
	struct post *post = post_new();
	struct letter *letter;
	struct spool *face;
	struct box box;

	post_open(post);
	box_init(&box, post);
	face = spool_join(post->spool, &box.loop);
	letter = post_sent(post, 100);
	settle_by(post, face, letter, 0);
	spool_close(face);
	hand_settle(&post->hand);
	assert_int_equal(post->spool->core->active->notes.n, 0);
	timers_fini(&box.loop.timers);
	post_free(post);
}

/* The retry timer is the first's: a face that finds the disk failing wakes it. */
static void
the_first_tries_again_what_failed_elsewhere(void **state)
{
	struct post *post = post_new();
	struct letter *letter;
	struct spool *face;
	struct box first, second;

	open_on(post, &first);
	box_init(&second, post);
	face = spool_join(post->spool, &second.loop);
	letter = send_by(post, face, 100);
	post->fake.fail_permille = 1000;
	spool_close(face);
	post->fake.fail_permille = 0;
	assert_int_equal(letter->err.kind, ERR_TEMP);
	assert_true(spool_refuses(post->spool));
	hand_settle(&post->hand);
	box_deliver(&first);
	first.loop.now.mono += 1100 * US_PER_MS;
	timers_run(&first.loop.timers, first.loop.now);
	hand_settle(&post->hand);
	assert_false(spool_refuses(post->spool));
	post_close(post);
	timers_fini(&first.loop.timers);
	timers_fini(&second.loop.timers);
	post_free(post);
}

static bool
rename_not(struct disk *disk, const char *from, const char *to, struct err *err)
{
	return err_set(err, ERR_TEMP, "not renamed");
}

/* The timer that the first failure set must not be all that the second one waits for. */
static void
tries_again_what_failed_while_something_else_waited(void **state)
{
	struct post *post = post_new();
	const struct disk_ops *all = post->fake.disk.ops;
	struct disk_ops ops = *all;
	unsigned before;

	post_open(post);
	ops.rename = rename_not;
	post->fake.disk.ops = &ops;
	for (unsigned i = 0; i < 2; i++) {
		uint64_t number = post->spool->core->active->number;

		while (post->spool->core->active->number == number)
			post_deliver(post, post_sent(post, 5000));
		spool_hurry(post->spool);
		hand_settle(&post->hand);
		hand_pass(&post->hand, 600 * US_PER_MS);
	}
	before = (unsigned)post->spool->core->segments_n;
	assert_true(before >= 3);
	post->fake.disk.ops = all;
	for (unsigned i = 0; i < 3; i++) {
		hand_settle(&post->hand);
		hand_pass(&post->hand, 500 * US_PER_MS);
	}
	hand_settle(&post->hand);
	assert_int_equal(post->spool->core->segments_n, 1);
	post_free(post);
}

/* Told late, a message that is durable is in no list yet: a new journal must not call it over. */
static void
a_new_journal_waits_for_a_face_that_was_not_told_yet(void **state)
{
	struct post *post = post_new();
	struct letter *letter;
	struct spool *face;
	struct stuck stuck;
	struct box box;
	char name[SPOOL_NAME_MAX];

	stuck_init(&stuck, &post->fake);
	post_open(post);
	hand_settle(&post->hand);
	box_init(&box, post);
	face = spool_join(post->spool, &box.loop);
	letter = send_by(post, face, 100);
	spool_segment_name(post->spool->core->active, ".jnl", name);
	stuck.inode = fake_file(&post->fake, name);
	assert_non_null(stuck.inode);
	stuck.writes = true;
	post_rest(post);
	assert_int_equal(letter->told, 0);
	spool_hurry(post->spool);
	post_rest(post);
	box_deliver(&box);
	assert_int_equal(letter->told, 1);
	assert_int_equal(letter->err.kind, ERR_NONE);
	post_rest(post);
	assert_false(spool_refuses(post->spool));
	assert_ptr_not_equal(fake_file(&post->fake, name), stuck.inode);
	spool_close(face);
	post_power_cut(post);
	post_open(post);
	assert_true(letter->back);
	post_check_read(post, letter, 1000);
	stuck_fini(&stuck, &post->fake);
	timers_fini(&box.loop.timers);
	post_free(post);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_a_writer_on_the_loop_that_it_began_on),
		cmocka_unit_test(lets_a_writer_go_on_on_the_loop_that_it_began_on),
		cmocka_unit_test(tells_faces_of_the_first_loop_with_the_first),
		cmocka_unit_test(a_face_that_closes_tells_what_waits),
		cmocka_unit_test(a_call_on_its_way_outlives_the_face),
		cmocka_unit_test(refusals_at_once_are_told_when_the_own_loop_turns),
		cmocka_unit_test(what_is_settled_by_any_face_is_written_in_time),
		cmocka_unit_test(notes_do_not_wait_for_a_face_that_is_gone),
		cmocka_unit_test(the_first_tries_again_what_failed_elsewhere),
		cmocka_unit_test(tries_again_what_failed_while_something_else_waited),
		cmocka_unit_test(a_new_journal_waits_for_a_face_that_was_not_told_yet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
