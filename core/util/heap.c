/*
 * A binary heap of pointers; each node knows its place, so that removing and
 * moving need no search. The sequence number compares by distance and may wrap.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "util/heap.h"

#include <stdlib.h>

#define CAP_MIN 16u

void
heap_init(struct heap *heap)
{
	*heap = (struct heap){ 0 };
}

void
heap_fini(struct heap *heap)
{
	for (uint32_t i = 0; i < heap->n; i++)
		heap->slots[i]->pos = 0;
	free(heap->slots);
	*heap = (struct heap){ 0 };
}

static bool
before(const struct heap_node *a, const struct heap_node *b)
{
	if (a->key != b->key)
		return a->key < b->key;
	return (int32_t)(a->seq - b->seq) < 0;
}

static void
put(struct heap *heap, uint32_t i, struct heap_node *node)
{
	heap->slots[i] = node;
	node->pos = i + 1;
}

static void
sift_up(struct heap *heap, uint32_t i, struct heap_node *node)
{
	while (i) {
		uint32_t parent = (i - 1) / 2;
		if (!before(node, heap->slots[parent]))
			break;
		put(heap, i, heap->slots[parent]);
		i = parent;
	}
	put(heap, i, node);
}

static void
sift_down(struct heap *heap, uint32_t i, struct heap_node *node)
{
	while (i < heap->n / 2) {
		uint32_t child = 2 * i + 1;
		if (child + 1 < heap->n && before(heap->slots[child + 1], heap->slots[child]))
			child++;
		if (!before(heap->slots[child], node))
			break;
		put(heap, i, heap->slots[child]);
		i = child;
	}
	put(heap, i, node);
}

static void
settle(struct heap *heap, uint32_t i, struct heap_node *node)
{
	if (i && before(node, heap->slots[(i - 1) / 2]))
		sift_up(heap, i, node);
	else
		sift_down(heap, i, node);
}

static void
resize(struct heap *heap, uint32_t cap)
{
	heap->slots = mem_grow(heap->slots, cap * sizeof(*heap->slots));
	heap->cap = cap;
}

void
heap_add(struct heap *heap, struct heap_node *node, int64_t key)
{
	check(node->pos == 0);
	if (heap->n == heap->cap) {
		check(heap->cap <= UINT32_MAX / 4);
		resize(heap, heap->cap ? heap->cap * 2 : CAP_MIN);
	}
	node->key = key;
	node->seq = heap->next_seq++;
	sift_up(heap, heap->n++, node);
}

void
heap_remove(struct heap *heap, struct heap_node *node)
{
	uint32_t i = node->pos - 1;
	check(i < heap->n);
	check(heap->slots[i] == node);
	node->pos = 0;
	struct heap_node *last = heap->slots[--heap->n];
	if (last != node)
		settle(heap, i, last);
	/* A quarter, not a half: adding and removing at the edge must not thrash. */
	if (heap->cap > CAP_MIN && heap->n < heap->cap / 4)
		resize(heap, heap->cap / 2);
}

void
heap_move(struct heap *heap, struct heap_node *node, int64_t key)
{
	uint32_t i = node->pos - 1;
	check(i < heap->n);
	check(heap->slots[i] == node);
	node->key = key;
	node->seq = heap->next_seq++;
	settle(heap, i, node);
}
