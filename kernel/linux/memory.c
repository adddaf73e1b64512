// SPDX-License-Identifier: Apache-2.0
/* mmap & co: decode as Linux 6.1 mm/ does, then act through mm/space.h. */
#include "base/errno.h"
#include "kernel/linux/identity.h"
#include "kernel/linux/limits.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/space.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/task.h"
#include "kernel/vfs/fd.h"
#include "kernel/vfs/vfs.h"

enum {
    MAP_SHARED = 1,
    MAP_PRIVATE = 2,
    MAP_SHARED_VALIDATE = 3,
    MAP_TYPE = 0xf,
    MAP_FIXED = 0x10,
    MAP_ANONYMOUS = 0x20,
    MAP_32BIT = 0x40,
    MAP_GROWSDOWN = 0x100,
    MAP_DENYWRITE = 0x800,
    MAP_EXECUTABLE = 0x1000,
    MAP_LOCKED = 0x2000,
    MAP_NORESERVE = 0x4000,
    MAP_POPULATE = 0x8000,
    MAP_NONBLOCK = 0x10000,
    MAP_STACK = 0x20000,
    MAP_HUGETLB = 0x40000,
    MAP_FIXED_NOREPLACE = 0x100000,
    MAP_VALIDATED = 0x100fff | MAP_EXECUTABLE | MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE |
                    MAP_NONBLOCK | MAP_STACK,
    PROT_ALL = MM_READ | MM_WRITE | MM_EXEC,
};

static struct mm *my_mm(void)
{
    return current()->process->mm;
}

/* A range given by address and length: false when it is not whole pages in the user half. */
static bool range_of(uint64_t address, uint64_t length, uint64_t *ret_end)
{
    uint64_t bytes = ALIGN_UP(length, (uint64_t)PAGE_SIZE);
    if (address % PAGE_SIZE != 0 || bytes < length || address > USER_END ||
        bytes > USER_END - address)
        return false;
    *ret_end = address + bytes;
    return true;
}

/* What a file allows: Linux do_mmap. */
static int check_file(const struct file *f, struct map_request *q)
{
    uint32_t mode = __atomic_load_n(&f->flags, __ATOMIC_RELAXED) & (FILE_WRONLY | FILE_RDWR);
    if (mode == FILE_WRONLY)
        return -EACCES;
    if (q->shared && mode != FILE_RDWR) {
        q->max_prot &= (uint8_t)~MM_WRITE;
        if (q->prot & MM_WRITE)
            return -EACCES;
    }
    if (q->shared && UNLIKELY(file_seals(f) & SEAL_FUTURE_WRITE)) { // Linux seal_check_future_write
        q->max_prot &= (uint8_t)~MM_WRITE;
        if (q->prot & MM_WRITE)
            return -EPERM;
    }
    return 0;
}

static int map_file(int fd, struct map_request *q, uint64_t *ret_at)
{
    struct file *f = fd_get_io(fd);
    if (f == NULL)
        return -EBADF;
    int r = check_file(f, q);
    if (r == 0 && f->ops->get_page == file_no_page)
        r = -ENODEV;
    q->file = f;
    if (r == 0 && (q->prot & MM_EXEC))
        r = (q->prot & MM_WRITE) && !mm_anonymous_exec ? -EACCES : file_claim_exec(f);
    if (r == 0)
        r = mm_map(my_mm(), q, ret_at);
    file_put(f);
    return r;
}

/* Shared memory without a file lies in one that has no name, so that children find it too. */
static int map_anonymous(struct map_request *q, uint64_t *ret_at)
{
    struct file *f = NULL;
    q->offset = 0;
    if ((q->prot & MM_EXEC) && !mm_anonymous_exec)
        return -EACCES;
    int r = q->shared ? vfs_memory_file("dev/zero", q->bytes, &f) : 0;
    if (r < 0)
        return r;
    if (f != NULL)
        q->name = "/dev/zero (deleted)"; // as Linux shmem_zero_setup
    q->file = f;
    r = mm_map(my_mm(), q, ret_at);
    file_put(f);
    return r;
}

