/*
 * A tokenizer of Lua 5.1 with LuaJIT's additions, and a stack of what is open.
 *
 * Tokens: names, keywords that open or close a block, numbers, strings (short,
 * long), single characters. Of the grammar only this is known:
 *
 *   `{`         is an argument without parentheses when a name, a string, `)`,
 *               `]` or `}` stands before it: f{…} must become f(HIDDEN(n,{…})).
 *               The `(` goes right behind the token before, for LuaJIT refuses
 *               one that begins a line ("ambiguous syntax").
 *   field       [ key `=` ] value, ended by `,` `;` or `}` of the same table.
 *   function, do, if … end, repeat … until   hide their commas from the table
 *               around them.
 *
 * Depth is bounded: LuaJIT takes 200 levels, what is deeper is not wrapped.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/source.h"

#include "policy/grow.h"

#define DEPTH_MAX  400
#define TABLES_MAX 4000000u

enum token_kind {
	TOKEN_END, TOKEN_NAME, TOKEN_NUMBER, TOKEN_STRING, TOKEN_CHAR,
	TOKEN_EQ,               /* `==`, so that it is not taken for `=` */
	TOKEN_OPEN,             /* function do if repeat */
	TOKEN_CLOSE,            /* end until */
	TOKEN_LITERAL,          /* true false nil */
	TOKEN_KEYWORD,
};

struct token {
	enum token_kind kind;
	char            c;              /* of a TOKEN_CHAR */
	size_t          at, end;
	uint32_t        line;
};

struct lexer {
	struct span text;
	size_t      at;
	uint32_t    line;
};

static bool
is_name_char(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c >= 0x80;
}

static bool
is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

static char
peek_char(const struct lexer *lexer, size_t ahead)
{
	return lexer->at + ahead < lexer->text.n ? lexer->text.p[lexer->at + ahead] : '\0';
}

/* \r\n and \n\r are one line, as LuaJIT counts. */
static void
skip_char(struct lexer *lexer)
{
	char c = lexer->text.p[lexer->at++];
	if (c != '\n' && c != '\r')
		return;
	char next = peek_char(lexer, 0);
	if ((next == '\n' || next == '\r') && next != c)
		lexer->at++;
	lexer->line++;
}

/* At `[`: how many `=` a long bracket has; SIZE_MAX: it is none. */
static size_t
long_bracket(const struct lexer *lexer)
{
	size_t level = 0;
	while (peek_char(lexer, 1 + level) == '=')
		level++;
	return peek_char(lexer, 1 + level) == '[' ? level : SIZE_MAX;
}

static void
skip_long(struct lexer *lexer, size_t level)
{
	lexer->at += 2 + level;
	while (lexer->at < lexer->text.n) {
		size_t n = 0;
		if (peek_char(lexer, 0) == ']') {
			while (peek_char(lexer, 1 + n) == '=')
				n++;
			if (n == level && peek_char(lexer, 1 + n) == ']') {
				lexer->at += 2 + level;
				return;
			}
		}
		skip_char(lexer);
	}
}

static void
skip_line(struct lexer *lexer)
{
	while (lexer->at < lexer->text.n && peek_char(lexer, 0) != '\n' && peek_char(lexer, 0) != '\r')
		lexer->at++;
}

static void
skip_blank(struct lexer *lexer)
{
	while (lexer->at < lexer->text.n) {
		char c = peek_char(lexer, 0);
		if (c == '-' && peek_char(lexer, 1) == '-') {
			lexer->at += 2;
			size_t level = peek_char(lexer, 0) == '[' ? long_bracket(lexer) : SIZE_MAX;
			if (level != SIZE_MAX)
				skip_long(lexer, level);
			else
				skip_line(lexer);
		} else if (c == ' ' || (c >= '\t' && c <= '\r')) {
			skip_char(lexer);
		} else {
			return;
		}
	}
}

static void
skip_string(struct lexer *lexer, char quote)
{
	lexer->at++;
	while (lexer->at < lexer->text.n) {
		char c = peek_char(lexer, 0);
		if (c == '\\' && lexer->at + 1 < lexer->text.n)
			lexer->at++;
		skip_char(lexer);
		if (c == quote)
			return;
	}
}

