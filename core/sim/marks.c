/*
 * marks - the ring. It doubles when it is full, so an index is masked and not divided,
 * and an end that is used again goes on with the room that the one before it needed.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/marks.h"

#include <stdlib.h>

#define CAP_MIN 4u

static void
make_room(struct marks *marks)
{
	uint32_t cap = marks->cap ? marks->cap * 2 : CAP_MIN;
	struct mark *ring;

	if (marks->n < marks->cap)
		return;
	ring = mem_grow(NULL, cap * sizeof(*ring));
	for (uint32_t i = 0; i < marks->n; i++)
		ring[i] = *marks_at(marks, i);
	free(marks->ring);
	*marks = (struct marks){ .ring = ring, .n = marks->n, .cap = cap };
}

void
marks_push(struct marks *marks, struct mark mark)
{
	make_room(marks);
	marks->n++;
	*marks_at(marks, marks->n - 1) = mark;
}

void
marks_pop(struct marks *marks)
{
	marks->first = (marks->first + 1) & (marks->cap - 1);
	marks->n--;
}

void
marks_unpop(struct marks *marks, struct mark mark)
{
	make_room(marks);
	marks->first = (marks->first + marks->cap - 1) & (marks->cap - 1);
	marks->n++;
	*marks_at(marks, 0) = mark;
}
