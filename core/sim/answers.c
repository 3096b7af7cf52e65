/*
 * One list a stage, newest first, so that a stage without rules costs one look.
 * Rules stand for themselves, not in an array: a function may add one while
 * the list is walked, and it lands in front of the place where the walk is.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/answers.h"

#include <stdlib.h>

struct rule {
	struct list        link;
	struct answer_rule is;
	uint32_t           matched, answered;
};

static const char *const stage_names[ANSWER_STAGES_N] = { "connect", "EHLO", "MAIL", "RCPT", "DATA", "." };

void
answers_init(struct answers *answers)
{
	for (unsigned i = 0; i < ANSWER_STAGES_N; i++)
		list_init(&answers->of_stage[i]);
	answers->n = 0;
}

static void
drop(struct answers *answers, struct rule *rule)
{
	list_remove(&rule->link);
	answers->n--;
	if (rule->is.release)
		rule->is.release(rule->is.ctx);
	free(rule);
}

void
answers_fini(struct answers *answers)
{
	for (unsigned i = 0; i < ANSWER_STAGES_N; i++)
		while (answers_has(answers, i))
			drop(answers, list_first(&answers->of_stage[i], struct rule, link));
}

bool
answers_add(struct answers *answers, const struct answer_rule *is, struct err *err)
{
	struct rule *rule;

	if (answers->n == ANSWERS_RULES_MAX) {
		if (is->release)
			is->release(is->ctx);
		return err_set(err, ERR_PERM, "more than %d rules", ANSWERS_RULES_MAX);
	}
	rule = mem_alloc(sizeof(*rule));
	rule->is = *is;
	list_init(&rule->link);
	list_add_head(&answers->of_stage[is->stage], &rule->link);
	answers->n++;
	return true;
}

static enum answer_verdict
ask(struct rule *rule, const struct answer_event *event, struct answer *out, struct err *err)
{
	const struct answer_rule *is = &rule->is;
	enum answer_verdict verdict = is->when ? is->when(is->ctx, event, err) : ANSWER_GIVEN;

	if (verdict != ANSWER_GIVEN)
		return verdict;
	if (++rule->matched % (is->every ? is->every : 1) != 0)
		return ANSWER_PASSED_ON;
	if (is->fn)
		return is->fn(is->ctx, event, out, err);
	*out = is->fixed;
	return ANSWER_GIVEN;
}

bool
answers_ask(struct answers *answers, const struct answer_event *event, struct answer *out, struct err *err)
{
	list_each(pos, &answers->of_stage[event->stage]) {
		struct rule *rule = list_entry(pos, struct rule, link);

		switch (ask(rule, event, out, err)) {
		case ANSWER_PASSED_ON:
			continue;
		case ANSWER_GIVEN:
			if (++rule->answered == rule->is.times)
				drop(answers, rule);
			return true;
		case ANSWER_FAILED:
			out->act = ANSWER_REPLY;
			smtp_reply_make(&out->reply, 451, "4.3.0", "the script erred");
			return true;
		}
	}
	return false;
}

const char *
answer_stage_name(enum answer_stage stage)
{
	return stage_names[stage];
}

bool
answer_stage_parse(struct span name, enum answer_stage *out)
{
	for (unsigned i = 0; i < ANSWER_STAGES_N; i++) {
		if (!span_eq(name, span_text(stage_names[i])))
			continue;
		*out = (enum answer_stage)i;
		return true;
	}
	return false;
}

bool
answer_parse(struct span text, struct answer *out)
{
	static const char *const acts[] = { [ANSWER_RESET] = "reset", [ANSWER_HANG] = "hang", [ANSWER_CLOSE] = "close" };

	for (unsigned i = ANSWER_RESET; i < countof(acts); i++) {
		if (!span_eq(text, span_text(acts[i])))
			continue;
		out->act = (enum answer_act)i;
		return true;
	}
	out->act = ANSWER_REPLY;
	return smtp_reply_from_text(&out->reply, text);
}
