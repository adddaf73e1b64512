// SPDX-License-Identifier: Apache-2.0
#include "kernel/boot/trial.h"

#include "base/mem.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/layout.h"

/* Goes on for ever, as far as the compiler can tell. */
__attribute__((noipa)) static uint64_t deep(uint64_t n)
{
    volatile uint8_t frame[512];
    frame[n % sizeof(frame)] = (uint8_t)n;
    return n == UINT64_MAX ? 0 : deep(n + 1) + frame[n % sizeof(frame)];
}

static void stack_overflow(void)
{
    deep(0);
}

__attribute__((noipa)) static void fill(char *to, size_t n)
{
    memset(to, 'x', n);
}

static void frame_overrun(void)
{
    char line[16];
    fill(line, sizeof(line) + 16);
}

static void null_pointer(void)
{
    volatile uint64_t at = 8;
    *(volatile uint64_t *)at = 1;
}

static void text_write(void)
{
    *(volatile uint8_t *)kernel_start = 0;
}

/* The same text through the direct map. */
static void text_write_direct(void)
{
    *(volatile uint8_t *)virt_of(IMAGE_PHYS) = 0;
}

static void rodata_write(void)
{
    *(volatile uint8_t *)rodata_start = 0;
}

static void data_run(void)
{
    static uint8_t code[] = {0xc3}; // ret
    ((void (*)(void))(uintptr_t)code)();
}

static void assertion(void)
{
    ASSERT(virt_of(0) == NULL);
}

static const struct {
    const char *name;
    void (*run)(void);
} trials[] = {
    {"stack", stack_overflow},
    {"frame", frame_overrun},
    {"null", null_pointer},
    {"text", text_write},
    {"text-direct", text_write_direct},
    {"rodata", rodata_write},
    {"run-data", data_run},
    {"assert", assertion},
};

bool trial_run(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(trials); i++) {
        if (strcmp(trials[i].name, name) == 0)
            trials[i].run();
    }
    return false;
}
