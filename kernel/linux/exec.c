// SPDX-License-Identifier: Apache-2.0
/* The loader: segments, interpreter, stack with arguments and auxiliary vector. Linux 6.1
 * fs/binfmt_elf.c and the System V ABI, figure 3.9, say what the program finds. */
#include "kernel/linux/exec.h"

#include "base/errno.h"
#include "base/mem.h"
#include "kernel/arch/x86_64/asm.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/drivers/random.h"
#include "kernel/linux/elf.h"
#include "kernel/linux/process.h"
#include "kernel/linux/vdso.h"
#include "kernel/mm/space.h"
#include "kernel/mm/uaccess.h"
#include "kernel/vfs/file.h"
#include "kernel/vfs/vfs.h"

enum {
    STACK_FIRST_BYTES = 128 * 1024,
    STACK_LIMIT_BYTES = 8 << 20,
    STRINGS_MAX = STACK_LIMIT_BYTES / 4, // as Linux: a quarter of the stack
    INTERP_MAX = 4096,
    ALL = MM_READ | MM_WRITE | MM_EXEC,
};
static const uint64_t PIE_BASE = 0x555555554000, GIB = 1 << 30;

struct loaded {
    uint64_t bias;  // added to linked addresses
    uint64_t entry; // in memory
    uint64_t phdrs; // in memory, 0: none
    unsigned phdr_count;
    struct elf_image image;
    char interp[INTERP_MAX]; // "": none
};

struct exec_image { // too large for the kernel's stack
    struct loaded main, interp;
    struct file *file, *interp_file; // interp_file NULL: none is asked for
};

static uint64_t random_pages(uint64_t bytes)
{
    return random_u64() % (bytes / PAGE_SIZE) * PAGE_SIZE;
}

static int read_all(struct file *f, void *to, size_t n, uint64_t pos)
{
    int64_t got = file_read_kernel(f, to, n, pos);
    if (got < 0)
        return (int)got;
    return (size_t)got == n ? 0 : -ENOEXEC;
}

static int parse(struct file *f, struct loaded *l)
{
    uint8_t header[ELF_HEADER_BYTES];
    struct elf_header h;
    struct kstat st;
    int r = f->ops->stat(f, &st);
    if (r == 0)
        r = read_all(f, header, sizeof(header), 0);
    if (r == 0)
        r = elf_header_parse(header, sizeof(header), &h);
    if (r < 0)
        return r;
    size_t bytes = h.phdr_count * (size_t)ELF_PHDR_BYTES;
    uint8_t *phdrs = kmalloc(bytes);
    if (phdrs == NULL)
        return -ENOMEM;
    r = read_all(f, phdrs, bytes, h.phdr_offset);
    if (r == 0)
        r = elf_image_parse(&h, phdrs, bytes, st.size, &l->image);
    kfree(phdrs);
    if (r < 0)
        return r;
    l->phdr_count = h.phdr_count;
    l->entry = h.entry;
    l->bias = h.position_independent; // 1: to be chosen
    if (l->image.interp_bytes == 0)
        return 0;
    r = read_all(f, l->interp, l->image.interp_bytes, l->image.interp_offset);
    return r == 0 && l->interp[l->image.interp_bytes - 1] != '\0' ? -ENOEXEC : r;
}

static int map_segment(struct mm *mm, struct file *f, const struct elf_segment *s, uint64_t bias)
{
    const uint64_t page = PAGE_SIZE;
    uint64_t address = s->address + bias, start = ALIGN_DOWN(address, page), at;
    uint64_t file_end = address + s->file_bytes, memory_end = address + s->memory_bytes;
    uint64_t mapped_end = s->file_bytes > 0 ? ALIGN_UP(file_end, page) : start;
    if (mapped_end > start) {
        const struct map_request q = {.address = start,
                                      .bytes = mapped_end - start,
                                      .prot = s->prot,
                                      .max_prot = ALL,
                                      .fixed = true,
                                      .file = f,
                                      .offset = ALIGN_DOWN(s->offset, page)};
        int r = mm_map(mm, &q, &at);
        if (r < 0)
            return r;
        // What the file has behind the segment in its last page is not the program's.
        if (memory_end > file_end && (s->prot & MM_WRITE) && file_end < mapped_end &&
            clear_user(file_end, mapped_end - file_end) < 0)
            return -EFAULT;
    }
    if (ALIGN_UP(memory_end, page) <= mapped_end)
        return 0;
    const struct map_request q = {.address = mapped_end,
                                  .bytes = ALIGN_UP(memory_end, page) - mapped_end,
                                  .prot = s->prot,
                                  .max_prot = ALL,
                                  .fixed = true};
    return mm_map(mm, &q, &at);
}

