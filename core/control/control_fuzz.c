/*
 * Any bytes as one request: parsed or refused with a sentence, and every text
 * in it can be said back.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control_answers.h"
#include "control/control_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct control_request request;
	struct err err = { 0 };
	struct buf out;
	char *text = mem_strndup((const char *)data, size);

	buf_init(&out, 0);
	if (control_request_parse(span_make(data, size), &request, &err)) {
		check(request.command[0] != '\0');
		for (unsigned i = 0; i < request.arguments_n; i++)
			control_answer_error(request.arguments[i], &out);
		control_request_option(&request, "job");
		control_request_fini(&request);
	} else {
		check(err.text[0] != '\0');
		control_answer_error(err.text, &out);
	}
	control_answer_error(text, &out);       /* what a receiver said, of any bytes */
	check(memchr(out.p + out.start, '\n', buf_len(&out)) != NULL);
	buf_fini(&out);
	free(text);
	return 0;
}
