// SPDX-License-Identifier: Apache-2.0
#include "base/rbtree.h"

static int side_of(const struct rb_node *n)
{
    return n->parent->child[1] == n;
}

static bool is_red(const struct rb_node *n)
{
    return n != NULL && n->red;
}

/* Let `by` (may be NULL) take the place of n under n's parent. */
static void replace(struct rb_tree *t, struct rb_node *n, struct rb_node *by)
{
    if (n->parent == NULL)
        t->root = by;
    else
        n->parent->child[side_of(n)] = by;
    if (by != NULL)
        by->parent = n->parent;
}

/* Turn n down to `side`; its child on the other side comes up. */
static void rotate(struct rb_tree *t, struct rb_node *n, int side)
{
    struct rb_node *up = n->child[!side], *inner = up->child[side];
    replace(t, n, up);
    up->child[side] = n;
    n->parent = up;
    n->child[!side] = inner;
    if (inner != NULL)
        inner->parent = n;
}

void rb_insert(struct rb_tree *t, struct rb_node *node, struct rb_node *parent, struct rb_node **at)
{
    *node = (struct rb_node){.parent = parent, .red = true};
    *at = node;
    struct rb_node *n = node;
    while (is_red(n->parent)) {
        struct rb_node *p = n->parent, *grand = p->parent; // a red node has a parent
        int side = side_of(p);
        struct rb_node *uncle = grand->child[!side];
        if (is_red(uncle)) {
            p->red = uncle->red = false;
            grand->red = true;
            n = grand;
            continue;
        }
        if (side_of(n) != side) {
            rotate(t, p, side);
            p = n;
        }
        p->red = false;
        grand->red = true;
        rotate(t, grand, !side);
        break;
    }
    t->root->red = false;
}

/* The paths through `parent` on `side` are one black node short. */
static void remove_fix(struct rb_tree *t, struct rb_node *parent, int side)
{
    while (parent != NULL) {
        struct rb_node *sibling = parent->child[!side]; // not NULL: its paths have a black node
        if (sibling->red) {
            sibling->red = false;
            parent->red = true;
            rotate(t, parent, side);
            sibling = parent->child[!side];
        }
        if (!is_red(sibling->child[0]) && !is_red(sibling->child[1])) {
            sibling->red = true;
            if (parent->red) {
                parent->red = false;
                return;
            }
            struct rb_node *up = parent->parent;
            side = up != NULL ? side_of(parent) : 0;
            parent = up;
            continue;
        }
        if (!is_red(sibling->child[!side])) {
            sibling->child[side]->red = false;
            sibling->red = true;
            rotate(t, sibling, !side);
            sibling = parent->child[!side];
        }
        sibling->red = parent->red;
        parent->red = false;
        sibling->child[!side]->red = false;
        rotate(t, parent, side);
        return;
    }
}

void rb_remove(struct rb_tree *t, struct rb_node *node)
{
    if (node->child[0] != NULL && node->child[1] != NULL) {
        // Change places with the next in order, which has no left child.
        struct rb_node *next = node->child[1];
        while (next->child[0] != NULL)
            next = next->child[0];
        struct rb_node saved = *next;
        bool adjacent = next == node->child[1];
        replace(t, node, next);
        next->red = node->red;
        next->child[0] = node->child[0];
        next->child[0]->parent = next;
        node->red = saved.red;
        node->child[0] = NULL;
        if (adjacent) {
            node->parent = next;
            next->child[1] = node;
        } else {
            next->child[1] = node->child[1];
            next->child[1]->parent = next;
            node->parent = saved.parent;
            node->parent->child[0] = node;
        }
        node->child[1] = saved.child[1];
        if (node->child[1] != NULL)
            node->child[1]->parent = node;
    }
    struct rb_node *child = node->child[0] != NULL ? node->child[0] : node->child[1];
    struct rb_node *parent = node->parent;
    int side = parent != NULL ? side_of(node) : 0;
    replace(t, node, child);
    if (child != NULL)
        child->red = false; // an only child is red, its parent black
    else if (!node->red)
        remove_fix(t, parent, side);
}

struct rb_node *rb_end(const struct rb_tree *t, int side)
{
    struct rb_node *n = t->root;
    while (n != NULL && n->child[side] != NULL)
        n = n->child[side];
    return n;
}

struct rb_node *rb_step(const struct rb_node *node, int side)
{
    if (node->child[side] != NULL) {
        struct rb_node *n = node->child[side];
        while (n->child[!side] != NULL)
            n = n->child[!side];
        return n;
    }
    while (node->parent != NULL && side_of(node) == side)
        node = node->parent;
    return node->parent;
}