/* Map a parsed file. place 0: anywhere (the interpreter). */
static int map_image(struct mm *mm, struct file *f, struct loaded *l, uint64_t place)
{
    const struct elf_image *i = &l->image;
    uint64_t at;
    struct map_request hold = {.bytes = i->end - i->start, .max_prot = ALL};
    hold.fixed = l->bias == 0 || place != 0;
    hold.address = l->bias == 0 ? i->start : place;
    hold.no_replace = hold.fixed;
    int r = mm_map(mm, &hold, &at); // reserve the whole span first
    if (r < 0)
        return r == -EEXIST || r == -EPERM ? -ENOMEM : r;
    l->bias = l->bias == 0 ? 0 : at - i->start;
    for (unsigned k = 0; k < i->segment_count; k++) {
        r = map_segment(mm, f, &i->segments[k], l->bias);
        if (r < 0)
            return r;
    }
    // Linux leaves nothing between segments; an access there must fault, and does: PROT_NONE.
    l->entry += l->bias;
    l->phdrs = i->phdr_address != 0 ? i->phdr_address + l->bias : 0;
    return 0;
}

struct stack {
    uint64_t sp;
    int error; // the first one
};

static uint64_t push(struct stack *s, const void *data, size_t bytes)
{
    s->sp -= bytes;
    if (s->error == 0)
        s->error = copy_to_user(s->sp, data, bytes);
    return s->sp;
}

static uint64_t push_string(struct stack *s, const char *text)
{
    return push(s, text, strlen(text) + 1);
}

/* Strings go first, at the top; *ret has their addresses. */
static void push_strings(struct stack *s, const char *const *text, unsigned count, uint64_t *ret)
{
    for (unsigned i = count; i-- > 0;)
        ret[i] = push_string(s, text[i]);
}

enum aux_type {
    AT_NULL = 0,
    AT_PHDR = 3,
    AT_PHENT = 4,
    AT_PHNUM = 5,
    AT_PAGESZ = 6,
    AT_BASE = 7,
    AT_FLAGS = 8,
    AT_ENTRY = 9,
    AT_UID = 11,
    AT_EUID = 12,
    AT_GID = 13,
    AT_EGID = 14,
    AT_PLATFORM = 15,
    AT_HWCAP = 16,
    AT_CLKTCK = 17,
    AT_SECURE = 23,
    AT_RANDOM = 25,
    AT_HWCAP2 = 26,
    AT_EXECFN = 31,
    AT_SYSINFO_EHDR = 33,
    AT_MINSIGSTKSZ = 51,
    HWCAP2_FSGSBASE = 2,
    SIGFRAME_BYTES = 440 + 8 + 64 + 128, // frame, alignment, red zone
};

static int build_stack(struct process *p, const struct program_spec *spec, const struct loaded *l,
                       const struct loaded *interp, uint64_t top, uint64_t vdso, uint64_t *ret_sp)
{
    uint64_t *strings = kmalloc((spec->argc + spec->envc) * sizeof(uint64_t) + 16);
    if (strings == NULL)
        return -ENOMEM;
    struct stack s = {.sp = top - 8};
    uint8_t random[16];
    random_bytes(random, sizeof(random));
    uint64_t execfn = push_string(&s, spec->path);
    p->env_end = s.sp;
    push_strings(&s, spec->envp, spec->envc, strings + spec->argc);
    p->env_start = p->arg_end = s.sp;
    push_strings(&s, spec->argv, spec->argc, strings);
    p->arg_start = s.sp;
    uint64_t platform = push_string(&s, "x86_64");
    s.sp = ALIGN_DOWN(s.sp, 16ull);
    uint64_t at_random = push(&s, random, sizeof(random));
    const struct creds *c = &p->creds;
    const uint64_t aux[][2] = {
        {AT_SYSINFO_EHDR, vdso},
        {AT_HWCAP, cpu_features.leaf1_edx},
        {AT_PAGESZ, PAGE_SIZE},
        {AT_CLKTCK, 100},
        {AT_PHDR, l->phdrs},
        {AT_PHENT, ELF_PHDR_BYTES},
        {AT_PHNUM, l->phdr_count},
        {AT_BASE, interp != NULL ? interp->bias : 0},
        {AT_FLAGS, 0},
        {AT_ENTRY, l->entry},
        {AT_UID, c->uid},
        {AT_EUID, c->euid},
        {AT_GID, c->gid},
        {AT_EGID, c->egid},
        {AT_SECURE, 0},
        {AT_RANDOM, at_random},
        {AT_HWCAP2, cpu_features.fsgsbase ? HWCAP2_FSGSBASE : 0},
        {AT_EXECFN, execfn},
        {AT_PLATFORM, platform},
        {AT_MINSIGSTKSZ, SIGFRAME_BYTES + cpu_features.fpu_bytes},
        {AT_NULL, 0},
    };
    size_t words = 1 + spec->argc + 1 + spec->envc + 1 + ARRAY_LEN(aux) * 2;
    s.sp -= words % 2 * 8; // rsp is a multiple of 16 at the entry
    const uint64_t zero = 0, argc = spec->argc;
    p->auxv_start = push(&s, aux, sizeof(aux));
    p->auxv_end = p->auxv_start + sizeof(aux);
    push(&s, &zero, 8);
    push(&s, strings + spec->argc, spec->envc * 8);
    push(&s, &zero, 8);
    push(&s, strings, spec->argc * 8);
    *ret_sp = push(&s, &argc, 8);
    kfree(strings);
    return s.error;
}

