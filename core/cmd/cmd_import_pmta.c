/*
 * `import-pmta`: the policy goes to a file or to standard output, and the report
 * where the policy does not go.
 *
 * A policy that a person has touched since is not written over: the first line says
 * that the importer made the file, and anything else in its place needs --force.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/cmd_print.h"
#include "control/control_answers.h"
#include "policy/import.h"

#define FILES_MAX  10000
#define BECOMES_MAX 60
#define DAY_SIZE    16

enum { JSON, OUTPUT, AS, FORCE, SPLIT, OPTIONS };

static bool
read_file(void *ctx, const char *path, struct buf *out, struct err *err)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = 1;

	if (fd < 0 || fstat(fd, &st) < 0) {
		err_sys(err, "cannot be read");
		if (fd >= 0)
			close(fd);
		return false;
	}
	if (S_ISDIR(st.st_mode)) {
		close(fd);
		return err_set(err, ERR_PERM, "is a folder");
	}
	while (n > 0) {
		char *room = buf_grow(out, 65536);
		char last[1];
		n = read(fd, room ? room : last, room ? 65536 : 1);
		if (n > 0 && !room) {
			out->overflowed = true;
			break;
		}
		buf_grow_commit(out, n > 0 && room ? (size_t)n : 0);
	}
	if (n < 0)
		err_sys(err, "cannot be read");
	close(fd);
	return n >= 0;
}

static void
find_files(void *ctx, const char *pattern, const char *from, void (*found)(void *to, const char *path), void *to)
{
	const char *slash = strrchr(from, '/');
	struct buf whole;
	glob_t files;

	buf_init(&whole, 0);
	if (pattern[0] != '/' && slash)
		buf_add(&whole, span_make(from, (size_t)(slash - from) + 1));
	buf_add_text(&whole, pattern);
	if (glob(buf_text(&whole), 0, NULL, &files) == 0) {
		for (size_t i = 0; i < files.gl_pathc && i < FILES_MAX; i++)
			found(to, files.gl_pathv[i]);
		globfree(&files);
	}
	buf_fini(&whole);
}

/* ---- the file ---- */

static bool
made_by_us(const char *path)
{
	char head[200] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, head, sizeof(head) - 1);

	if (fd >= 0)
		close(fd);
	struct span first = span_make(head, n > 0 ? (size_t)n : 0);
	first = span_first(first, span_find(first, '\n') == SIZE_MAX ? first.n : span_find(first, '\n'));
	return n == 0 || (span_starts(first, SPAN("-- Made from ")) && span_find_text(first, SPAN("`sluice import-pmta`")) != SIZE_MAX);
}

