/*
 * A heap of four ways; each node knows its place, so that removing and moving
 * need no search. Keys stand in the array too: of the nodes on its way a sift
 * touches only those it moves, and there are half as many as in a binary heap.
 * The sequence number compares by distance and may wrap.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "util/heap.h"

#include <stdlib.h>

#define CAP_MIN 16u
#define WAYS    4u

void
heap_init(struct heap *heap)
{
	*heap = (struct heap){ 0 };
}

void
heap_fini(struct heap *heap)
{
	for (uint32_t i = 0; i < heap->n; i++)
		heap->slots[i].node->pos = 0;
	free(heap->slots);
	*heap = (struct heap){ 0 };
}

static bool
before(const struct heap_slot *a, const struct heap_slot *b)
{
	if (a->key != b->key)
		return a->key < b->key;
	return (int32_t)(a->node->seq - b->node->seq) < 0;
}

static void
put(struct heap *heap, uint32_t i, struct heap_slot slot)
{
	heap->slots[i] = slot;
	slot.node->pos = i + 1;
}

static void
sift_up(struct heap *heap, uint32_t i, struct heap_slot slot)
{
	while (i) {
		uint32_t parent = (i - 1) / WAYS;
		if (!before(&slot, &heap->slots[parent]))
			break;
		put(heap, i, heap->slots[parent]);
		i = parent;
	}
	put(heap, i, slot);
}

static uint32_t
least_child(const struct heap *heap, uint32_t first)
{
	uint32_t end = heap->n - first < WAYS ? heap->n : first + WAYS, least = first;
	for (uint32_t i = first + 1; i < end; i++)
		if (before(&heap->slots[i], &heap->slots[least]))
			least = i;
	return least;
}

static void
sift_down(struct heap *heap, uint32_t i, struct heap_slot slot)
{
	while (heap->n > 1 && i <= (heap->n - 2) / WAYS) {
		uint32_t child = least_child(heap, WAYS * i + 1);
		if (!before(&heap->slots[child], &slot))
			break;
		put(heap, i, heap->slots[child]);
		i = child;
	}
	put(heap, i, slot);
}

static void
settle(struct heap *heap, uint32_t i, struct heap_slot slot)
{
	if (i && before(&slot, &heap->slots[(i - 1) / WAYS]))
		sift_up(heap, i, slot);
	else
		sift_down(heap, i, slot);
}

static struct heap_slot
slot_of(struct heap_node *node)
{
	return (struct heap_slot){ .key = node->key, .node = node };
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
	sift_up(heap, heap->n++, slot_of(node));
}

void
heap_remove(struct heap *heap, struct heap_node *node)
{
	uint32_t i = node->pos - 1;
	check(i < heap->n);
	check(heap->slots[i].node == node);
	node->pos = 0;
	struct heap_slot last = heap->slots[--heap->n];
	if (last.node != node)
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
	check(heap->slots[i].node == node);
	node->key = key;
	node->seq = heap->next_seq++;
	settle(heap, i, slot_of(node));
}
