// SPDX-License-Identifier: Apache-2.0
#include "kernel/linux/vdso.h"

#include "base/errno.h"
#include "base/mem.h"
#include "kernel/arch/x86_64/clock.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/mm/space.h"
#include "kernel/vdso/data.h"

enum { PAGES_MAX = 4 };
static struct page *data_page, *code[PAGES_MAX]; // made for the first program, immutable then
static unsigned code_count;

/* Copies that can be mapped: the kernel's own read-only data stays the kernel's. */
static int make_pages(void)
{
    code_count = vdso_image_bytes / PAGE_SIZE;
    ASSERT(code_count <= PAGES_MAX);
    struct page *p = page_alloc_zero(0);
    if (p == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < code_count; i++) {
        code[i] = page_alloc(0);
        if (code[i] == NULL)
            return -ENOMEM;
        memcpy(page_virt(code[i]), vdso_image + i * PAGE_SIZE, PAGE_SIZE);
    }
    *(struct vdso_data *)page_virt(p) =
        (struct vdso_data){.tsc_start = clock_scale.tsc_start,
                           .mult = clock_scale.mult,
                           .real_offset_ns = clock_scale.real_offset_ns,
                           .has_rdtscp = cpu_features.rdtscp};
    data_page = p;
    return 0;
}

int vdso_map(struct mm *mm, uint64_t *ret_address)
{
    int r = data_page == NULL ? make_pages() : 0;
    if (r < 0)
        return r;
    const struct map_request whole = {.bytes = (code_count + 1) * (uint64_t)PAGE_SIZE,
                                      .prot = MM_READ,
                                      .max_prot = MM_READ,
                                      .name = "[vvar]"};
    uint64_t at, ignored;
    r = mm_map(mm, &whole, &at);
    if (r < 0)
        return r;
    const struct map_request text = {.address = at + PAGE_SIZE,
                                     .bytes = code_count * (uint64_t)PAGE_SIZE,
                                     .prot = MM_READ | MM_EXEC,
                                     .max_prot = MM_READ | MM_EXEC,
                                     .fixed = true,
                                     .name = "[vdso]"};
    r = mm_map(mm, &text, &ignored);
    if (r == 0)
        r = mm_install_page(mm, at, data_page);
    for (unsigned i = 0; r == 0 && i < code_count; i++)
        r = mm_install_page(mm, at + (i + 1) * (uint64_t)PAGE_SIZE, code[i]);
    *ret_address = at + PAGE_SIZE;
    return r;
}
