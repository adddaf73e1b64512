// SPDX-License-Identifier: Apache-2.0
/* From the first C instruction to the program's first. The order matters: console, memory map and
 * command line need nothing; the CPU needs no memory; allocation needs the final map; devices need
 * threads. */
#include "abi/boot.h"
#include "base/errno.h"
#include "base/mem.h"
#include "kernel/arch/x86_64/apic.h"
#include "kernel/arch/x86_64/asm.h"
#include "kernel/arch/x86_64/clock.h"
#include "kernel/arch/x86_64/console.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/machine.h"
#include "kernel/arch/x86_64/pt.h"
#include "kernel/arch/x86_64/smp.h"
#include "kernel/boot/manifest.h"
#include "kernel/boot/memory.h"
#include "kernel/boot/params.h"
#include "kernel/boot/trial.h"
#include "kernel/drivers/block.h"
#include "kernel/linux/process.h"
#include "kernel/main.h"
#include "kernel/mm/init.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/space.h"
#include "kernel/sched/sched.h"
#include "kernel/vfs/vfs.h"

struct boot_params boot_params;
static struct cpu boot_cpu __attribute__((aligned(64)));

/* n bytes of the disk from a byte offset, both any; kmalloc'ed. NULL: cannot be read. */
static char *disk_read(struct block_dev *dev, uint64_t offset, size_t n)
{
    uint64_t first = ALIGN_DOWN(offset, (uint64_t)BLOCK_SECTOR);
    size_t bytes = ALIGN_UP(n + (offset - first), (size_t)BLOCK_SECTOR);
    unsigned order = 0;
    while (((size_t)PAGE_SIZE << order) < bytes)
        order++;
    struct page *p = page_alloc(order);
    char *copy = p != NULL ? kmalloc(n) : NULL;
    if (copy == NULL) {
        if (p != NULL)
            page_put(p);
        return NULL;
    }
    struct block_req req = {.offset = first,
                            .segs = {{.phys = page_phys(p), .bytes = (uint32_t)bytes}},
                            .seg_count = 1};
    int r = block_read(dev, &req);
    memcpy(copy, (char *)page_virt(p) + (offset - first), n);
    page_put(p);
    if (r == 0)
        return copy;
    kfree(copy);
    return NULL;
}

/* What to run, from the image's manifest. */
static void manifest_load(struct block_dev *dev, struct image_header *ret_header,
                          struct manifest *ret)
{
    char *bytes = disk_read(dev, 0, sizeof(*ret_header));
    if (bytes == NULL)
        panic("cannot read the disk");
    memcpy(ret_header, bytes, sizeof(*ret_header));
    kfree(bytes);
    if (image_header_check(ret_header, dev->bytes) < 0)
        panic("the first disk is not a skerry image");
    _Static_assert(IMAGE_MANIFEST_MAX <= 256 * 1024, "disk_read: one block of pages");
    bytes = disk_read(dev, ret_header->manifest_offset, ret_header->manifest_bytes);
    if (bytes == NULL || manifest_parse(ret_header, bytes, ret) < 0)
        panic("the image's manifest is damaged");
}

/* Without a disk: the boot module is the program itself, alone in an empty root. */
static void module_load(struct manifest *ret)
{
    uint64_t bytes = boot_memory.module_end - boot_memory.module_start;
    if (bytes == 0)
        panic("nothing to run: no disk and no module");
    int r = vfs_write_file("/program", virt_of(boot_memory.module_start), bytes, 0755);
    if (r < 0)
        panic("cannot store the module: error %d", -r);
    *ret = (struct manifest){.program = "/program", .cwd = "/", .argc = 1, .argv = {"/program"}};
}

static void add_params(struct manifest *m)
{
    const struct boot_params *p = &boot_params;
    if (m->argc + p->arg_count > IMAGE_ARGS_MAX || m->envc + p->env_count > IMAGE_ENVS_MAX)
        panic("too many arguments or environment strings");
    for (unsigned i = 0; i < p->arg_count; i++)
        m->argv[m->argc++] = p->args[i];
    for (unsigned i = 0; i < p->env_count; i++) { // replaces one of the same name
        size_t name = (size_t)(strchr(p->env[i], '=') - p->env[i]) + 1;
        unsigned at = 0;
        while (at < m->envc && strncmp(m->envp[at], p->env[i], name) != 0)
            at++;
        m->envp[at] = p->env[i];
        m->envc += at == m->envc;
    }
}

/* The rest of the start, as a thread: it sleeps for the disk. */
static void start_program(UNUSED void *ctx)
{
    static struct manifest m;
    struct image_header header = {0};
    console_input_init();
    if (boot_params.trial != NULL && !trial_run(boot_params.trial))
        panic("no such trial: '%s'", boot_params.trial);
    virtio_probe();
    struct block_dev *dev = block_dev_get(0);
    if (dev != NULL)
        manifest_load(dev, &header, &m);
    int r = vfs_init(dev, header.erofs_bytes);
    if (r < 0)
        panic("cannot mount the root: error %d", -r);
    if (dev == NULL)
        module_load(&m);
    else if (!boot_params.written_exec)
        exec_rule_start();
    mm_anonymous_exec = !boot_params.no_anonymous_exec;
    socket_init();
    add_params(&m);
    const struct program_spec spec = {.path = m.program,
                                      .cwd = m.cwd,
                                      .argv = m.argv,
                                      .argc = m.argc,
                                      .envp = m.envp,
                                      .envc = m.envc};
    smp_wait();
    const char *why;
    r = process_start(&spec, &why);
    if (r < 0)
        panic("%s: %s (error %d)", m.program, why, -r);
}

void kernel_main(uint32_t start_info_phys)
{
    const char *bad;
    console_init();
    boot_memory_init(start_info_phys);
    int r = params_parse(boot_cmdline, &boot_params, &bad);
    if (r < 0)
        panic("command line: cannot understand '%s'", bad);
    cpu_init(&boot_cpu, 0, boot_params.trace);
    sched_init_cpu(&boot_cpu);
    kmap_init();
    page_init();
    cpu_ist_init(&boot_cpu);
    apic_init();
    apic_init_cpu();
    clock_init();
    timers_init(&boot_cpu);
    smp_start(boot_params.cpus);
    r = kthread_start("start", start_program, NULL);
    if (r < 0)
        panic("out of memory at start");
    irq_on();
    sched_idle();
}