int64_t sys_mmap(const uint64_t arg[static 6])
{
    uint64_t flags = arg[3], type = flags & MAP_TYPE, at;
    if (arg[5] % PAGE_SIZE != 0 || arg[1] == 0)
        return -EINVAL;
    if (type != MAP_SHARED && type != MAP_PRIVATE && type != MAP_SHARED_VALIDATE)
        return -EINVAL;
    if (type == MAP_SHARED_VALIDATE && (flags & ~(uint64_t)MAP_VALIDATED))
        return -EOPNOTSUPP;
    if (flags & MAP_HUGETLB)
        return -ENOMEM; // no pool of huge pages
    struct map_request q = {.address = arg[0],
                            .bytes = ALIGN_UP(arg[1], (uint64_t)PAGE_SIZE),
                            .prot = arg[2] & PROT_ALL,
                            .max_prot = PROT_ALL,
                            .fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE),
                            .no_replace = flags & MAP_FIXED_NOREPLACE,
                            .shared = type != MAP_PRIVATE,
                            .grows_down = flags & MAP_GROWSDOWN,
                            .low_2gib = flags & MAP_32BIT,
                            .offset = arg[5]};
    if (q.bytes == 0 || q.bytes > USER_END)
        return -ENOMEM;
    if (q.fixed && q.address % PAGE_SIZE != 0)
        return -EINVAL;
    q.address = ALIGN_UP(q.address, (uint64_t)PAGE_SIZE);
    int r;
    if (flags & MAP_ANONYMOUS)
        r = map_anonymous(&q, &at);
    else
        r = q.offset + q.bytes < q.offset ? -EOVERFLOW : map_file((int)arg[4], &q, &at);
    if (r < 0)
        return r;
    if (((flags & MAP_POPULATE) && !(flags & MAP_NONBLOCK)) || (flags & MAP_LOCKED) ||
        UNLIKELY(my_mm()->populate_new))
        (void)!mm_populate(my_mm(), at, at + q.bytes,
                           POPULATE_ALL); // as Linux: what fails, faults later
    return (int64_t)at;
}

int64_t sys_munmap(const uint64_t arg[static 6])
{
    uint64_t end;
    if (arg[1] == 0 || !range_of(arg[0], arg[1], &end))
        return -EINVAL;
    return mm_unmap(my_mm(), arg[0], end);
}

int64_t sys_mprotect(const uint64_t arg[static 6])
{
    uint64_t end;
    if (arg[0] % PAGE_SIZE != 0 || (arg[2] & ~(uint64_t)PROT_ALL)) // PROT_GROWS*: not supported
        return -EINVAL;
    if (arg[1] == 0)
        return 0;
    if (!range_of(arg[0], arg[1], &end))
        return -ENOMEM;
    return mm_protect(my_mm(), arg[0], end, (uint8_t)arg[2]);
}

int64_t sys_brk(const uint64_t arg[static 6])
{
    const uint64_t old = UNLIKELY(my_mm()->populate_new) ? mm_brk(my_mm(), 0) : UINT64_MAX;
    const uint64_t now = mm_brk(my_mm(), arg[0]);
    if (UNLIKELY(now > old))
        (void)!mm_populate(my_mm(), ALIGN_UP(old, (uint64_t)PAGE_SIZE),
                           ALIGN_UP(now, (uint64_t)PAGE_SIZE), POPULATE_ALL);
    return (int64_t)now;
}

/* Linux 6.1 mm/mremap.c: sys_mremap, then mremap_to. */
int64_t sys_mremap(const uint64_t arg[static 6])
{
    enum { MAYMOVE = 1, FIXED = 2, DONTUNMAP = 4 };
    uint64_t flags = arg[3], at;
    struct remap_request q = {.old = arg[0],
                              .old_bytes = ALIGN_UP(arg[1], (uint64_t)PAGE_SIZE),
                              .new_bytes = ALIGN_UP(arg[2], (uint64_t)PAGE_SIZE),
                              .to = flags & (FIXED | DONTUNMAP) ? arg[4] : 0,
                              .may_move = flags & MAYMOVE,
                              .fixed = flags & FIXED,
                              .keep = flags & DONTUNMAP};
    if ((flags & ~(uint64_t)(MAYMOVE | FIXED | DONTUNMAP)) || ((flags & FIXED) && !q.may_move) ||
        (q.keep && (!q.may_move || arg[1] != arg[2])) || q.old % PAGE_SIZE != 0 || q.new_bytes == 0)
        return -EINVAL;
    if (q.old > USER_END || q.old_bytes > USER_END - q.old)
        return -EFAULT;
    if ((q.fixed || q.keep) &&
        (q.to % PAGE_SIZE != 0 || q.new_bytes > USER_END || q.to > USER_END - q.new_bytes ||
         (q.to < q.old + q.old_bytes && q.old < q.to + q.new_bytes)))
        return -EINVAL;
    if (q.fixed && q.to < USER_MIN)
        return -EPERM;
    int r = mm_remap(my_mm(), &q, &at);
    return r < 0 ? r : (int64_t)at;
}

