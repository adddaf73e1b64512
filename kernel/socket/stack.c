// SPDX-License-Identifier: Apache-2.0
#include "kernel/socket/stack.h"
#include "base/fmt.h"
#include "base/mem.h"
#include "kernel/arch/x86_64/console.h"
#include "kernel/boot/params.h"
#include "kernel/drivers/block.h"
#include "kernel/drivers/netdev.h"
#include "kernel/drivers/random.h"
#include "kernel/mm/kmem.h"
#include "kernel/sched/lock.h"
#include "kernel/sched/task.h"
#include "kernel/sched/timer.h"
#include "kernel/sched/wait.h"
#include "kernel/socket/socket.h"
#include "kernel/vfs/vfs.h"
#include "net/dhcp.h"
#include "net/tcp.h"

#define ADDRESS_WAIT_NS (5 * NS_PER_SEC)
#define FINISH_NS       (2 * NS_PER_SEC)

enum { MTU_WITHOUT_DEVICE = 1500, KMALLOC_MAX = 128 * 1024, RESOLV_CONF_MAX = 256 };

static struct {
    struct spinlock lock;
    struct net_stack *net; // immutable after socket_init; used under lock
    struct netdev *dev;    // immutable after socket_init; NULL: loopback only
    struct ktimer timer;
    // Protected by lock.
    uint64_t timer_ns;  // armed for, or NET_NEVER
    bool sent;          // the device has frames that it does not know of
    bool lease_wanted;  // DHCP has no lease yet; somebody waits for it
    struct waitq lease; // EV_IN: there is one
} stack;

struct net_stack *stack_enter(uint64_t *ret_now)
{
    spin_lock(&stack.lock);
    *ret_now = clock_mono_ns();
    return stack.net;
}

void stack_leave(void)
{
    struct dhcp_lease lease;
    if (stack.sent) {
        stack.sent = false;
        stack.dev->ops->kick(stack.dev);
    }
    // The timer is left alone when it comes too early: then it sets itself again.
    uint64_t next = net_next_deadline(stack.net);
    if (next < stack.timer_ns) {
        stack.timer_ns = next;
        ktimer_arm(&stack.timer, next);
    }
    if (UNLIKELY(stack.lease_wanted) && net_dhcp_lease(stack.net, &lease) == 0) {
        stack.lease_wanted = false;
        waitq_wake(&stack.lease, EV_IN, UINT32_MAX);
    }
    spin_unlock(&stack.lock);
}

static void stack_timer(struct ktimer *t UNUSED)
{
    uint64_t now;
    struct net_stack *n = stack_enter(&now);
    if (stack.dev != NULL)
        stack.dev->ops->reclaim(stack.dev);
    stack.timer_ns = NET_NEVER;
    net_timer(n, now);
    stack_leave();
}

/* Frames from the device. */
static void stack_input(struct netdev *d, struct pkt *first)
{
    uint64_t now;
    struct net_stack *n = stack_enter(&now);
    d->ops->reclaim(d);
    while (first != NULL) {
        struct pkt *p = first;
        first = p->dev_next;
        net_input(n, p, now);
    }
    stack_leave();
}

// ---- hooks ----

static struct pkt *hook_pkt_alloc(void *ctx UNUSED, uint32_t size)
{
    return pktbuf_new(size);
}

static unsigned page_order(size_t size)
{
    unsigned order = 0;
    while (((size_t)PAGE_SIZE << order) < size)
        order++;
    return order;
}

static void *hook_mem_alloc(void *ctx UNUSED, size_t size)
{
    if (size <= KMALLOC_MAX)
        return kzalloc(size);
    unsigned order = page_order(size);
    struct page *p = order <= PAGE_ORDER_MAX ? page_alloc_zero(order) : NULL;
    return p != NULL ? page_virt(p) : NULL;
}

static void hook_mem_free(void *ctx UNUSED, void *p, size_t size)
{
    if (size <= KMALLOC_MAX)
        kfree(p);
    else
        page_put(page_of(p));
}

static void hook_transmit(void *ctx UNUSED, struct pkt *p)
{
    if (stack.dev == NULL) {
        pkt_put(p);
        return;
    }
    stack.dev->ops->transmit(stack.dev, p);
    stack.sent = true;
}

static void hook_event(void *ctx UNUSED, struct tcp *t UNUSED, struct udp *u UNUSED, void *user,
                       uint32_t ready)
{
    sock_event(user, ready);
}

// ---- start ----

static int stack_start(void)
{
    struct mem_stats mem;
    mem_stats_get(&mem);
    struct netdev *d = stack.dev;
    struct net_config config = {
        .hooks = {.pkt_alloc = hook_pkt_alloc,
                  .mem_alloc = hook_mem_alloc,
                  .mem_free = hook_mem_free,
                  .transmit = hook_transmit,
                  .event = hook_event},
        .mtu = d != NULL ? d->mtu : MTU_WITHOUT_DEVICE,
        .tx_csum = d != NULL && d->tx_csum,
        .mem_max = mem.total_bytes / 4,
    };
    if (d != NULL)
        memcpy(config.mac, d->mac, sizeof(config.mac));
    random_bytes(config.secret, sizeof(config.secret));
    return net_new(&config, &stack.net);
}

