/*
 * `top`: the queues live. Asks like every other command, once a second, and draws
 * what top_screen makes of it.
 *
 * The terminal is left as it was found, whatever ends us: the loop itself ends at
 * `q` and at signals (which only interrupt the wait; nothing else is done
 * there), and at a node that went away.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>

#include "cmd/cmd.h"
#include "cmd/cmd_control.h"
#include "cmd/cmd_print.h"
#include "cmd/top_screen.h"
#include "net/clock.h"

#define EVERY_MS   1000
#define ROWS_ASKED "1000"       /* most queued first */

struct terminal {
	struct termios before;
	int            signals;         /* SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH */
};

static bool
terminal_open(struct terminal *terminal)
{
	struct termios raw;
	sigset_t set;

	if (tcgetattr(STDIN_FILENO, &terminal->before) != 0)
		return false;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, NULL);
	terminal->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	raw = terminal->before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	raw.c_cc[VSUSP] = _POSIX_VDISABLE;      /* a shell that comes back would find our screen */
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	fputs("\033[?1049h\033[?25l", stdout);
	fflush(stdout);
	return true;
}

static void
terminal_close(const struct terminal *terminal)
{
	fputs("\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal->before);
	close(terminal->signals);
}

static void
terminal_size(unsigned *lines_out, unsigned *columns_out)
{
	struct winsize size = { 0 };
	bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0;

	*lines_out = known ? size.ws_row : 24;
	*columns_out = known ? size.ws_col : 80;
}

static void
draw(const struct top_screen *top)
{
	unsigned lines, columns;
	struct buf out;

	terminal_size(&lines, &columns);
	buf_init(&out, 0);
	top_screen_draw(top, lines, columns, cmd_has_colour(), &out);
	cmd_print_text(&out);
	fflush(stdout);
	buf_fini(&out);
}

static json_t *
ask_queues(const char *path, const char *pattern, struct err *err)
{
	json_t *request = cmd_control_request("queues", pattern);

	if (request != NULL)
		json_object_set_new(request, "options", json_pack("{s:s}", "limit", ROWS_ASKED));
	return cmd_control_ask(path, request, err);
}

static bool
refresh(struct top_screen *top, const char *path, struct err *err)
{
	char room[TOP_FILTER_MAX + 3];
	struct clock clock;
	json_t *status = cmd_control_ask(path, cmd_control_request("status", NULL), err);
	json_t *rows = status ? ask_queues(path, top_screen_pattern(top, room), err) : NULL;

	if (rows == NULL) {
		json_decref(status);
		return false;
	}
	clock_os_init(&clock);
	top_screen_update(top, status, rows, (double)clock_mono(&clock) / (double)US_PER_S);
	if (top->why != NULL) {
		struct err gone = { 0 };
		json_t *why = cmd_control_ask(path, cmd_control_request("why", top_screen_queue(top)), &gone);

		if (why != NULL)
			top_screen_show_why(top, why);
		else
			top_screen_tell(top, "", NULL, gone.text);
	}
	return true;
}

static void
act(struct top_screen *top, const char *path, enum top_act what)
{
	static const struct { const char *command, *done; } acts[] = {
		[TOP_PAUSE] = { "pause", "paused" }, [TOP_RESUME] = { "resume", "resumed" },
		[TOP_RETRY] = { "retry", "to be tried now:" }, [TOP_WHY] = { "why", "" },
	};
	struct err err = { 0 };
	json_t *answer = cmd_control_ask(path, cmd_control_request(acts[what].command, top_screen_queue(top)), &err);

	if (answer != NULL && what == TOP_WHY) {
		top_screen_show_why(top, answer);
		return;
	}
	top_screen_tell(top, acts[what].done, answer, answer ? NULL : err.text);
	json_decref(answer);
}

/* The length of a control sequence that is none of ours: ESC [ … up to its letter or '~'. */
static size_t
sequence_n(struct span bytes)
{
	size_t n = 2;

	while (n < bytes.n && (bytes.p[n] < '@' || bytes.p[n] > '~'))
		n++;
	return n < bytes.n ? n + 1 : bytes.n;
}

/* The first key of what one read gave, which holds several where they were typed faster than we asked; its length. */
static size_t
next_key(struct span bytes, int *key_out)
{
	static const struct { const char *bytes; int key; } keys[] = {
		{ "\033[A", TOP_KEY_UP }, { "\033OA", TOP_KEY_UP }, { "\033[B", TOP_KEY_DOWN }, { "\033OB", TOP_KEY_DOWN },
		{ "\033[5~", TOP_KEY_PAGE_UP }, { "\033[6~", TOP_KEY_PAGE_DOWN },
		{ "\r", TOP_KEY_ENTER }, { "\n", TOP_KEY_ENTER }, { "\177", TOP_KEY_BACK }, { "\b", TOP_KEY_BACK },
	};
	bool escape = bytes.p[0] == '\033';

	for (size_t i = 0; i < countof(keys); i++) {
		if (!span_starts(bytes, span_text(keys[i].bytes)))
			continue;
		*key_out = keys[i].key;
		return strlen(keys[i].bytes);
	}
	if (escape && bytes.n > 1 && (bytes.p[1] == '[' || bytes.p[1] == 'O')) {
		*key_out = 0;
		return sequence_n(bytes);
	}
	*key_out = escape ? TOP_KEY_ESCAPE : (unsigned char)bytes.p[0];
	return 1;
}

/* False: it is over. */
static bool
on_keys(struct top_screen *top, const char *path)
{
	char bytes[64];
	ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);
	struct span rest = span_make(bytes, n > 0 ? (size_t)n : 0);

	if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
		return false;
	while (rest.n > 0) {
		struct err err = { 0 };
		enum top_act what;
		int key;

		rest = span_from(rest, next_key(rest, &key));
		what = top_screen_key(top, key);
		if (what == TOP_QUIT)
			return false;
		if (what > TOP_REFRESH)
			act(top, path, what);
		if (what != TOP_NOTHING && !refresh(top, path, &err))
			top_screen_tell(top, "", NULL, err.text);
	}
	return true;
}