enum { // madvise(2)
    MADV_NORMAL,
    MADV_RANDOM,
    MADV_SEQUENTIAL,
    MADV_WILLNEED,
    MADV_DONTNEED,
    MADV_FREE = 8,
    MADV_DONTFORK = 10,
    MADV_DOFORK = 11,
    MADV_DONTDUMP = 16,
    MADV_DODUMP = 17,
    MADV_WIPEONFORK = 18,
    MADV_KEEPONFORK = 19,
    MADV_COLD = 20,
    MADV_PAGEOUT = 21,
    MADV_POPULATE_READ = 22,
    MADV_POPULATE_WRITE = 23,
    MADV_DONTNEED_LOCKED = 24,
};

static int advise(struct mm *mm, uint64_t start, uint64_t end, int advice)
{
    switch (advice) {
    case MADV_FREE: // Linux may keep the pages until memory is short: either is allowed
        return mm_discard(mm, start, end, true);
    case MADV_DONTNEED:
    case MADV_DONTNEED_LOCKED:
        return mm_discard(mm, start, end, false);
    case MADV_POPULATE_READ:
        return mm_populate(mm, start, end, POPULATE_READ);
    case MADV_POPULATE_WRITE:
        return mm_populate(mm, start, end, POPULATE_WRITE);
    case MADV_DONTFORK:
        return mm_advise_fork(mm, start, end, FORK_NOT, 0);
    case MADV_DOFORK:
        return mm_advise_fork(mm, start, end, 0, FORK_NOT);
    case MADV_WIPEONFORK:
        return mm_advise_fork(mm, start, end, FORK_WIPE, 0);
    case MADV_KEEPONFORK:
        return mm_advise_fork(mm, start, end, 0, FORK_WIPE);
    default: // hints about reading ahead and dumps: nothing to change here
        return mm_check_mapped(mm, start, end);
    }
}

static bool advice_known(int advice)
{
    switch (advice) {
    case MADV_NORMAL:
    case MADV_RANDOM:
    case MADV_SEQUENTIAL:
    case MADV_WILLNEED:
    case MADV_DONTNEED:
    case MADV_FREE:
    case MADV_DONTFORK:
    case MADV_DOFORK:
    case MADV_DONTDUMP:
    case MADV_DODUMP:
    case MADV_WIPEONFORK:
    case MADV_KEEPONFORK:
    case MADV_COLD:
    case MADV_PAGEOUT:
    case MADV_POPULATE_READ:
    case MADV_POPULATE_WRITE:
    case MADV_DONTNEED_LOCKED:
        return true;
    default: // huge pages among others: as a Linux built without them
        return false;
    }
}

int64_t sys_madvise(const uint64_t arg[static 6])
{
    uint64_t end;
    int advice = (int)arg[2];
    if (!advice_known(advice) || !range_of(arg[0], arg[1], &end))
        return -EINVAL;
    return arg[0] == end ? 0 : advise(my_mm(), arg[0], end, advice);
}

int64_t sys_msync(const uint64_t arg[static 6])
{
    enum { ASYNC = 1, INVALIDATE = 2, SYNC = 4 };
    uint64_t end;
    if ((arg[2] & ~(uint64_t)(ASYNC | INVALIDATE | SYNC)) ||
        (arg[2] & (ASYNC | SYNC)) == (ASYNC | SYNC) || arg[0] % PAGE_SIZE != 0)
        return -EINVAL;
    // Shared writable mappings are of memory files: there is nothing behind to write to.
    if (!range_of(arg[0], arg[1], &end))
        return -ENOMEM;
    return end == arg[0] || mm_is_mapped(my_mm(), arg[0], end) ? 0 : -ENOMEM;
}

