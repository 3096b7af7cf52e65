/*
 * control_swap - a refusal is a result of its own kind, not an error of the
 * protocol: it may be many lines, each a place in a policy.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control_swap.h"

#include <math.h>

#include "control/control_answers.h"

bool
control_swap_parse(const struct control_request *request, struct control_swap *out, struct err *err)
{
	const char *name;
	json_t *value;

	*out = (struct control_swap){
		.policy = request->arguments_n > 0 ? request->arguments[0] : NULL,
		.base = control_request_option(request, "base"),
		.back = control_request_option(request, "back") != NULL,
		.dry_run = control_request_option(request, "dry-run") != NULL,
	};
	json_object_foreach(request->options, name, value)
		if (strcmp(name, "base") && strcmp(name, "back") && strcmp(name, "dry-run"))
			return err_set(err, ERR_PERM, "swap: no such option: %.40s", name);
	if (request->arguments_n > 1)
		return err_set(err, ERR_PERM, "swap takes one policy");
	if (out->policy != NULL && out->back)
		return err_set(err, ERR_PERM, "swap: back names no policy: it goes to the one before");
	if (out->policy != NULL && out->policy[0] == '\0')
		return err_set(err, ERR_PERM, "swap: the policy has no name");
	return true;
}

/* ---- answers ---- */

static json_t *
seconds(double s)
{
	return s == floor(s) && fabs(s) < 1e15 ? json_integer((json_int_t)s) : json_real(round(s * 1000) / 1000);
}

static json_t *
value_of(const struct difference_value *value)
{
	json_t *list;

	switch (value->kind) {
	case DIFFERENCE_NONE:    return json_null();
	case DIFFERENCE_TEXT:    return control_answer_text(value->text);
	case DIFFERENCE_BOOL:    return json_boolean(value->number != 0);
	case DIFFERENCE_NUMBER:
	case DIFFERENCE_SECONDS: return seconds(value->number);
	case DIFFERENCE_LIST:
		list = json_array();
		for (unsigned i = 0; i < value->list_n; i++)
			json_array_append_new(list, seconds(value->list[i]));
		return list;
	}
	return json_null();
}

static json_t *
changed(const struct difference *d)
{
	json_t *row = json_object();

	json_object_set_new(row, d->of_queue ? "queue" : "scope", control_answer_text(d->place));
	json_object_set_new(row, "setting", control_answer_text(d->setting));
	json_object_set_new(row, "from", value_of(&d->from));
	json_object_set_new(row, "to", value_of(&d->to));
	/* In a policy's words, for people. */
	json_object_set_new(row, "words", json_pack("[o, o]", control_answer_text(d->from.text), control_answer_text(d->to.text)));
	return row;
}

void
control_answer_changed(const struct differences *differences, struct buf *out)
{
	buf_add_char(out, '[');
	for (unsigned i = 0; i < differences->n; i++) {
		if (i > 0)
			buf_add_char(out, ',');
		control_answer_write(changed(&differences->all[i]), out);
	}
	buf_add_char(out, ']');
}

void
control_answer_swapped(uint32_t generation, struct span rows, unsigned left_out, int64_t took_us, struct buf *out)
{
	buf_printf(out, "{\"generation\":%u,\"changed\":", generation);
	buf_add(out, rows);
	buf_printf(out, ",\"left_out\":%u,\"seconds\":%.3f}", left_out, (double)took_us / (double)US_PER_S);
}

void
control_answer_refused(const struct policy_report *report, struct buf *out)
{
	json_t *lines = json_array();

	for (unsigned i = 0; i < report->errors_n; i++) {
		const struct policy_note *note = &report->errors[i];
		struct buf line;

		buf_init(&line, 0);
		buf_printf(&line, "%s:", note->file);
		if (note->line > 0)
			buf_printf(&line, "%d:", note->line);
		buf_printf(&line, " %s", note->text);
		json_array_append_new(lines, control_answer_text(buf_text(&line)));
		buf_fini(&line);
	}
	control_answer_write(json_pack("{s:o}", "refused", lines), out);
}

void
control_answer_refused_for(const char *why, struct buf *out)
{
	control_answer_write(json_pack("{s:[o]}", "refused", control_answer_text(why)), out);
}
