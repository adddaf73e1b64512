// SPDX-License-Identifier: Apache-2.0
#include "kernel/sched/stats.h"

#include "base/fmt.h"
#include "base/mem.h"
#include "kernel/arch/x86_64/asm.h"
#include "kernel/arch/x86_64/clock.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/sched/sched.h"

unsigned stats_cpus(void)
{
    return cpu_count;
}

uint64_t stats_cpu_busy_ns(void)
{
    uint64_t ns = 0;
    for (unsigned i = 0; i < cpu_count; i++)
        ns += sched_busy_ns(cpus[i]);
    return ns;
}

uint64_t stats_process_ns(struct process *p)
{
    spin_lock(&p->lock);
    uint64_t ns = p->exited_cpu_ns;
    LIST_FOR_EACH (node, &p->tasks)
        ns += task_cpu_ns(LIST_ENTRY(node, struct task, process_link));
    spin_unlock(&p->lock);
    return ns;
}

struct flag {
    uint8_t reg,
        bit; // 0: leaf 1 edx, 1: leaf 1 ecx, 2: leaf 7 ebx, 3: extended edx, 4: extended ecx
    const char *name;
};

/* Linux's names (arch/x86/include/asm/cpufeatures.h) of what a program may use here. */
static const struct flag flags[] = {
    {0, 0, "fpu"},      {0, 4, "tsc"},      {0, 5, "msr"},       {0, 8, "cx8"},
    {0, 15, "cmov"},    {0, 23, "mmx"},     {0, 24, "fxsr"},     {0, 25, "sse"},
    {0, 26, "sse2"},    {1, 0, "pni"},      {1, 1, "pclmulqdq"}, {1, 9, "ssse3"},
    {1, 12, "fma"},     {1, 13, "cx16"},    {1, 19, "sse4_1"},   {1, 20, "sse4_2"},
    {1, 22, "movbe"},   {1, 23, "popcnt"},  {1, 25, "aes"},      {1, 26, "xsave"},
    {1, 28, "avx"},     {1, 29, "f16c"},    {1, 30, "rdrand"},   {1, 31, "hypervisor"},
    {2, 0, "fsgsbase"}, {2, 3, "bmi1"},     {2, 5, "avx2"},      {2, 8, "bmi2"},
    {2, 9, "erms"},     {2, 16, "avx512f"}, {2, 18, "rdseed"},   {2, 19, "adx"},
    {2, 29, "sha_ni"},  {3, 11, "syscall"}, {3, 20, "nx"},       {3, 26, "pdpe1gb"},
    {3, 27, "rdtscp"},  {3, 29, "lm"},      {4, 0, "lahf_lm"},   {4, 5, "abm"},
};

size_t stats_cpu_text(char *to, size_t max)
{
    struct cpuid l0 = cpuid(0, 0), l1 = cpuid(1, 0), x1 = cpuid(0x80000001, 0);
    struct cpuid l7 = l0.a >= 7 ? cpuid(7, 0) : (struct cpuid){0};
    const uint32_t regs[] = {l1.d, l1.c, l7.b, x1.d, x1.c};
    char vendor[13] = {0};
    memcpy(vendor, &l0.b, 4);
    memcpy(vendor + 4, &l0.d, 4);
    memcpy(vendor + 8, &l0.c, 4);
    unsigned family = l1.a >> 8 & 15, model = l1.a >> 4 & 15;
    if (family == 6 || family == 15)
        model |= (l1.a >> 16 & 15) << 4;
    if (family == 15)
        family += l1.a >> 20 & 255;
    uint64_t khz = clock_tsc_khz();
    size_t n = fmt(to, max,
                   "vendor_id\t: %s\ncpu family\t: %u\nmodel\t\t: %u\nmodel name\t: %s\n"
                   "stepping\t: %u\ncpu MHz\t\t: %lu.%03lu\nflags\t\t:",
                   vendor, family, model, cpu_features.brand, l1.a & 15,
                   (unsigned long)(khz / 1000), (unsigned long)(khz % 1000));
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (regs[flags[i].reg] >> flags[i].bit & 1)
            n += fmt(n < max ? to + n : NULL, n < max ? max - n : 0, " %s", flags[i].name);
    n += fmt(n < max ? to + n : NULL, n < max ? max - n : 0, "\n");
    return MIN(n, max);
}