/* Linux can_do_mlock, and the limit for `bytes` at once: what is locked already is not counted. */
static int may_lock(uint64_t bytes)
{
    const uint64_t limit = rlimit_of(current()->process, RLIMIT_MEMLOCK).soft;
    if (limit == UINT64_MAX || capable(CAP_IPC_LOCK))
        return 0;
    return limit == 0 ? -EPERM : bytes > limit ? -ENOMEM : 0;
}

/* Nothing is ever paged out: present is locked. */
static int64_t lock_range(const uint64_t arg[static 6], bool on_fault)
{
    uint64_t start = ALIGN_DOWN(arg[0], (uint64_t)PAGE_SIZE), end;
    int r = may_lock(ALIGN_UP(arg[1] + (arg[0] - start), (uint64_t)PAGE_SIZE));
    if (r < 0)
        return r;
    if (!range_of(start, arg[1] + (arg[0] - start), &end))
        return -EINVAL;
    if (start == end)
        return 0;
    if (!mm_is_mapped(my_mm(), start, end))
        return -ENOMEM;
    if (on_fault)
        return 0;
    r = mm_populate(my_mm(), start, end, POPULATE_ALL);
    return r == -EFAULT ? -ENOMEM : r;
}

int64_t sys_mlock(const uint64_t arg[static 6])
{
    return lock_range(arg, false);
}

int64_t sys_mlock2(const uint64_t arg[static 6])
{
    enum { ONFAULT = 1 };
    return arg[2] & UINT32_MAX & ~(uint64_t)ONFAULT ? -EINVAL : lock_range(arg, arg[2] & ONFAULT);
}

int64_t sys_munlock(const uint64_t arg[static 6])
{
    uint64_t start = ALIGN_DOWN(arg[0], (uint64_t)PAGE_SIZE), end;
    if (!range_of(start, arg[1] + (arg[0] - start), &end))
        return -EINVAL;
    return start == end || mm_is_mapped(my_mm(), start, end) ? 0 : -ENOMEM;
}

static int populate_one(const struct vma_info *v, void *ctx)
{
    uint64_t *range = ctx; // the first mapping behind range[0]
    if (v->end <= range[0])
        return 0;
    range[0] = v->start;
    range[1] = v->end;
    return 1;
}

int64_t sys_mlockall(const uint64_t arg[static 6])
{
    enum { CURRENT = 1, FUTURE = 2, ONFAULT = 4 };
    const uint32_t flags = (uint32_t)arg[0];
    struct mm *mm = my_mm();
    if (flags == 0 || flags == ONFAULT || (flags & ~(uint32_t)(CURRENT | FUTURE | ONFAULT)))
        return -EINVAL;
    struct mm_stats s;
    mm_stats_get(mm, &s);
    int r = may_lock(flags & CURRENT ? s.virtual_bytes : 0);
    if (r < 0)
        return r;
    mm->populate_new = (flags & FUTURE) && !(flags & ONFAULT);
    if (!(flags & CURRENT) || (flags & ONFAULT))
        return 0;
    for (uint64_t range[2] = {0, 0}; mm_for_each(mm, populate_one, range) != 0; range[0] = range[1])
        (void)!mm_populate(mm, range[0], range[1], POPULATE_ALL); // as Linux: errors do not count
    return 0;
}

int64_t sys_munlockall(UNUSED const uint64_t arg[static 6])
{
    my_mm()->populate_new = false;
    return 0;
}

/* Linux 6.1 mm/mincore.c. */
int64_t sys_mincore(const uint64_t arg[static 6])
{
    enum { CHUNK = 256 };
    uint8_t present[CHUNK];
    uint64_t at = arg[0], end, to = arg[2];
    if (at % PAGE_SIZE != 0)
        return -EINVAL;
    if (!range_of(at, arg[1], &end))
        return -ENOMEM;
    if (!user_range_ok(to, (end - at) >> PAGE_SHIFT))
        return -EFAULT;
    while (at < end) {
        const uint64_t n = MIN((end - at) >> PAGE_SHIFT, (uint64_t)CHUNK);
        int r = mm_present(my_mm(), at, at + (n << PAGE_SHIFT), present);
        if (r < 0)
            return r;
        if (copy_to_user(to, present, n) < 0)
            return -EFAULT;
        at += n << PAGE_SHIFT;
        to += n;
    }
    return 0;
}
