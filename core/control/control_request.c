/*
 * A request is an object of "command" (text), "arguments" (texts) and "options"
 * (names to text or true); anything else in it is an error, so that a client
 * that misspells a key learns it instead of acting on more than it meant.
 *
 * jansson does the grammar. It refuses invalid UTF-8 and \u0000, so what comes
 * out is C text; what it does not bound (counts) is bounded here.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control_request.h"

static bool
take_arguments(json_t *list, struct control_request *out, struct err *err)
{
	if (!json_is_array(list))
		return err_set(err, ERR_PERM, "\"arguments\" must be a list of texts");
	if (json_array_size(list) > CONTROL_ARGUMENTS_MAX)
		return err_set(err, ERR_PERM, "too many arguments (%d at most)", CONTROL_ARGUMENTS_MAX);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));
		if (!text)
			return err_set(err, ERR_PERM, "\"arguments\" must be a list of texts");
		out->arguments[out->arguments_n++] = text;
	}
	return true;
}

static bool
take_options(json_t *options, struct control_request *out, struct err *err)
{
	const char *name;
	json_t *value;

	if (!json_is_object(options))
		return err_set(err, ERR_PERM, "\"options\" must be an object");
	if (json_object_size(options) > CONTROL_OPTIONS_MAX)
		return err_set(err, ERR_PERM, "too many options (%d at most)", CONTROL_OPTIONS_MAX);
	json_object_foreach(options, name, value) {
		if (!json_is_string(value) && !json_is_boolean(value))
			return err_set(err, ERR_PERM, "option %.40s must be text or true", name);
	}
	out->options = options;
	return true;
}

static bool
take_members(struct control_request *out, struct err *err)
{
	const char *key;
	json_t *value;

	json_object_foreach(out->json, key, value) {
		bool fine = true;
		if (!strcmp(key, "command"))
			out->command = json_string_value(value);
		else if (!strcmp(key, "arguments"))
			fine = take_arguments(value, out, err);
		else if (!strcmp(key, "options"))
			fine = take_options(value, out, err);
		else
			fine = err_set(err, ERR_PERM, "a request has command, arguments and options, not \"%.40s\"", key);
		if (!fine)
			return false;
	}
	if (!out->command || !*out->command)
		return err_set(err, ERR_PERM, "a request must name its command: {\"command\":\"status\"}");
	return true;
}

bool
control_request_parse(struct span line, struct control_request *out, struct err *err)
{
	json_error_t trouble;

	*out = (struct control_request){ 0 };
	if (line.n > CONTROL_REQUEST_MAX)
		return err_set(err, ERR_PERM, "a request may have %d bytes", CONTROL_REQUEST_MAX);
	out->json = json_loadb(line.n ? line.p : "", line.n, JSON_REJECT_DUPLICATES, &trouble);
	if (!json_is_object(out->json)) {
		err_set(err, ERR_PERM, "a request is one line of JSON: {\"command\":\"status\"}");
		goto fail;
	}
	if (take_members(out, err))
		return true;
fail:
	control_request_fini(out);
	return false;
}

void
control_request_fini(struct control_request *request)
{
	json_decref(request->json);
	*request = (struct control_request){ 0 };
}

const char *
control_request_option(const struct control_request *request, const char *name)
{
	json_t *value = json_object_get(request->options, name);
	if (json_is_string(value))
		return json_string_value(value);
	return json_is_true(value) ? "" : NULL;
}
