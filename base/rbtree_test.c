// SPDX-License-Identifier: Apache-2.0
#include "base/rbtree.h"

#include "base/test.h"

enum { NODES = 512, ROUNDS = 20000 };

struct item {
    struct rb_node node;
    unsigned key;
    bool in;
};

static struct item items[NODES];

static unsigned next_random(void)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(state >> 33);
}

/* Black height of a correct subtree, -1 for a wrong one. */
static int check_subtree(const struct rb_node *n, const struct rb_node *parent)
{
    if (n == NULL)
        return 0;
    if (n->parent != parent || (n->red && parent != NULL && parent->red))
        return -1;
    int left = check_subtree(n->child[0], n), right = check_subtree(n->child[1], n);
    if (left < 0 || left != right)
        return -1;
    return left + !n->red;
}

static void insert(struct rb_tree *t, struct item *it)
{
    struct rb_node **at = &t->root, *parent = NULL;
    while (*at != NULL) {
        parent = *at;
        at = &parent->child[it->key >= RB_ENTRY(parent, struct item, node)->key];
    }
    rb_insert(t, &it->node, parent, at);
    it->in = true;
}

static void test_random(struct test *t)
{
    struct rb_tree tree = {0};
    size_t count = 0;
    for (unsigned i = 0; i < NODES; i++)
        items[i] = (struct item){.key = i / 3}; // equal keys too
    for (int round = 0; round < ROUNDS; round++) {
        struct item *it = &items[next_random() % NODES];
        if (it->in) {
            rb_remove(&tree, &it->node);
            it->in = false;
            count--;
        } else {
            insert(&tree, it);
            count++;
        }
        if (round % 64 != 0)
            continue;
        CHECK(t, check_subtree(tree.root, NULL) >= 0);
        size_t seen = 0;
        unsigned last = 0;
        for (struct rb_node *n = rb_first(&tree); n != NULL; n = rb_next(n), seen++) {
            unsigned key = RB_ENTRY(n, struct item, node)->key;
            CHECK(t, key >= last);
            last = key;
        }
        CHECK_EQ(t, seen, count);
        seen = 0;
        for (struct rb_node *n = rb_end(&tree, 1); n != NULL; n = rb_prev(n))
            seen++;
        CHECK_EQ(t, seen, count);
    }
}

static void test_empty(struct test *t)
{
    struct rb_tree tree = {0};
    struct item it = {.key = 1};
    CHECK(t, rb_first(&tree) == NULL);
    insert(&tree, &it);
    CHECK(t, rb_first(&tree) == &it.node && rb_next(&it.node) == NULL);
    rb_remove(&tree, &it.node);
    CHECK(t, tree.root == NULL);
}

int main(void)
{
    static const struct test_case cases[] = {TEST_CASE(test_random), TEST_CASE(test_empty)};
    return test_main(cases, ARRAY_LEN(cases));
}
