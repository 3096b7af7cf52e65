/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "sim/loop_sim.h"
#include "sim/net_sim.h"
#include "sim/receiver.h"
#include "util/buf.h"
#include "util/prng.h"

#define EPOCH (1000 * US_PER_S)

struct world {
	struct loop     *loop;
	struct wire     *wire;
	struct net      *node, *outside;
	struct receiver *mx;
	char             failure[300];
};

struct client {
	struct world *world;
	struct conn  *conn;
	struct buf    got;
	bool          closed;
	struct err    err;
	mono_us_t     last_at;
};

static const struct ip mx_ip = { IP_V4, { 192, 0, 2, 25 } };

static void
on_failure(void *ctx, const struct err *err)
{
	struct world *world = ctx;

	snprintf(world->failure, sizeof(world->failure), "%s", err->text);
}

static struct world *
world_new(void)
{
	struct world *world = mem_alloc(sizeof(*world));
	struct receiver_options options = { .host = "mx.example", .epoch = EPOCH, .ip = mx_ip };

	world->loop = loop_sim_new(EPOCH, (wall_ms_t){ 1700000000000 });
	world->wire = wire_new(world->loop);
	world->node = net_sim_new(world->wire);
	world->outside = net_sim_new(world->wire);
	options.loop = world->loop;
	options.net = world->outside;
	options.watch = (struct receiver_watch){ .on_failure = on_failure, .ctx = world };
	world->mx = receiver_new(&options);
	return world;
}

static void
world_free(struct world *world)
{
	receiver_free(world->mx);
	net_sim_free(world->node);
	net_sim_free(world->outside);
	wire_free(world->wire);
	loop_sim_free(world->loop);
	free(world);
}

static void
run_until(struct world *world, mono_us_t at)
{
	while (loop_sim_turn(world->loop, EPOCH + at))
		;
}

static void
run(struct world *world, mono_us_t us)
{
	run_until(world, loop_now(world->loop).mono - EPOCH + us);
}

static void
client_on_open(void *ctx)
{
}

static void
client_on_data(void *ctx, struct span data)
{
	struct client *client = ctx;

	buf_add(&client->got, data);
	client->last_at = loop_now(client->world->loop).mono - EPOCH;
}

static void
client_on_close(void *ctx, const struct err *err)
{
	struct client *client = ctx;

	client->closed = true;
	if (err)
		client->err = *err;
}

static void
client_on_tls(void *ctx, const struct err *err)
{
}

static const struct conn_events client_events = {
	.on_open = client_on_open, .on_data = client_on_data, .on_close = client_on_close, .on_tls = client_on_tls,
};

static struct client *
dial(struct world *world)
{
	struct endpoint to = { mx_ip, 25 };
	struct client *client = mem_alloc(sizeof(*client));

	client->world = world;
	buf_init(&client->got, 0);
	client->conn = net_dial(world->node, NULL, &to, &client_events, client, NULL);
	assert_non_null(client->conn);
	return client;
}

static void
client_free(struct client *client)
{
	conn_close(client->conn);
	buf_fini(&client->got);
	free(client);
}

/* What came since the last look, a second later. */
static const char *
said(struct client *client)
{
	static char text[4096];

	run(client->world, US_PER_S);
	snprintf(text, sizeof(text), "%s", buf_text(&client->got));
	buf_clear(&client->got);
	return text;
}

static const char *
say(struct client *client, const char *text)
{
	conn_write(client->conn, span_text(text));
	return said(client);
}

static struct client *
greeted(struct world *world)
{
	struct client *client = dial(world);

	assert_string_equal(said(client), "220 mx.example ESMTP\r\n");
	assert_non_null(strstr(say(client, "EHLO node.example\r\n"), "250-PIPELINING\r\n"));
	return client;
}

static void
add(struct world *world, enum answer_stage stage, const char *with, uint32_t times)
{
	struct answer_rule rule = { .stage = stage, .times = times };

	assert_true(answer_parse(span_text(with), &rule.fixed));
	assert_true(answers_add(receiver_answers(world->mx), &rule, NULL));
}

#define RCPTS_OK "250 2.1.0 OK\r\n250 2.1.5 OK\r\n"