static void
skip_number(struct lexer *lexer)
{
	char last = '\0';
	for (;;) {
		char c = peek_char(lexer, 0);
		bool sign = (c == '+' || c == '-') && (last == 'e' || last == 'E' || last == 'p' || last == 'P');
		if (!is_name_char((unsigned char)c) && c != '.' && !sign)
			return;
		/* 1..2 is two dots between numbers, for LuaJIT a malformed number: either way it ends here. */
		if (c == '.' && peek_char(lexer, 1) == '.')
			return;
		last = c;
		lexer->at++;
	}
}

static enum token_kind
word_kind(struct span word)
{
	static const struct { const char *word; enum token_kind kind; } words[] = {
		{ "function", TOKEN_OPEN }, { "do", TOKEN_OPEN }, { "if", TOKEN_OPEN }, { "repeat", TOKEN_OPEN },
		{ "end", TOKEN_CLOSE }, { "until", TOKEN_CLOSE },
		{ "true", TOKEN_LITERAL }, { "false", TOKEN_LITERAL }, { "nil", TOKEN_LITERAL },
		{ "and", TOKEN_KEYWORD }, { "break", TOKEN_KEYWORD }, { "else", TOKEN_KEYWORD }, { "elseif", TOKEN_KEYWORD },
		{ "for", TOKEN_KEYWORD }, { "in", TOKEN_KEYWORD }, { "local", TOKEN_KEYWORD }, { "not", TOKEN_KEYWORD },
		{ "or", TOKEN_KEYWORD }, { "return", TOKEN_KEYWORD }, { "then", TOKEN_KEYWORD }, { "while", TOKEN_KEYWORD },
	};
	for (size_t i = 0; i < countof(words); i++)
		if (span_eq(word, span_text(words[i].word)))
			return words[i].kind;
	return TOKEN_NAME;
}

static struct token
next_token(struct lexer *lexer)
{
	skip_blank(lexer);
	struct token token = { .kind = TOKEN_END, .at = lexer->at, .end = lexer->at, .line = lexer->line };
	if (lexer->at >= lexer->text.n)
		return token;
	char c = peek_char(lexer, 0);
	if (is_digit((unsigned char)c) || (c == '.' && is_digit((unsigned char)peek_char(lexer, 1)))) {
		token.kind = TOKEN_NUMBER;
		skip_number(lexer);
	} else if (is_name_char((unsigned char)c)) {
		while (is_name_char((unsigned char)peek_char(lexer, 0)) && lexer->at < lexer->text.n)
			lexer->at++;
		token.kind = word_kind(span_make(lexer->text.p + token.at, lexer->at - token.at));
	} else if (c == '"' || c == '\'') {
		token.kind = TOKEN_STRING;
		skip_string(lexer, c);
	} else if (c == '[' && long_bracket(lexer) != SIZE_MAX) {
		token.kind = TOKEN_STRING;
		skip_long(lexer, long_bracket(lexer));
	} else if ((c == '=' || c == '~' || c == '<' || c == '>') && peek_char(lexer, 1) == '=') {
		token.kind = TOKEN_EQ;
		lexer->at += 2;
	} else {
		token.kind = TOKEN_CHAR;
		token.c = c;
		lexer->at++;
	}
	if (lexer->at > lexer->text.n)
		lexer->at = lexer->text.n;
	token.end = lexer->at;
	return token;
}

static bool
is_char(const struct token *token, char c)
{
	return token->kind == TOKEN_CHAR && token->c == c;
}

struct frame {
	char     opener;                /* `{` `(` `[`, or `f` for a block */
	bool     call;                  /* `{`: a `)` more closes the call that it was the argument of */
	bool     bare;                  /* a block in which nothing is wrapped */
	bool     argument;
	bool     wrapped;
	bool     in_field;              /* `{`: the field that is being read has begun */
	bool     after_semicolon;
	uint32_t table;
	uint32_t positions;
};

struct rewriter {
	struct lexer lexer;
	struct source_map *map;
	struct buf *out;
	const char *hidden;
	uint32_t first_id;
	size_t   copied;                /* of the text, so far */
	unsigned bare;                  /* bare blocks open */
	unsigned depth;
	struct frame frames[DEPTH_MAX];
	struct token back[4];           /* back[0]: the token before */
	bool     ok;
};

static struct span
token_span(const struct rewriter *rw, const struct token *token)
{
	return span_make(rw->lexer.text.p + token->at, token->end - token->at);
}

