// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Intrusive doubly linked list with a head; O(1) insert and remove. An unlinked node points to
 * itself, so removing it twice is harmless. */
#include "base/base.h"

struct list {
    struct list *prev, *next;
};

NONNULL static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}

NONNULL static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

NONNULL static inline void list_insert_after(struct list *at, struct list *node)
{
    node->prev = at;
    node->next = at->next;
    at->next->prev = node;
    at->next = node;
}

NONNULL static inline void list_push_front(struct list *head, struct list *node)
{
    list_insert_after(head, node);
}

NONNULL static inline void list_push_back(struct list *head, struct list *node)
{
    list_insert_after(head->prev, node);
}

NONNULL static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* Take the first node off, or NULL when the list is empty. */
NONNULL static inline struct list *list_pop_front(struct list *head)
{
    struct list *node = head->next;
    if (node == head)
        return NULL;
    list_remove(node);
    return node;
}

#define LIST_ENTRY(node, type, member) CONTAINER_OF(node, type, member)
#define LIST_FOR_EACH(node, head)                                                                  \
    for (struct list * (node) = (head)->next; (node) != (head); (node) = (node)->next)
// The body may remove node.
#define LIST_FOR_EACH_SAFE(node, head)                                                             \
    for (struct list * (node) = (head)->next, *list_next_ = (node)->next; (node) != (head);        \
         (node) = list_next_, list_next_ = (node)->next)