static void
takes_mail_and_counts_recipients_at_the_final_dot(void **state)
{
	struct world *world = world_new();
	struct client *client = greeted(world);

	assert_string_equal(say(client, "MAIL FROM:<a@b.example>\r\nRCPT TO:<u@mx.example>\r\nRCPT TO:<v@mx.example>\r\nDATA\r\n"),
			    RCPTS_OK "250 2.1.5 OK\r\n354 Go\r\n");
	assert_int_equal(sightings_recipients(receiver_sightings(world->mx), 0, INT64_MAX), 0);
	assert_string_equal(say(client, "x: y\r\n\r\nhello\r\n.\r\n"), "250 2.0.0 OK\r\n");
	assert_int_equal(sightings_recipients(receiver_sightings(world->mx), 0, INT64_MAX), 2);
	assert_int_equal(sightings_recipients(receiver_sightings(world->mx), 3 * US_PER_S, 4 * US_PER_S), 2);
	assert_int_equal(receiver_totals(world->mx)->messages, 1);
	assert_int_equal(receiver_totals(world->mx)->bytes, 15);
	assert_string_equal(say(client, "QUIT\r\n"), "221 2.0.0 Bye\r\n");
	assert_true(client->closed);
	assert_int_equal(receiver_totals(world->mx)->open, 0);
	assert_int_equal(receiver_totals(world->mx)->refusals, 0);
	client_free(client);
	world_free(world);
}

static void
each_stage_is_answered_by_its_rule(void **state)
{
	static const struct { enum answer_stage stage; const char *say; } steps[] = {
		{ ANSWER_EHLO, "EHLO node.example\r\n" },  { ANSWER_MAIL, "MAIL FROM:<a@b.example>\r\n" },
		{ ANSWER_RCPT, "RCPT TO:<u@mx.example>\r\n" }, { ANSWER_DATA, "DATA\r\n" }, { ANSWER_END, "x: y\r\n.\r\n" },
	};
	struct world *world = world_new();
	struct client *client = greeted(world);

	for (size_t i = 0; i < countof(steps); i++) {
		add(world, steps[i].stage, "450 4.2.1 busy", 1);
		assert_string_equal(say(client, steps[i].say), "450 4.2.1 busy\r\n");
		if (steps[i].stage != ANSWER_END)
			assert_int_not_equal(say(client, steps[i].say)[0], '4');
	}
	assert_int_equal(receiver_totals(world->mx)->refusals, 5);
	assert_int_equal(sightings_recipients(receiver_sightings(world->mx), 0, INT64_MAX), 0);
	client_free(client);
	add(world, ANSWER_CONNECT, "554 5.7.1 go away", 1);
	client = dial(world);
	assert_string_equal(said(client), "554 5.7.1 go away\r\n");
	assert_true(client->closed);
	client_free(client);
	client_free(greeted(world));
	world_free(world);
}

struct spy {
	struct answer_event event;
	char line[200], source[IP_TEXT_MAX];
	struct world *down;
};

static enum answer_verdict
spy(void *ctx, const struct answer_event *event, struct answer *out, struct err *err)
{
	struct spy *seen = ctx;

	seen->event = *event;
	snprintf(seen->line, sizeof(seen->line), "%.*s", SPAN_ARG(event->line));
	snprintf(seen->source, sizeof(seen->source), "%s", event->source);
	if (seen->down)
		receiver_down(seen->down->mx, RECEIVER_REFUSES);
	return err_set(err, ERR_PERM, "x.lua:1: no") ? ANSWER_GIVEN : ANSWER_FAILED;
}

static void
a_rule_sees_the_command_as_it_was_said_and_its_failure_is_told(void **state)
{
	struct world *world = world_new();
	struct client *client = greeted(world);
	struct spy seen = { 0 };
	struct answer_rule rule = { .stage = ANSWER_MAIL, .fn = spy, .ctx = &seen };

	assert_true(answers_add(receiver_answers(world->mx), &rule, NULL));
	assert_string_equal(say(client, "mail from:<a@b.example> SIZE=100\r\n"), "451 4.3.0 the script erred\r\n");
	assert_string_equal(seen.line, "mail from:<a@b.example> SIZE=100");
	assert_string_equal(seen.source, "192.0.2.1");
	assert_float_equal(seen.event.at_s, 2.0, 0.01);
	assert_string_equal(world->failure, "x.lua:1: no");
	client_free(client);
	world_free(world);
}

static void
a_rule_may_take_its_own_receiver_down(void **state)
{
	struct world *world = world_new();
	struct client *client = greeted(world), *other = greeted(world);
	struct spy seen = { .down = world };
	struct answer_rule rule = { .stage = ANSWER_MAIL, .fn = spy, .ctx = &seen };

	assert_true(answers_add(receiver_answers(world->mx), &rule, NULL));
	assert_string_equal(say(client, "MAIL FROM:<a@b.example>\r\n"), "");
	assert_true(client->closed && other->closed);
	assert_int_equal(receiver_totals(world->mx)->open, 0);
	client_free(client);
	client_free(other);
	world_free(world);
}