static bool
write_all(int fd, struct span text)
{
	while (text.n) {
		ssize_t n = write(fd, text.p, text.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		text = span_from(text, (size_t)n);
	}
	return true;
}

/* The whole policy, or what was there before. */
static bool
write_policy(const char *path, struct span text, bool force)
{
	struct buf temp;
	bool ok = false;

	if (!force && access(path, F_OK) == 0 && !made_by_us(path)) {
		cmd_failed("%s is there and was not made by import-pmta: --force writes over it", path);
		return false;
	}
	buf_init(&temp, 0);
	buf_printf(&temp, "%s.%ld.tmp", path, (long)getpid());
	int fd = open(buf_text(&temp), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd >= 0) {
		ok = write_all(fd, text) && fsync(fd) == 0;
		ok = close(fd) == 0 && ok && rename(buf_text(&temp), path) == 0;
	}
	if (!ok) {
		cmd_failed("%s: %s", path, strerror(errno));
		if (fd >= 0)
			unlink(buf_text(&temp));
	}
	buf_fini(&temp);
	return ok;
}

/* ---- the report ---- */

static enum cmd_style
style_of(const char *verdict)
{
	if (!strcmp(verdict, "error"))
		return CMD_RED;
	if (!strcmp(verdict, "known"))
		return CMD_GREEN;
	return CMD_YELLOW;
}

static void
print_lines(const struct import_result *result, const char *path, bool to_stdout)
{
	struct cmd_table table;
	struct buf text, clean;

	buf_init(&text, 0);
	buf_init(&clean, 0);
	cmd_table_init(&table, "lllll");
	for (unsigned i = 0; i < result->lines_n; i++) {
		const struct import_line *line = &result->lines[i];
		const char *const cells[] = { line->directive, line->verdict, line->becomes ? line->becomes : "", line->note ? line->note : "" };
		static const size_t max[] = { 40, 0, BECOMES_MAX, 0 };
		cmd_table_row(&table);
		if (strcmp(line->file, path) != 0)
			cmd_table_cell(&table, 0, CMD_DIM, "%s:%d", line->file, line->line);
		else
			cmd_table_cell(&table, 0, CMD_DIM, "%d", line->line);
		for (unsigned c = 0; c < countof(cells); c++) {
			buf_clear(&clean);
			cmd_add_clean(&clean, cells[c], max[c]);
			cmd_table_cell(&table, c + 1, c == 1 ? style_of(line->verdict) : CMD_PLAIN, "%s", buf_text(&clean));
		}
	}
	cmd_table_write(&table, to_stdout && cmd_has_colour(), &text);
	fputs(buf_text(&text), to_stdout ? stdout : stderr);
	cmd_table_fini(&table);
	buf_fini(&text);
	buf_fini(&clean);
}

static void
print_summary(const struct import_result *result, FILE *to)
{
	static const char *const verdicts[] = { "known", "alias", "deprecated", "not-powermta", "unsupported", "error" };
	const char *separator = ": ";

	fprintf(to, "%u %s", result->lines_n, result->lines_n == 1 ? "line" : "lines");
	for (size_t v = 0; v < countof(verdicts); v++) {
		unsigned n = 0;
		for (unsigned i = 0; i < result->lines_n; i++)
			n += strcmp(result->lines[i].verdict, verdicts[v]) == 0;
		if (n)
			fprintf(to, "%s%u %s", separator, n, verdicts[v]);
		separator = n ? ", " : separator;
	}
	fputc('\n', to);
}

/* As other commands tell of a wrong line. */
static void
print_errors(const struct import_result *result)
{
	struct buf clean;

	buf_init(&clean, 0);
	for (unsigned i = 0; i < result->lines_n; i++) {
		const struct import_line *line = &result->lines[i];
		if (strcmp(line->verdict, "error") != 0)
			continue;
		buf_clear(&clean);
		buf_printf(&clean, "%s:%d: ", line->file, line->line);
		cmd_add_clean(&clean, line->directive, 60);
		buf_add_text(&clean, ": ");
		cmd_add_clean(&clean, line->note ? line->note : "is wrong", 0);
		fprintf(stderr, "%s\n", buf_text(&clean));
	}
	buf_fini(&clean);
}

static void
print_json(const struct import_result *result, bool with_policy)
{
	json_t *lines = json_array();

	for (unsigned i = 0; i < result->lines_n; i++) {
		const struct import_line *line = &result->lines[i];
		json_array_append_new(lines, json_pack("{s:o, s:i, s:o, s:s, s:o, s:o}", "file", control_answer_text(line->file), "line", line->line,
						       "directive", control_answer_text(line->directive), "verdict", line->verdict,
						       "becomes", control_answer_text(line->becomes), "note", control_answer_text(line->note)));
	}
	json_t *value = json_pack("{s:o}", "lines", lines);
	if (with_policy)
		json_object_set_new(value, "policy", control_answer_text(result->policy.p));
	cmd_print_json(value);
	json_decref(value);
}

static int
answer(const struct import_result *result, const char *path, const struct cmd_option *options)
{
	const char *output = options[OUTPUT].value;
	bool json = options[JSON].value != NULL;

	if (output && !write_policy(output, result->policy, options[FORCE].value != NULL))
		return EXIT_FAILED;
	print_errors(result);
	if (json) {
		print_json(result, !output);
		return EXIT_DONE;
	}
	if (!output)
		fwrite(result->policy.p, 1, result->policy.n, stdout);
	fflush(stdout);
	print_lines(result, path, output != NULL);
	print_summary(result, output ? stdout : stderr);
	return EXIT_DONE;
}

/* ---- the arguments ---- */

/* -o and the two words behind --as, as cmd_parse() takes them. The texts live in `arena`. */
static char **
long_form(struct arena *arena, int argc, char **argv, int *argc_out)
{
	char **out = arena_alloc(arena, ((size_t)argc + 1) * sizeof(*out));
	int n = 0;

	for (int i = 0; i < argc; i++) {
		if (!strcmp(argv[i], "-o") && i + 1 < argc)
			out[n++] = arena_printf(arena, "--output=%s", argv[++i]);
		else if (!strcmp(argv[i], "-o"))
			out[n++] = arena_strdup(arena, "--output");
		else if (!strcmp(argv[i], "--as") && i + 2 < argc && !strcmp(argv[i + 1], "domain"))
			out[n++] = arena_printf(arena, "--as=domain %s", argv[i + 2]), i += 2;
		else
			out[n++] = argv[i];
	}
	out[n] = NULL;
	*argc_out = n;
	return out;
}

/* PowerMTA counts a warm-up's days from when it was set up: the last change of the file is what is known of that. */
static void
day_of(const char *path, char day[DAY_SIZE])
{
	struct stat st = { 0 };
	struct tm tm;

	(void)stat(path, &st);
	if (st.st_mtime < 0 || !gmtime_r(&st.st_mtime, &tm) || !strftime(day, DAY_SIZE, "%Y-%m-%d", &tm))
		snprintf(day, DAY_SIZE, "1970-01-01");
}

static int
import(const char *path, const char *as, const struct cmd_option *options)
{
	struct import_files files = { read_file, find_files, NULL };
	struct import_result result;
	char written[DAY_SIZE];
	int status = EXIT_FAILED;

	day_of(path, written);
	import_pmta(path, &(struct import_options){ as, options[SPLIT].value != NULL, written }, &files, &result);
	if (result.refusal)
		cmd_failed("%s: %s", path, result.refusal);
	else
		status = answer(&result, path, options);
	import_fini(&result);
	return status;
}

static int
run(int argc, char **argv)
{
	struct cmd_option options[OPTIONS] = {
		[JSON] = { "json", false, NULL }, [OUTPUT] = { "output", true, NULL }, [AS] = { "as", true, NULL }, [FORCE] = { "force", false, NULL },
		[SPLIT] = { "split", false, NULL },
	};
	struct arena arena;
	int status;

	arena_init(&arena);
	char **words = long_form(&arena, argc, argv, &argc);
	const char *as = NULL;
	bool parsed = cmd_parse(&cmd_import_pmta, options, countof(options), &argc, words, &status);
	if (parsed && options[AS].value)
		as = span_starts(span_text(options[AS].value), SPAN("domain ")) ? options[AS].value + 7 : "";
	if (!parsed)
		;
	else if (as && !import_is_domain(as))
		status = cmd_misused(&cmd_import_pmta, "--as takes two words: --as domain example.com");
	else if (argc != 2)
		status = cmd_misused(&cmd_import_pmta, argc < 2 ? "import-pmta needs a configuration" : "import-pmta takes one configuration");
	else if (options[OUTPUT].value && !*options[OUTPUT].value)
		status = cmd_misused(&cmd_import_pmta, "-o needs the name of a file");
	else
		status = import(words[1], as, options);
	arena_fini(&arena);
	return status;
}

const struct cmd cmd_import_pmta = {
	.name = "import-pmta",
	.arguments = "FILE [-o POLICY] [--as domain NAME] [--split] [--force] [--json]",
	.summary = "make a policy of a PowerMTA configuration, and say what became of each line",
	.help =
	"Reads the configuration and what it includes, and writes a policy that loads.\n"
	"Each line is known, an alias, deprecated, not-powermta, unsupported or an error;\n"
	"what has no counterpart stands in the policy as a comment. Without -o the policy\n"
	"goes to standard output and the report to standard error. Exit status 0 if a\n"
	"policy was written, whatever its lines.\n"
	"\n"
	"  -o POLICY          write the policy there; what import-pmta did not make is\n"
	"                     only overwritten with --force\n"
	"  --as domain NAME   whom lines outside of any block are for; else all domains\n"
	"  --split            read also what a \"#\" hides where newlines were lost\n"
	"  --json             {\"lines\": [{\"file\", \"line\", \"directive\", \"verdict\", \"becomes\",\n"
	"                     \"note\"}]}, and \"policy\" without -o\n"
	"\n"
	"example:\n"
	"  $ sluice import-pmta /etc/pmta/config -o policy.lua && sluice check policy.lua\n",
	.run = run,
};
