// SPDX-License-Identifier: Apache-2.0
#include "kernel/arch/x86_64/clock.h"

#include "kernel/arch/x86_64/apic.h"
#include "kernel/arch/x86_64/asm.h"
#include "kernel/boot/params.h"
#include "kernel/sched/timer.h"

struct clock_scale clock_scale;
static uint64_t ticks_per_ns; // times 2^32
static uint64_t tsc_khz;
extern uint64_t boot_tsc;

/* The frequency as the hypervisor or the CPU tells it, or 0. */
static uint64_t tsc_khz_from_cpuid(void)
{
    enum { HYPERVISOR_BASE = 0x40000000, HYPERVISOR_TSC = 0x40000010, TSC_LEAF = 0x15 };
    bool hypervisor = cpuid(1, 0).c >> 31 & 1;
    uint32_t max = hypervisor ? cpuid(HYPERVISOR_BASE, 0).a : 0;
    if (max >= HYPERVISOR_TSC && max < HYPERVISOR_BASE + 0x10000) {
        uint64_t khz = cpuid(HYPERVISOR_TSC, 0).a;
        if (khz != 0)
            return khz;
    }
    if (cpuid(0, 0).a >= TSC_LEAF) {
        struct cpuid l = cpuid(TSC_LEAF, 0);
        if (l.a != 0 && l.b != 0 && l.c != 0)
            return (uint64_t)l.c * l.b / l.a / 1000;
    }
    return 0;
}

static uint8_t cmos_read(uint8_t reg)
{
    outb(0x70, reg);
    return inb(0x71);
}

/* Seconds since 1970 from the PC's battery clock (MC146818), 0 when there is none (microvm). */
static uint64_t cmos_seconds(void)
{
    enum { STATUS_A = 10, STATUS_B = 11, BINARY = 4, HOURS_24 = 2, UPDATING = 0x80 };
    uint8_t format = cmos_read(STATUS_B);
    if (format == 0xff)
        return 0;
    for (int i = 0; i < 100000 && (cmos_read(STATUS_A) & UPDATING); i++)
        cpu_relax();
    unsigned v[6]; // second, minute, hour, day, month, year
    static const uint8_t regs[6] = {0, 2, 4, 7, 8, 9};
    for (int i = 0; i < 6; i++) {
        uint8_t raw = cmos_read(regs[i]);
        bool pm = i == 2 && !(format & HOURS_24) && (raw & 0x80);
        raw &= i == 2 ? 0x7f : 0xff;
        v[i] = format & BINARY ? raw : (raw >> 4) * 10u + (raw & 15);
        if (i == 2 && !(format & HOURS_24))
            v[i] = v[i] % 12 + (pm ? 12 : 0);
    }
    if (v[4] < 1 || v[4] > 12)
        return 0;
    // Days of the civil calendar, the year starting in March (leap day last).
    uint64_t year = 2000 + v[5] - (v[4] <= 2), month = (v[4] + 9) % 12;
    uint64_t days =
        year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + v[3] - 1 - 719468;
    return days * 86400 + v[2] * 3600 + v[1] * 60 + v[0];
}

void clock_init(void)
{
    uint64_t khz = boot_params.tsc_khz;
    if (khz == 0)
        khz = tsc_khz_from_cpuid();
    if (khz == 0)
        khz = apic_measure_tsc_khz();
    ASSERT(khz >= 1000);
    tsc_khz = khz;
    clock_scale.tsc_start = boot_tsc;
    clock_scale.mult = (1000000ull << 32) / khz;
    ticks_per_ns = (khz << 32) / 1000000;
    uint64_t now = boot_params.epoch_ns;
    if (now == 0)
        now = cmos_seconds() * NS_PER_SEC;
    if (now != 0) // skerry.epoch is the time at the start, the battery clock's is that of now
        clock_scale.real_offset_ns = boot_params.epoch_ns != 0 ? now : now - clock_mono_ns();
}

uint64_t clock_mono_ns(void)
{
    // Not before what the CPU has read from others: their clocks must not seem ahead.
    __asm__ volatile("lfence" : : : "memory");
    unsigned __int128 ticks = rdtsc() - clock_scale.tsc_start;
    return (uint64_t)(ticks * clock_scale.mult >> 32);
}

uint64_t clock_real_ns(void)
{
    return clock_mono_ns() + clock_scale.real_offset_ns;
}

uint64_t clock_tsc_at(uint64_t mono_ns)
{
    unsigned __int128 ticks = (unsigned __int128)mono_ns * ticks_per_ns >> 32;
    return clock_scale.tsc_start + (uint64_t)ticks + 1;
}

uint64_t clock_tsc_khz(void)
{
    return tsc_khz;
}