static void resolv_conf_write(const uint32_t *dns, unsigned count)
{
    char text[RESOLV_CONF_MAX];
    size_t n = 0;
    for (unsigned i = 0; i < count; i++)
        n += fmt(text + n, sizeof(text) - n, "nameserver %u.%u.%u.%u\n", dns[i] >> 24,
                 dns[i] >> 16 & 255, dns[i] >> 8 & 255, dns[i] & 255);
    if (n == 0)
        return;
    int r = vfs_write_file("/etc/resolv.conf", text, n, 0644);
    if (r < 0)
        kprintf("network: cannot write /etc/resolv.conf (error %d)\n", -r);
}

static void hosts_write(void)
{
    char text[192];
    struct file *f;
    if (vfs_open("/etc/hosts", 0, 0, &f) == 0) {
        file_put(f);
        return;
    }
    size_t n = fmt(text, sizeof(text), "127.0.0.1 localhost\n127.0.1.1 %s\n", boot_params.host);
    int r = vfs_write_file("/etc/hosts", text, n, 0644);
    if (r < 0)
        kprintf("network: cannot write /etc/hosts (error %d)\n", -r);
}

static bool lease_there(void)
{
    return !__atomic_load_n(&stack.lease_wanted, __ATOMIC_ACQUIRE);
}

int stack_wait_address(void)
{
    if (lease_there())
        return 0;
    int r = WAIT_EVENT(&stack.lease, EV_IN, lease_there(), clock_mono_ns() + ADDRESS_WAIT_NS, true);
    return r == -EINTR ? r : 0;
}

/* A thread of its own: files are written by tasks only. */
static void lease_writer(void *ctx UNUSED)
{
    struct dhcp_lease lease;
    uint64_t now;
    int r = WAIT_EVENT(&stack.lease, EV_IN, lease_there(), DEADLINE_NEVER, false);
    ASSERT(r == 0);
    struct net_stack *n = stack_enter(&now);
    r = net_dhcp_lease(n, &lease);
    stack_leave();
    if (r == 0 && boot_params.dns_count == 0)
        resolv_conf_write(lease.dns, lease.dns_len);
}

static void address_start(struct net_stack *n, uint64_t now)
{
    int r;
    if (boot_params.dhcp) {
        r = net_dhcp_start(n, now);
        stack.lease_wanted = r == 0;
    } else {
        r = net_addr_add(n, boot_params.ip, boot_params.prefix_len, now);
        if (r == 0 && boot_params.gateway != 0)
            net_gateway_set(n, boot_params.gateway);
    }
    if (r < 0)
        kprintf("network: no address (error %d)\n", -r);
}

void socket_init(void)
{
    pktbuf_init();
    waitq_init(&stack.lease);
    ktimer_init(&stack.timer, stack_timer);
    stack.timer_ns = NET_NEVER;
    stack.dev = netdev_get(0);
    int r = stack_start();
    if (r < 0)
        panic("network: cannot start (error %d)", -r);
    if (stack.dev != NULL) {
        stack.dev->input = stack_input;
        r = stack.dev->ops->open(stack.dev);
        if (r < 0)
            kprintf("network: cannot open the device (error %d)\n", -r);
        uint64_t now;
        struct net_stack *n = stack_enter(&now);
        address_start(n, now);
        stack_leave();
    }
    hosts_write();
    resolv_conf_write(boot_params.dns, boot_params.dns_count);
    if (!lease_there() && kthread_start("net-lease", lease_writer, NULL) < 0)
        kprintf("network: no thread to write /etc/resolv.conf\n");
}

void socket_finish(void)
{
    struct netdev *d = stack.dev;
    if (stack.net == NULL || d == NULL)
        return;
    // Polled, not slept: no thread of the program may run any more.
    for (uint64_t end = clock_mono_ns() + FINISH_NS;;) {
        uint64_t now;
        struct net_stack *n = stack_enter(&now);
        uint32_t unsent = tcp_finish_all(n, now);
        if (net_next_deadline(n) <= now)
            net_timer(n, now);
        stack_leave();
        if ((d->ops->reclaim(d) == 0 && unsent == 0) || now >= end)
            break;
        d->ops->poll(d);
    }
}

void stack_if_get(struct stack_if *ret)
{
    uint64_t now;
    uint32_t prefix_len;
    const struct netdev *d = stack.dev;
    *ret = (struct stack_if){.exists = d != NULL};
    struct net_stack *n = stack_enter(&now);
    if (net_addr_get(n, 0, &ret->ip, &prefix_len) == 0)
        ret->netmask = prefix_len == 0 ? 0 : UINT32_MAX << (32 - prefix_len);
    stack_leave();
    if (d == NULL)
        return;
    ret->mtu = d->mtu;
    ret->link = __atomic_load_n(&d->link, __ATOMIC_RELAXED);
    memcpy(ret->mac, d->mac, sizeof(ret->mac));
}