static void
a_session_is_reset_left_hanging_or_closed_without_a_word(void **state)
{
	static const struct { const char *act; bool closed; const char *err; uint32_t open; } cases[] = {
		{ "reset", true, "connection reset by peer", 0 }, { "hang", false, "", 1 }, { "close", true, "", 0 },
	};

	for (size_t i = 0; i < countof(cases); i++) {
		for (enum answer_stage stage = ANSWER_CONNECT; stage <= ANSWER_RCPT; stage++) {
			struct world *world = world_new();
			struct client *client = stage == ANSWER_CONNECT ? NULL : greeted(world);

			add(world, stage, cases[i].act, 0);
			if (!client)
				client = dial(world);
			conn_write(client->conn, SPAN("EHLO node.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<u@mx.example>\r\nNOOP\r\n"));
			run(world, 3600 * US_PER_S);
			assert_int_equal(client->closed, cases[i].closed);
			assert_string_equal(client->err.text, cases[i].err);
			assert_int_equal(receiver_totals(world->mx)->open, cases[i].open);
			assert_null(strstr(buf_text(&client->got), "250 2.1.5"));
			if (stage == ANSWER_RCPT && i > 0)
				assert_non_null(strstr(buf_text(&client->got), "250 2.1.0"));
			client_free(client);
			run(world, US_PER_S);
			assert_int_equal(receiver_totals(world->mx)->open, 0);
			world_free(world);
		}
	}
}

static void
a_connection_beyond_the_cap_is_turned_away_at_the_banner(void **state)
{
	struct world *world = world_new();
	struct client *first, *second, *third;

	receiver_set_max_connections(world->mx, 2);
	first = greeted(world);
	second = greeted(world);
	third = dial(world);
	assert_string_equal(said(third), "421 4.7.0 too many connections\r\n");
	assert_true(third->closed);
	client_free(third);
	say(first, "QUIT\r\n");
	client_free(first);
	first = greeted(world);
	assert_int_equal(sightings_connections(receiver_sightings(world->mx), 0, INT64_MAX), 4);
	assert_int_equal(sightings_peak(receiver_sightings(world->mx), 0, INT64_MAX), 3);
	client_free(first);
	client_free(second);
	world_free(world);
}

static const char *
send_to(struct client *client, const char *recipient)
{
	char text[300];
	static char reply[200];

	snprintf(text, sizeof(text), "MAIL FROM:<a@b.example>\r\nRCPT TO:<%s>\r\n", recipient);
	snprintf(reply, sizeof(reply), "%s", say(client, text) + strlen("250 2.1.0 OK\r\n"));
	say(client, reply[0] == '2' ? "DATA\r\n" : "RSET\r\n");
	if (reply[0] == '2')
		say(client, "x: y\r\n.\r\n");
	return reply;
}

static void
a_greylisted_recipient_is_taken_when_the_time_is_up(void **state)
{
	static const char *const later = "451 4.7.1 greylisted, come back later\r\n";
	struct world *world = world_new();
	struct client *client = greeted(world);

	receiver_greylist(world->mx, 300 * US_PER_S);
	assert_string_equal(send_to(client, "u@mx.example"), later);
	run(world, 200 * US_PER_S);
	assert_string_equal(send_to(client, "v@mx.example"), later);
	assert_string_equal(send_to(client, "u@mx.example"), later);
	run_until(world, 301 * US_PER_S);
	assert_string_equal(send_to(client, "u@mx.example"), later);
	assert_string_equal(send_to(client, "u@mx.example"), "250 2.1.5 OK\r\n");
	assert_string_equal(send_to(client, "v@mx.example"), later);
	receiver_greylist(world->mx, 0);
	assert_string_equal(send_to(client, "w@mx.example"), "250 2.1.5 OK\r\n");
	client_free(client);
	world_free(world);
}

static void
down_resets_and_refuses_until_it_is_up_again(void **state)
{
	struct world *world = world_new();
	struct client *client = greeted(world), *other;

	receiver_down(world->mx, RECEIVER_REFUSES);
	run(world, US_PER_S);
	assert_true(client->closed);
	assert_string_equal(client->err.text, "connection reset by peer");
	other = dial(world);
	run(world, US_PER_S);
	assert_string_equal(other->err.text, "connection refused");
	receiver_up(world->mx);
	client_free(other);
	client_free(client);
	client_free(greeted(world));
	world_free(world);
}

