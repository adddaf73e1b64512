// SPDX-License-Identifier: Apache-2.0
#include "kernel/drivers/netdev.h"
#include "kernel/mm/kmem.h"
#include "kernel/sched/lock.h"

/* A buffer is one block of memory: struct pkt, then the bytes. Blocks of the usual size are kept in
 * a list, so that a packet costs no allocation in the steady state. */
enum { BLOCK_HEAD = 128, BLOCK_BYTES = BLOCK_HEAD + PKTBUF_BYTES, BLOCKS_KEPT_MAX = 512 };
_Static_assert(sizeof(struct pkt) <= BLOCK_HEAD, "the head holds the packet");
_Static_assert(BLOCK_BYTES == 2048, "a block is half a page");
enum { NETDEVS_MAX = 8 };

static struct spinlock blocks_lock; // no other is taken inside
static struct pkt *blocks;          // protected by blocks_lock; chained by next
static unsigned blocks_count;       // protected by blocks_lock

static void block_put(struct pkt *p)
{
    spin_lock(&blocks_lock);
    bool keep = blocks_count < BLOCKS_KEPT_MAX;
    if (keep) {
        p->next = blocks;
        blocks = p;
        blocks_count++;
    }
    spin_unlock(&blocks_lock);
    if (!keep)
        kfree(p);
}

static void big_put(struct pkt *p)
{
    kfree(p);
}

struct pkt *pktbuf_new(uint32_t size)
{
    struct pkt *p = NULL;
    bool usual = size <= PKTBUF_BYTES;
    if (usual) {
        spin_lock(&blocks_lock);
        p = blocks;
        if (p != NULL) {
            blocks = p->next;
            blocks_count--;
        }
        spin_unlock(&blocks_lock);
    }
    if (p == NULL)
        p = kmalloc(usual ? (size_t)BLOCK_BYTES : (size_t)BLOCK_HEAD + size);
    if (p == NULL)
        return NULL;
    uint8_t *buf = (uint8_t *)p + BLOCK_HEAD;
    pkt_init(p, buf, usual ? PKTBUF_BYTES : size, usual ? block_put : big_put);
    p->dev = phys_of(buf);
    return p;
}

static size_t blocks_shrink(size_t pages)
{
    size_t freed = 0;
    while (freed < pages * 2) {
        spin_lock(&blocks_lock); // never held while memory is asked for
        struct pkt *p = blocks;
        if (p != NULL) {
            blocks = p->next;
            blocks_count--;
        }
        spin_unlock(&blocks_lock);
        if (p == NULL)
            break;
        kfree(p);
        freed++;
    }
    return freed / 2;
}

void pktbuf_init(void)
{
    static struct shrinker shrinker = {.shrink = blocks_shrink};
    shrinker_register(&shrinker);
}

static struct netdev *netdevs[NETDEVS_MAX]; // written during boot only
static unsigned netdevs_count;

void netdev_register(struct netdev *d)
{
    if (netdevs_count < NETDEVS_MAX)
        netdevs[netdevs_count++] = d;
}

struct netdev *netdev_get(unsigned index)
{
    return index < netdevs_count ? netdevs[index] : NULL;
}
