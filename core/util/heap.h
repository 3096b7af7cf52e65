/*
 * heap - intrusive heap, least key first; equal keys in order of
 * insertion, so that a simulated run replays.
 *
 * Ownership  The array is the heap's, the nodes are the caller's. A node that
 *            is in no heap has pos == 0; zeroed memory is a node in no heap.
 *            The array shrinks when the heap does.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/base.h"

struct heap_node {
	int64_t  key;
	uint32_t seq;           /* breaks ties; set by heap_add and heap_move */
	uint32_t pos;           /* 1-based; 0 = in no heap */
};

struct heap_slot {
	int64_t           key;          /* the node's, so that comparing seldom touches one */
	struct heap_node *node;
};

struct heap {
	struct heap_slot *slots;
	uint32_t           n, cap;
	uint32_t           next_seq;
};

void heap_init(struct heap *heap);
void heap_fini(struct heap *heap);
void heap_add(struct heap *heap, struct heap_node *node, int64_t key);
void heap_remove(struct heap *heap, struct heap_node *node);
void heap_move(struct heap *heap, struct heap_node *node, int64_t key);
static inline struct heap_node *heap_min(const struct heap *heap) { return heap->n ? heap->slots[0].node : NULL; }