/* The stack, and the place below it where mappings go. */
static int make_stack(struct mm *mm, bool executable, uint64_t *ret_top)
{
    uint64_t top = USER_END - random_pages(16 * GIB), at;
    mm->stack_limit = STACK_LIMIT_BYTES;
    mm->map_top = top - STACK_LIMIT_BYTES - STACK_GUARD_BYTES - random_pages(16 * GIB);
    const struct map_request q = {.address = top - STACK_FIRST_BYTES,
                                  .bytes = STACK_FIRST_BYTES,
                                  .prot = MM_READ | MM_WRITE | (executable ? MM_EXEC : 0),
                                  .max_prot = ALL,
                                  .fixed = true,
                                  .grows_down = true,
                                  .name = "[stack]"};
    *ret_top = top;
    return mm_map(mm, &q, &at);
}

static size_t strings_bytes(const struct program_spec *spec)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < spec->argc; i++)
        bytes += strlen(spec->argv[i]) + 1 + sizeof(uint64_t);
    for (unsigned i = 0; i < spec->envc; i++)
        bytes += strlen(spec->envp[i]) + 1 + sizeof(uint64_t);
    return bytes;
}

static int open_interp(struct exec_image *x)
{
    int r = vfs_open(x->main.interp, FILE_NONBLOCK, 0, &x->interp_file);
    if (r < 0)
        return r;
    r = file_claim_exec(x->interp_file);
    if (r == 0)
        r = parse(x->interp_file, &x->interp);
    return r == -ENOEXEC ? -ELIBBAD : r;
}

int exec_open(struct file *f, struct exec_image **ret, const char **ret_why)
{
    struct exec_image *x = kzalloc(sizeof(*x));
    *ret_why = "out of memory";
    if (x == NULL)
        return -ENOMEM;
    *ret_why = "cannot load the program";
    x->file = file_get(f);
    int r = parse(f, &x->main);
    if (r == 0 && x->main.interp[0] != '\0') {
        *ret_why = "cannot load the program's interpreter (ld.so)";
        r = open_interp(x);
    }
    if (r < 0)
        exec_close(x);
    else
        *ret = x;
    return r;
}

void exec_close(struct exec_image *x)
{
    if (x == NULL)
        return;
    file_put(x->file);
    file_put(x->interp_file);
    kfree(x);
}

int exec_map(struct process *p, const struct program_spec *spec, struct exec_image *x,
             struct regs *ret_regs, const char **ret_why)
{
    struct mm *mm = p->mm;
    struct loaded *l = &x->main, *interp = x->interp_file != NULL ? &x->interp : NULL;
    uint64_t top, sp, vdso;
    *ret_why = "arguments and environment too long";
    if (strings_bytes(spec) > STRINGS_MAX)
        return -E2BIG;
    *ret_why = "cannot load the program";
    int r = map_image(mm, x->file, l, PIE_BASE + random_pages(GIB));
    if (r < 0)
        return r;
    mm->brk_start = mm->brk = l->image.end + l->bias + random_pages(GIB / 32);
    *ret_why = "cannot make the stack";
    r = make_stack(mm, l->image.executable_stack && mm_anonymous_exec, &top);
    if (r < 0)
        return r;
    *ret_why = "cannot load the program's interpreter (ld.so)";
    if (interp != NULL && (r = map_image(mm, x->interp_file, interp, 0)) < 0)
        return r;
    *ret_why = "cannot build the stack";
    r = vdso_map(mm, &vdso);
    if (r == 0)
        r = build_stack(p, spec, l, interp, top, vdso, &sp);
    if (r < 0)
        return r;
    const char *path = file_path(x->file);
    spin_lock(&p->lock);
    memset(p->exe_path, 0, sizeof(p->exe_path));
    memcpy(p->exe_path, path, strnlen(path, sizeof(p->exe_path) - 1));
    spin_unlock(&p->lock);
    *ret_regs = (struct regs){.rip = interp != NULL ? interp->entry : l->entry,
                              .rsp = sp,
                              .cs = SEL_USER_CODE,
                              .ss = SEL_USER_DATA,
                              .rflags = RFLAGS_IF | 2};
    return 0;
}

int exec_load(struct process *p, const struct program_spec *spec, struct regs *ret_regs,
              const char **ret_why)
{
    struct exec_image *x;
    struct file *f;
    *ret_why = "cannot load the program";
    int r = vfs_open(spec->path, 0, 0, &f);
    if (r < 0)
        return r;
    r = file_claim_exec(f);
    if (r == 0)
        r = exec_open(f, &x, ret_why);
    file_put(f);
    if (r < 0)
        return r;
    r = exec_map(p, spec, x, ret_regs, ret_why);
    exec_close(x);
    return r;
}
