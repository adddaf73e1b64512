// SPDX-License-Identifier: Apache-2.0
/* Interrupt controllers: local APIC (SDM volume 3, 11), I/O APIC (Intel 82093AA), MSI. */
#include "kernel/arch/x86_64/apic.h"

#include "base/errno.h"
#include "kernel/arch/x86_64/asm.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/irq.h"
#include "kernel/mm/kmem.h"

enum { // local APIC registers
    LAPIC_ID = 0x20,
    LAPIC_TPR = 0x80,
    LAPIC_EOI = 0xb0,
    LAPIC_SPURIOUS = 0xf0,
    LAPIC_ICR_LOW = 0x300,
    LAPIC_ICR_HIGH = 0x310,
    LAPIC_LVT_TIMER = 0x320,
    LAPIC_LVT_LINT0 = 0x350,
    LAPIC_LVT_LINT1 = 0x360,
    LAPIC_LVT_ERROR = 0x370,
    LAPIC_TIMER_INITIAL = 0x380,
    LAPIC_TIMER_CURRENT = 0x390,
    LAPIC_TIMER_DIVIDE = 0x3e0,
    LAPIC_BYTES = 0x400,

    LVT_MASKED = 1 << 16,
    LVT_TSC_DEADLINE = 2 << 17,
    LVT_NMI = 4 << 8,
    DIVIDE_1 = 0xb,
    DIVIDE_128 = 0xa,
    SPURIOUS_ENABLE = 1 << 8,
    APIC_BASE_ENABLE = 1 << 11,
};

static const uint64_t LAPIC_PHYS = 0xfee00000, IOAPIC_PHYS = 0xfec00000;

enum { // I/O APIC
    IOAPIC_SELECT = 0,
    IOAPIC_WINDOW = 0x10,
    IOAPIC_VERSION = 1,
    IOAPIC_ROUTE = 0x10,
    ROUTE_MASKED = 1 << 16,
    ROUTE_LEVEL = 1 << 15,
    GSI_MAX = 240,
    IRQS_MAX = VECTOR_DEVICE_END - VECTOR_DEVICE,
};

struct irq {
    void (*handler)(void *ctx);
    void *ctx;
    bool used;
};

static volatile uint32_t *lapic, *ioapic;
static unsigned ioapic_lines;
static struct irq irqs[IRQS_MAX]; // by vector; protected by irq_lock for registration
static struct spinlock irq_lock;

static uint32_t lapic_read(unsigned reg)
{
    return lapic[reg / 4];
}

static void lapic_write(unsigned reg, uint32_t v)
{
    lapic[reg / 4] = v;
}

static uint32_t ioapic_read(unsigned reg)
{
    ioapic[IOAPIC_SELECT / 4] = reg;
    return ioapic[IOAPIC_WINDOW / 4];
}

static void ioapic_write(unsigned reg, uint32_t v)
{
    ioapic[IOAPIC_SELECT / 4] = reg;
    ioapic[IOAPIC_WINDOW / 4] = v;
}

/* The two 8259s, where there are any: every line masked. */
static void pic_off(void)
{
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
}

void apic_init(void)
{
    pic_off();
    lapic = mmio_map(LAPIC_PHYS, LAPIC_BYTES);
    ioapic = mmio_map(IOAPIC_PHYS, 0x20);
    ASSERT(lapic != NULL && ioapic != NULL);
    uint32_t version = ioapic_read(IOAPIC_VERSION);
    ioapic_lines = version == UINT32_MAX ? 0 : (version >> 16 & 0xff) + 1;
    for (unsigned i = 0; i < ioapic_lines; i++)
        ioapic_write(IOAPIC_ROUTE + i * 2, ROUTE_MASKED);
}

void apic_init_cpu(void)
{
    wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_ENABLE);
    lapic_write(LAPIC_SPURIOUS, SPURIOUS_ENABLE | VECTOR_SPURIOUS);
    lapic_write(LAPIC_TPR, 0);
    lapic_write(LAPIC_LVT_LINT0, LVT_MASKED);
    lapic_write(LAPIC_LVT_LINT1, LVT_NMI);
    lapic_write(LAPIC_LVT_ERROR, LVT_MASKED);
    lapic_write(LAPIC_TIMER_DIVIDE, DIVIDE_1);
    this_cpu()->timer_divide = DIVIDE_1;
    lapic_write(LAPIC_LVT_TIMER, VECTOR_TIMER | (cpu_features.tsc_deadline ? LVT_TSC_DEADLINE : 0));
}

void apic_eoi(void)
{
    lapic_write(LAPIC_EOI, 0);
}

