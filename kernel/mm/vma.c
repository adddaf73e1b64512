// SPDX-License-Identifier: Apache-2.0
#include "kernel/mm/vma.h"

static struct vma *entry(struct rb_node *n)
{
    return n != NULL ? RB_ENTRY(n, struct vma, node) : NULL;
}

struct vma *vma_find(const struct vma_set *s, uint64_t address)
{
    struct vma *best = NULL;
    for (struct rb_node *n = s->tree.root; n != NULL;) {
        struct vma *v = entry(n);
        if (v->end > address) {
            best = v;
            if (v->start <= address)
                break;
            n = n->child[0];
        } else {
            n = n->child[1];
        }
    }
    return best;
}

struct vma *vma_find_again(struct vma_set *s, uint64_t address)
{
    struct vma *v = __atomic_load_n(&s->last, __ATOMIC_RELAXED);
    if (v != NULL && v->start <= address && v->end > address)
        return v;
    v = vma_find(s, address);
    __atomic_store_n(&s->last, v, __ATOMIC_RELAXED);
    return v;
}

struct vma *vma_next(const struct vma *v)
{
    return entry(rb_next(&v->node));
}

struct vma *vma_prev(const struct vma *v)
{
    return entry(rb_prev(&v->node));
}

bool vma_free_range(const struct vma_set *s, uint64_t start, uint64_t end)
{
    const struct vma *v = vma_find(s, start);
    return v == NULL || v->start >= end;
}

void vma_insert(struct vma_set *s, struct vma *v)
{
    ASSERT(v->start < v->end);
    struct rb_node **at = &s->tree.root, *parent = NULL;
    while (*at != NULL) {
        parent = *at;
        const struct vma *p = entry(parent);
        bool right = v->start >= p->end;
        ASSERT(right || v->end <= p->start);
        at = &parent->child[right];
    }
    rb_insert(&s->tree, &v->node, parent, at);
    s->count++;
    s->bytes += v->end - v->start;
}

void vma_remove(struct vma_set *s, struct vma *v)
{
    rb_remove(&s->tree, &v->node);
    s->last = NULL;
    s->count--;
    s->bytes -= v->end - v->start;
}

void vma_split(struct vma_set *s, struct vma *v, uint64_t at, struct vma *upper)
{
    ASSERT(at > v->start && at < v->end);
    *upper = *v;
    upper->start = at;
    upper->offset = v->offset + (at - v->start);
    s->bytes -= v->end - at;
    v->end = at;
    vma_insert(s, upper);
}

void vma_resize(struct vma_set *s, struct vma *v, uint64_t start, uint64_t end)
{
    s->bytes += (end - start) - (v->end - v->start);
    v->offset += start - v->start; // wraps for anonymous memory that grows down: nobody looks
    v->start = start;
    v->end = end;
}

bool vma_merge(struct vma_set *s, struct vma *v)
{
    struct vma *p = vma_prev(v);
    if (p == NULL || p->end != v->start || p->prot != v->prot || p->max_prot != v->max_prot ||
        p->file != v->file || p->name != v->name || p->shared != v->shared ||
        p->grows_down != v->grows_down || p->fork != v->fork)
        return false;
    if (v->file != NULL && v->offset != p->offset + (p->end - p->start))
        return false;
    uint64_t end = v->end;
    vma_remove(s, v);
    vma_resize(s, p, p->start, end);
    return true;
}

uint64_t vma_gap(const struct vma_set *s, uint64_t bytes, uint64_t low, uint64_t high)
{
    const struct vma *above = vma_find(s, high - 1);
    const struct vma *v = above == NULL          ? entry(rb_end(&s->tree, 1))
                          : above->start >= high ? vma_prev(above)
                                                 : above;
    for (; v != NULL && high > low; v = vma_prev(v)) {
        if (v->end <= high && high - v->end >= bytes)
            break;
        high = MIN(high, v->start);
    }
    if (high < low || high - low < bytes)
        return 0;
    return high - bytes;
}
