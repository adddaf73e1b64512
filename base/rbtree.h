// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Intrusive red-black tree: O(log n) insert and remove, in-order walks. The caller descends and
 * compares, so that no comparison is called through a pointer:
 *
 *     struct rb_node **at = &tree->root, *parent = NULL;
 *     while (*at != NULL) {
 *         parent = *at;
 *         at = &parent->child[key >= RB_ENTRY(parent, struct thing, node)->key];
 *     }
 *     rb_insert(tree, &thing->node, parent, at);
 *
 * Cormen et al., Introduction to Algorithms, chapter 13. */
#include "base/base.h"

struct rb_node {
    struct rb_node *parent;
    struct rb_node *child[2]; // left: smaller; right: larger
    bool red;
};

struct rb_tree {
    struct rb_node *root;
};

#define RB_ENTRY(ptr, type, member) CONTAINER_OF(ptr, type, member)

/* Put node at the empty place *at under parent (NULL: the root). */
__attribute__((nonnull(1, 2, 4))) void rb_insert(struct rb_tree *t, struct rb_node *node,
                                                 struct rb_node *parent, struct rb_node **at);
/* The same into a tree that is empty. */
NONNULL static inline void rb_insert_first(struct rb_tree *t, struct rb_node *node)
{
    node->parent = node->child[0] = node->child[1] = NULL;
    node->red = false;
    t->root = node;
}
NONNULL void rb_remove(struct rb_tree *t, struct rb_node *node);

/* The outermost node on one side (0 first, 1 last), or NULL. */
NONNULL struct rb_node *rb_end(const struct rb_tree *t, int side);
/* The neighbour in order (0 previous, 1 next), or NULL. */
NONNULL struct rb_node *rb_step(const struct rb_node *node, int side);

NONNULL static inline struct rb_node *rb_first(const struct rb_tree *t)
{
    return rb_end(t, 0);
}

NONNULL static inline struct rb_node *rb_next(const struct rb_node *n)
{
    return rb_step(n, 1);
}

NONNULL static inline struct rb_node *rb_prev(const struct rb_node *n)
{
    return rb_step(n, 0);
}