static bool
is_word(const struct rewriter *rw, const struct token *token, const char *word)
{
	return token->kind == TOKEN_NAME && span_eq(token_span(rw, token), span_text(word));
}

static void
copy_to(struct rewriter *rw, size_t end)
{
	rw->ok = rw->ok && buf_add(rw->out, span_make(rw->lexer.text.p + rw->copied, end - rw->copied));
	rw->copied = end;
}

static struct frame *
top(struct rewriter *rw)
{
	return rw->depth ? &rw->frames[rw->depth - 1] : NULL;
}

static struct frame *
push(struct rewriter *rw, char opener)
{
	if (rw->depth == DEPTH_MAX) {
		rw->ok = false;
		rw->depth--;
	}
	struct frame *frame = &rw->frames[rw->depth++];
	*frame = (struct frame){ .opener = opener };
	return frame;
}

/* Tokens before `{` that make it an argument without parentheses. */
static bool
ends_callee(const struct token *token)
{
	return token->kind == TOKEN_NAME || token->kind == TOKEN_STRING || is_char(token, ')') || is_char(token, ']') ||
	       is_char(token, '}');
}

static void
open_table(struct rewriter *rw, const struct token *token)
{
	const struct frame *outer = top(rw);
	bool call = ends_callee(&rw->back[0]);
	bool argument = call || (is_char(&rw->back[0], '(') && ends_callee(&rw->back[1])) ||
			(outer && outer->opener == '{' && outer->argument);
	struct frame *frame = push(rw, '{');
	if (rw->bare || !rw->ok || rw->map->tables_n == TABLES_MAX) {
		rw->ok = rw->ok && rw->map->tables_n < TABLES_MAX;
		return;
	}
	frame->call = call;
	frame->argument = argument;
	frame->wrapped = true;
	frame->table = rw->map->tables_n;
	struct source_table *table = GROW(&rw->map->arena, rw->map->tables, rw->map->tables_n);
	*table = (struct source_table){ .line = token->line, .argument = argument };
	if (call) {
		copy_to(rw, rw->back[0].end);
		rw->ok = rw->ok && buf_add_char(rw->out, '(');
	}
	copy_to(rw, token->at);
	rw->ok = rw->ok && buf_printf(rw->out, "%s(%u,", rw->hidden, rw->first_id + frame->table);
	copy_to(rw, token->end);
}

static void
close_table(struct rewriter *rw, const struct token *token)
{
	struct frame *frame = top(rw);
	if (!frame || frame->opener != '{')
		return;
	if (frame->wrapped) {
		copy_to(rw, token->end);
		rw->ok = rw->ok && buf_add_text(rw->out, frame->call ? "))" : ")");
	}
	rw->depth--;
}

static bool
is_literal(const struct token *token)
{
	return token->kind == TOKEN_NUMBER || token->kind == TOKEN_STRING || token->kind == TOKEN_LITERAL ||
	       token->kind == TOKEN_OPEN || is_char(token, '{') || is_char(token, '-');
}

/* `["max_smtp_out"] =` and `[3] =`: the key; an escape or an expression gives a field without a name. */
static bool
bracket_key(struct rewriter *rw, struct source_field *field, struct lexer *lexer)
{
	struct token key = next_token(lexer);
	struct token close = next_token(lexer);
	struct token equals = next_token(lexer);
	if (!is_char(&close, ']') || !is_char(&equals, '='))
		return false;
	struct span text = token_span(rw, &key);
	if (key.kind == TOKEN_STRING && text.n >= 2 && text.p[0] != '[' && span_find(text, '\\') == SIZE_MAX) {
		field->name = span_make(text.p + 1, text.n - 2);
		return true;
	}
	uint64_t position;
	if (key.kind != TOKEN_NUMBER || !span_u64(text, UINT32_MAX, &position))
		return false;
	field->position = (uint32_t)position;
	return true;
}

