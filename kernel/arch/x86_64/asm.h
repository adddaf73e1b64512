// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Single instructions that C has no words for. Intel SDM volume 2 by their names. */
#include "base/base.h"

enum { // model-specific registers, SDM volume 4
    MSR_APIC_BASE = 0x1b,
    MSR_TSC_DEADLINE = 0x6e0,
    MSR_EFER = 0xc0000080,
    MSR_STAR = 0xc0000081,
    MSR_LSTAR = 0xc0000082,
    MSR_SFMASK = 0xc0000084,
    MSR_FS_BASE = 0xc0000100,
    MSR_GS_BASE = 0xc0000101,
    MSR_KERNEL_GS_BASE = 0xc0000102,
    MSR_TSC_AUX = 0xc0000103,
};

enum {
    RFLAGS_CF = 1 << 0,
    RFLAGS_TF = 1 << 8,
    RFLAGS_IF = 1 << 9,
    RFLAGS_DF = 1 << 10,
    RFLAGS_NT = 1 << 14,
    RFLAGS_RF = 1 << 16,
    RFLAGS_AC = 1 << 18,
};

static inline void outb(uint16_t port, uint8_t v)
{
    __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
    uint8_t v;
    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static inline void outl(uint16_t port, uint32_t v)
{
    __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port));
}

static inline uint32_t inl(uint16_t port)
{
    uint32_t v;
    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

// Device registers: one access of just this width.
static inline uint8_t mmio_read8(const volatile uint8_t *at)
{
    return *(const volatile uint8_t *)(const volatile void *)at;
}

static inline void mmio_write8(volatile uint8_t *at, uint8_t v)
{
    *(volatile uint8_t *)(volatile void *)at = v;
}

static inline uint16_t mmio_read16(const volatile uint8_t *at)
{
    return *(const volatile uint16_t *)(const volatile void *)at;
}

static inline void mmio_write16(volatile uint8_t *at, uint16_t v)
{
    *(volatile uint16_t *)(volatile void *)at = v;
}

static inline uint32_t mmio_read32(const volatile uint8_t *at)
{
    return *(const volatile uint32_t *)(const volatile void *)at;
}

static inline void mmio_write32(volatile uint8_t *at, uint32_t v)
{
    *(volatile uint32_t *)(volatile void *)at = v;
}

static inline void wrmsr(uint32_t msr, uint64_t v)
{
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}

static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t lo, hi;
    __asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
    return (uint64_t)hi << 32 | lo;
}

static inline uint64_t rdtsc(void)
{
    uint32_t lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
    return (uint64_t)hi << 32 | lo;
}

struct cpuid {
    uint32_t a, b, c, d;
};

static inline struct cpuid cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid r;
    __asm__ volatile("cpuid"
                     : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d)
                     : "a"(leaf), "c"(subleaf));
    return r;
}

#define CR_ACCESS(n)                                                                               \
    static inline uint64_t read_cr##n(void)                                                        \
    {                                                                                              \
        uint64_t v;                                                                                \
        __asm__ volatile("mov %%cr" #n ", %0" : "=r"(v));                                          \
        return v;                                                                                  \
    }                                                                                              \
    static inline void write_cr##n(uint64_t v)                                                     \
    {                                                                                              \
        __asm__ volatile("mov %0, %%cr" #n : : "r"(v) : "memory");                                 \
    }
CR_ACCESS(0)
CR_ACCESS(2)
CR_ACCESS(3)
CR_ACCESS(4)
#undef CR_ACCESS

static inline void invlpg(uint64_t address)
{
    __asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
}

static inline uint64_t irq_save(void)
{
    uint64_t flags;
    __asm__ volatile("pushfq; popq %0; cli" : "=r"(flags) : : "memory");
    return flags;
}

static inline void irq_restore(uint64_t flags)
{
    if (flags & RFLAGS_IF)
        __asm__ volatile("sti" : : : "memory");
}

static inline void irq_off(void)
{
    __asm__ volatile("cli" : : : "memory");
}

static inline void irq_on(void)
{
    __asm__ volatile("sti" : : : "memory");
}

static inline void cpu_relax(void)
{
    __asm__ volatile("pause" : : : "memory");
}

static inline uint64_t rdfsbase(void)
{
    uint64_t v;
    __asm__ volatile("rdfsbase %0" : "=r"(v));
    return v;
}

static inline void wrfsbase(uint64_t v)
{
    __asm__ volatile("wrfsbase %0" : : "r"(v));
}

/* User access window (SMAP). The bytes are a 3-byte NOP until cpu_init finds SMAP and writes stac
 * or clac over them; the places are listed in .smap_patch as pairs (how far from here, is clac). */
#define SMAP_NOP_AND_NOTE(is_clac)                                                                 \
    "1: .byte 0x0f, 0x1f, 0x00\n"                                                                  \
    ".pushsection .smap_patch, \"a\"\n"                                                            \
    ".long 1b - ., " #is_clac "\n"                                                                 \
    ".popsection\n"

static inline void user_access_begin(void)
{
    __asm__ volatile(SMAP_NOP_AND_NOTE(0) : : : "memory");
}

static inline void user_access_end(void)
{
    __asm__ volatile(SMAP_NOP_AND_NOTE(1) : : : "memory");
}