static void
a_silent_one_answers_nobody(void **state)
{
	struct world *world = world_new();
	struct client *client = greeted(world), *other;

	receiver_down(world->mx, RECEIVER_SILENT);
	other = dial(world);
	assert_string_equal(say(client, "NOOP\r\n"), "");
	run(world, 3600 * US_PER_S);
	assert_false(client->closed);
	assert_false(other->closed);
	assert_int_equal(buf_len(&other->got), 0);
	assert_int_equal(receiver_totals(world->mx)->open, 0);
	receiver_up(world->mx);
	client_free(greeted(world));
	client_free(client);
	client_free(other);
	world_free(world);
}

static void
a_reply_takes_the_latency(void **state)
{
	struct world *world = world_new();
	struct client *client;

	receiver_set_latency(world->mx, 80 * US_PER_MS);
	client = greeted(world);
	mono_us_t began = loop_now(world->loop).mono - EPOCH;
	say(client, "NOOP\r\n");
	assert_int_equal(client->last_at - began, 80 * US_PER_MS);
	client_free(client);
	world_free(world);
}

static void
starttls_is_offered_when_told_and_its_certificate_may_be_bad(void **state)
{
	struct world *world = world_new();
	struct client *client;

	for (int valid = 0; valid < 2; valid++) {
		receiver_set_starttls(world->mx, true);
		receiver_set_tls_valid(world->mx, valid);
		client = dial(world);
		said(client);
		assert_non_null(strstr(say(client, "EHLO x.example\r\n"), "250-STARTTLS\r\n"));
		assert_string_equal(say(client, "STARTTLS\r\n"), "220 2.0.0 Ready to start TLS\r\n");
		conn_start_tls_client(client->conn, NULL, &(struct tls_peer){ .host = "mx.example", .verify = true });
		run(world, US_PER_S);
		assert_int_equal(client->conn->tls_version != NULL, valid);
		assert_int_equal(client->closed, !valid);
		if (valid)
			assert_non_null(strstr(say(client, "EHLO x.example\r\n"), "250 CHUNKING\r\n"));
		client_free(client);
		run(world, US_PER_S);
		assert_int_equal(receiver_totals(world->mx)->open, 0);
	}
	receiver_set_starttls(world->mx, false);
	client = greeted(world);
	assert_int_equal(say(client, "STARTTLS\r\n")[0], '5');
	client_free(client);
	world_free(world);
}

static void
says_enough_to_new_mail_when_drained(void **state)
{
	struct world *world = world_new();
	struct client *client = greeted(world);

	assert_string_equal(say(client, "MAIL FROM:<a@b.example>\r\nRCPT TO:<u@mx.example>\r\n"), RCPTS_OK);
	receiver_drain(world->mx);
	assert_string_equal(say(client, "DATA\r\n"), "354 Go\r\n");
	assert_string_equal(say(client, ".\r\nMAIL FROM:<a@b.example>\r\n"), "250 2.0.0 OK\r\n421 4.3.2 Enough\r\n");
	assert_true(client->closed);
	client_free(client);
	world_free(world);
}

/* Sends something at random, and now and then drops the transaction or the connection. */
static void
act_at_random(struct client **client, struct prng *prng)
{
	struct world *world = (*client)->world;

	switch (prng_below(prng, 8)) {
	case 0:
		client_free(*client);
		*client = dial(world);
		conn_write((*client)->conn, SPAN("EHLO x.example\r\n"));
		break;
	case 1:
		conn_write((*client)->conn, SPAN("RSET\r\n"));
		break;
	case 2:
	case 3:
		conn_write((*client)->conn, SPAN("DATA\r\n"));
		run(world, 10);
		buf_clear(&(*client)->got);
		conn_write((*client)->conn, SPAN(".\r\n"));
		break;
	default:
		conn_write((*client)->conn, SPAN("MAIL FROM:<a@b.example>\r\nRCPT TO:<u@mx.example>\r\nRCPT TO:<v@mx.example>\r\n"));
	}
}