void apic_timer_arm(uint64_t ns, uint64_t tsc_deadline)
{
    if (cpu_features.tsc_deadline) {
        wrmsr(MSR_TSC_DEADLINE, tsc_deadline);
        return;
    }
    uint32_t divide = ns > UINT32_MAX ? DIVIDE_128 : DIVIDE_1;
    uint64_t count = divide == DIVIDE_128 ? ns >> 7 : ns;
    struct cpu *c = this_cpu();
    if (divide != c->timer_divide) {
        c->timer_divide = divide;
        lapic_write(LAPIC_TIMER_DIVIDE, divide);
    }
    lapic_write(LAPIC_TIMER_INITIAL, (uint32_t)MAX(MIN(count, (uint64_t)UINT32_MAX), 1ull));
}

void apic_timer_off(void)
{
    if (cpu_features.tsc_deadline)
        wrmsr(MSR_TSC_DEADLINE, 0);
    else
        lapic_write(LAPIC_TIMER_INITIAL, 0);
}

/* One reading of both clocks; the TSC readings around the other tell how exact it is. */
struct clock_pair {
    uint64_t tsc, uncertainty;
    uint32_t count;
};

static struct clock_pair clock_pair_read(void)
{
    struct clock_pair best = {.uncertainty = UINT64_MAX};
    for (int i = 0; i < 5; i++) {
        uint64_t before = rdtsc();
        uint32_t count = lapic_read(LAPIC_TIMER_CURRENT);
        uint64_t after = rdtsc();
        if (after - before < best.uncertainty)
            best = (struct clock_pair){before + (after - before) / 2, after - before, count};
    }
    return best;
}

uint64_t apic_measure_tsc_khz(void)
{
    enum { SPAN_NS = 500 * 1000 }; // a reading is exact to some 0.2 us: 0.04 %
    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
    lapic_write(LAPIC_TIMER_INITIAL, UINT32_MAX);
    struct clock_pair a = clock_pair_read();
    while (a.count - lapic_read(LAPIC_TIMER_CURRENT) < SPAN_NS)
        cpu_relax();
    struct clock_pair b = clock_pair_read();
    lapic_write(LAPIC_TIMER_INITIAL, 0);
    lapic_write(LAPIC_LVT_TIMER, VECTOR_TIMER);
    return (b.tsc - a.tsc) * 1000000 / (a.count - b.count);
}

void apic_send(uint32_t cpu, uint32_t command)
{
    enum { PENDING = 1 << 12, TRIES_MAX = 100000 };
    uint64_t flags = irq_save();
    for (int i = 0; i < TRIES_MAX && (lapic_read(LAPIC_ICR_LOW) & PENDING); i++)
        cpu_relax();
    lapic_write(LAPIC_ICR_HIGH, cpu << 24);
    lapic_write(LAPIC_ICR_LOW, command);
    irq_restore(flags);
}

void apic_kick(struct cpu *c)
{
    apic_send(c->id, VECTOR_RESCHED);
}

static int irq_take(void (*handler)(void *), void *ctx, unsigned *ret_vector)
{
    int r = -EBUSY;
    uint64_t flags = spin_lock_irqsave(&irq_lock);
    for (unsigned i = 0; i < IRQS_MAX; i++) {
        if (irqs[i].used)
            continue;
        irqs[i] = (struct irq){.handler = handler, .ctx = ctx, .used = true};
        *ret_vector = VECTOR_DEVICE + i;
        r = 0;
        break;
    }
    spin_unlock_irqrestore(&irq_lock, flags);
    return r;
}

int irq_register(unsigned gsi, bool level, void (*handler)(void *ctx), void *ctx)
{
    static uint64_t taken[(GSI_MAX + 63) / 64]; // protected by irq_lock
    unsigned vector;
    if (gsi >= ioapic_lines || gsi >= GSI_MAX)
        return -EINVAL;
    uint64_t flags = spin_lock_irqsave(&irq_lock);
    bool busy = taken[gsi / 64] >> gsi % 64 & 1;
    taken[gsi / 64] |= 1ull << gsi % 64;
    spin_unlock_irqrestore(&irq_lock, flags);
    if (busy)
        return -EBUSY;
    int r = irq_take(handler, ctx, &vector);
    if (r < 0)
        return r;
    uint32_t boot_apic = lapic_read(LAPIC_ID) & 0xff000000;
    ioapic_write(IOAPIC_ROUTE + gsi * 2 + 1, boot_apic);
    ioapic_write(IOAPIC_ROUTE + gsi * 2, vector | (level ? ROUTE_LEVEL : 0u));
    return 0;
}

int irq_register_msi(void (*handler)(void *ctx), void *ctx, struct irq_msi *ret)
{
    unsigned vector;
    int r = irq_take(handler, ctx, &vector);
    if (r < 0)
        return r;
    // SDM volume 3, 11.11: fixed delivery to one CPU, edge.
    ret->address = LAPIC_PHYS | (uint64_t)(lapic_read(LAPIC_ID) >> 24) << 12;
    ret->data = vector;
    return 0;
}

void irq_dispatch(unsigned vector)
{
    const struct irq *irq = &irqs[vector - VECTOR_DEVICE];
    if (irq->used)
        irq->handler(irq->ctx);
    apic_eoi();
}