/* False: a signal ends it. */
static bool
on_signals(const struct terminal *terminal)
{
	struct signalfd_siginfo info;

	while (read(terminal->signals, &info, sizeof info) == sizeof info)
		if (info.ssi_signo != SIGWINCH)
			return false;
	return true;
}

/* Also while keys come faster than that. */
static int
until_refresh_ms(const struct top_screen *top)
{
	struct clock clock;
	int64_t passed_ms;

	clock_os_init(&clock);
	passed_ms = (clock_mono(&clock) - (mono_us_t)(top->at_before * (double)US_PER_S)) / US_PER_MS;
	return passed_ms >= EVERY_MS ? 0 : (int)(EVERY_MS - passed_ms);
}

static bool
run_screen(const struct terminal *terminal, struct top_screen *top, const char *path, struct err *err)
{
	struct pollfd fds[] = { { STDIN_FILENO, POLLIN, 0 }, { terminal->signals, POLLIN, 0 } };

	for (;;) {
		int n;

		draw(top);
		n = poll(fds, countof(fds), until_refresh_ms(top));
		if (fds[1].revents != 0 && n > 0 && !on_signals(terminal))
			return true;
		if (fds[0].revents != 0 && n > 0 && !on_keys(top, path))
			return true;
		if (until_refresh_ms(top) == 0 && !refresh(top, path, err))
			return false;
	}
}

static int
run(int argc, char **argv)
{
	struct cmd_option options[] = { { "control", true, NULL } };
	struct terminal terminal;
	struct top_screen top;
	struct err err = { 0 };
	const char *path;
	bool fine;
	int status;

	if (!cmd_parse(&cmd_top, options, countof(options), &argc, argv, &status))
		return status;
	if (argc != 1)
		return cmd_misused(&cmd_top, "top takes no arguments; / filters");
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return cmd_failed("top needs a terminal; `sluice queues` prints the same once");
	path = cmd_control_path(options[0].value);
	top_screen_init(&top);
	fine = refresh(&top, path, &err);
	if (fine && !terminal_open(&terminal))
		fine = err_sys(&err, "the terminal");
	else if (fine) {
		fine = run_screen(&terminal, &top, path, &err);
		terminal_close(&terminal);
	}
	top_screen_fini(&top);
	return fine ? EXIT_DONE : cmd_failed("%s", err.text);
}

const struct cmd cmd_top = {
	.name = "top",
	.arguments = "[--control PATH]",
	.summary = "the queues of a running node, live",
	.help =
	"Shows the queues live, most queued first, and what the node does. The 1,000\n"
	"fullest are shown; a filter looks through all of them.\n"
	"\n"
	"  arrows, j, k     move           w, Enter   why: what holds this queue\n"
	"  p, r             pause, resume  t          try again now\n"
	"  s                sort by queued, name, sessions, pace, oldest\n"
	"  /                filter: type a part of a name, Enter keeps it, Esc ends it\n"
	"  q                quit\n"
	"\n"
	"  --control PATH   the node's socket\n"
	"\n"
	"example:\n"
	"  $ sluice top\n",
	.run = run,
};