static void
never_takes_more_than_the_rate_in_any_window(void **state)
{
	for (uint64_t seed = 1; seed <= 30; seed++) {
		struct world *world = world_new();
		struct rate_spec rate = { .window_us = 60 * US_PER_S };
		struct client *clients[4];
		struct prng prng;
		uint64_t most;

		prng_seed(&prng, seed);
		rate.count = 1 + (uint32_t)prng_below(&prng, 20);
		receiver_set_rate(world->mx, &rate);
		for (size_t i = 0; i < countof(clients); i++) {
			clients[i] = dial(world);
			conn_write(clients[i]->conn, SPAN("EHLO x.example\r\n"));
		}
		for (int i = 0; i < 600; i++) {
			act_at_random(&clients[prng_below(&prng, countof(clients))], &prng);
			run(world, (mono_us_t)prng_below(&prng, prng_below(&prng, 10) ? 2 * US_PER_S : 30 * US_PER_S));
		}
		most = sightings_rate(receiver_sightings(world->mx), rate.window_us);
		if (most > rate.count || most == 0)
			fail_msg("seed %d: %d of %d", (int)seed, (int)most, (int)rate.count);
		for (size_t i = 0; i < countof(clients); i++)
			client_free(clients[i]);
		world_free(world);
	}
}

static void
a_steady_sender_gets_all_of_the_rate(void **state)
{
	struct world *world = world_new();
	struct rate_spec rate = { .count = 10, .window_us = 60 * US_PER_S };
	struct client *client = greeted(world);

	receiver_set_rate(world->mx, &rate);
	for (int i = 0; i < 10; i++)
		assert_string_equal(send_to(client, "u@mx.example"), "250 2.1.5 OK\r\n");
	assert_string_equal(send_to(client, "u@mx.example"), "451 4.7.1 rate limit exceeded\r\n");
	run(world, 60 * US_PER_S);
	assert_string_equal(send_to(client, "u@mx.example"), "250 2.1.5 OK\r\n");
	assert_int_equal(sightings_rate(receiver_sightings(world->mx), rate.window_us), 10);
	client_free(client);
	world_free(world);
}

static void
what_is_one_window_old_is_out_and_what_was_dropped_never_counts(void **state)
{
	struct world *world = world_new();
	struct rate_spec rate = { .count = 1, .window_us = 60 * US_PER_S };
	struct client *client = greeted(world);
	mono_us_t taken_at;

	receiver_set_rate(world->mx, &rate);
	for (int i = 0; i < 2; i++) {
		assert_string_equal(say(client, "MAIL FROM:<a@b.example>\r\nRCPT TO:<u@mx.example>\r\n"), RCPTS_OK);
		say(client, "RSET\r\n");
	}
	say(client, "MAIL FROM:<a@b.example>\r\nRCPT TO:<u@mx.example>\r\nDATA\r\n");
	taken_at = loop_now(world->loop).mono - EPOCH;
	assert_string_equal(say(client, ".\r\n"), "250 2.0.0 OK\r\n");
	assert_string_equal(say(client, "MAIL FROM:<a@b.example>\r\n"), "250 2.1.0 OK\r\n");
	run_until(world, taken_at + rate.window_us - 1);
	conn_write(client->conn, SPAN("RCPT TO:<u@mx.example>\r\n"));
	run_until(world, taken_at + rate.window_us);
	assert_string_equal(say(client, "RCPT TO:<u@mx.example>\r\n"),
			    "451 4.7.1 rate limit exceeded\r\n250 2.1.5 OK\r\n");
	client_free(client);
	world_free(world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_mail_and_counts_recipients_at_the_final_dot),
		cmocka_unit_test(each_stage_is_answered_by_its_rule),
		cmocka_unit_test(a_rule_sees_the_command_as_it_was_said_and_its_failure_is_told),
		cmocka_unit_test(a_rule_may_take_its_own_receiver_down),
		cmocka_unit_test(a_session_is_reset_left_hanging_or_closed_without_a_word),
		cmocka_unit_test(a_connection_beyond_the_cap_is_turned_away_at_the_banner),
		cmocka_unit_test(a_greylisted_recipient_is_taken_when_the_time_is_up),
		cmocka_unit_test(down_resets_and_refuses_until_it_is_up_again),
		cmocka_unit_test(a_silent_one_answers_nobody),
		cmocka_unit_test(a_reply_takes_the_latency),
		cmocka_unit_test(starttls_is_offered_when_told_and_its_certificate_may_be_bad),
		cmocka_unit_test(says_enough_to_new_mail_when_drained),
		cmocka_unit_test(never_takes_more_than_the_rate_in_any_window),
		cmocka_unit_test(what_is_one_window_old_is_out_and_what_was_dropped_never_counts),
		cmocka_unit_test(a_steady_sender_gets_all_of_the_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