/* The first token of a field: looks ahead for its key, without moving on. */
static void
begin_field(struct rewriter *rw, struct frame *frame, const struct token *token)
{
	frame->in_field = true;
	struct source_table *table = &rw->map->tables[frame->table];
	struct source_field field = { .line = token->line, .after_semicolon = frame->after_semicolon };
	struct lexer ahead = rw->lexer;
	bool known = true;
	struct token value = *token;
	if (is_char(token, '[')) {
		known = bracket_key(rw, &field, &ahead);
		value = next_token(&ahead);
	} else {
		struct token equals = next_token(&ahead);
		if (token->kind == TOKEN_NAME && is_char(&equals, '=')) {
			field.name = token_span(rw, token);
			value = next_token(&ahead);
		} else {
			field.position = ++frame->positions;
		}
	}
	field.literal = frame->argument || is_literal(&value);
	if (known)
		*GROW(&rw->map->arena, table->fields, table->fields_n) = field;
}

/* `on.message(function`, at the `function`: it runs later and declares nothing. */
static bool
is_hook(const struct rewriter *rw)
{
	return is_char(&rw->back[0], '(') && rw->back[1].kind == TOKEN_NAME && is_char(&rw->back[2], '.') &&
	       is_word(rw, &rw->back[3], "on");
}

static void
close_frame(struct rewriter *rw, char opener)
{
	struct frame *frame = top(rw);
	if (!frame || frame->opener != opener)
		return;
	rw->bare -= frame->bare;
	rw->depth--;
}

static void
take_char(struct rewriter *rw, const struct token *token)
{
	struct frame *frame = top(rw);
	switch (token->c) {
	case '{': open_table(rw, token); break;
	case '}': close_table(rw, token); break;
	case '(': case '[': push(rw, token->c); break;
	case ')': close_frame(rw, '('); break;
	case ']': close_frame(rw, '['); break;
	case ',': case ';':
		if (frame && frame->opener == '{') {
			frame->in_field = false;
			frame->after_semicolon = token->c == ';';
		}
		break;
	default: break;
	}
}

static void
take_token(struct rewriter *rw, const struct token *token)
{
	struct frame *frame = top(rw);
	if (frame && frame->wrapped && !frame->in_field && !is_char(token, '}'))
		begin_field(rw, frame, token);
	if (token->kind == TOKEN_CHAR) {
		take_char(rw, token);
	} else if (token->kind == TOKEN_OPEN) {
		bool bare = is_hook(rw);
		push(rw, 'f')->bare = bare;
		rw->bare += bare;
	} else if (token->kind == TOKEN_CLOSE) {
		close_frame(rw, 'f');
	} else if (is_word(rw, token, "sign") && is_char(&rw->back[0], ':') && is_word(rw, &rw->back[1], "msg") &&
		   rw->map->sign_line == 0) {
		rw->map->sign_line = token->line;
	}
}

void
source_map_init(struct source_map *map)
{
	*map = (struct source_map){ 0 };
	arena_init(&map->arena);
}

void
source_map_fini(struct source_map *map)
{
	arena_fini(&map->arena);
	*map = (struct source_map){ 0 };
}

bool
source_rewrite(struct span text, uint32_t first_id, const char *hidden, struct source_map *map, struct buf *out)
{
	struct rewriter *rw = mem_alloc(sizeof(*rw));
	*rw = (struct rewriter){ .lexer = { .text = text, .line = 1 }, .map = map, .out = out, .hidden = hidden,
				 .first_id = first_id, .ok = true };
	if (span_starts(text, SPAN("\xef\xbb\xbf")))
		rw->lexer.at = 3;
	if (peek_char(&rw->lexer, 0) == '#')
		skip_line(&rw->lexer);
	for (;;) {
		struct token token = next_token(&rw->lexer);
		if (token.kind == TOKEN_END || !rw->ok)
			break;
		take_token(rw, &token);
		memmove(&rw->back[1], &rw->back[0], sizeof(rw->back) - sizeof(rw->back[0]));
		rw->back[0] = token;
	}
	copy_to(rw, text.n);
	bool ok = rw->ok;
	free(rw);
	return ok;
}

const struct source_field *
source_field_named(const struct source_table *table, struct span name)
{
	for (uint32_t i = table->fields_n; i-- > 0;)
		if (table->fields[i].name.p && span_eq(table->fields[i].name, name))
			return &table->fields[i];
	return NULL;
}

const struct source_field *
source_field_at(const struct source_table *table, uint32_t position)
{
	for (uint32_t i = table->fields_n; i-- > 0;)
		if (!table->fields[i].name.p && table->fields[i].position == position)
			return &table->fields[i];
	return NULL;
}
