// SPDX-License-Identifier: Apache-2.0
/* Who and where am I: identities, limits, names, scheduling parameters, small inquiries. */
#include "base/errno.h"
#include "base/mem.h"
#include "kernel/arch/x86_64/asm.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/smp.h"
#include "kernel/boot/params.h"
#include "kernel/drivers/random.h"
#include "kernel/linux/identity.h"
#include "kernel/linux/process.h"
#include "kernel/linux/syscall.h"
#include "kernel/linux/thread.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/space.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/sched.h"
#include "kernel/sched/stats.h"
#include "kernel/vfs/fd.h"

static struct process *me(void)
{
    return current()->process;
}

int64_t sys_getpid(UNUSED const uint64_t arg[static 6])
{
    return me()->pid;
}

int64_t sys_getppid(UNUSED const uint64_t arg[static 6])
{
    return me()->ppid;
}

int64_t sys_gettid(UNUSED const uint64_t arg[static 6])
{
    return current()->tid;
}

static struct spinlock names_lock;
static char domain_name[65] = "(none)"; // protected by names_lock

static int64_t machine_name_set(const uint64_t arg[static 6], char *name, size_t max)
{
    char new[65] = {0};
    const int len = (int)arg[1];
    if (!capable(CAP_SYS_ADMIN))
        return -EPERM;
    if (len < 0 || (size_t)len >= max)
        return -EINVAL;
    if (copy_from_user(new, arg[0], (size_t)len) < 0)
        return -EFAULT;
    spin_lock(&names_lock);
    memcpy(name, new, max);
    spin_unlock(&names_lock);
    return 0;
}

int64_t sys_sethostname(const uint64_t arg[static 6])
{
    return machine_name_set(arg, boot_params.host, sizeof(boot_params.host));
}

int64_t sys_setdomainname(const uint64_t arg[static 6])
{
    return machine_name_set(arg, domain_name, sizeof(domain_name));
}

/* The one personality is Linux's own, without any of the flags that change it. */
int64_t sys_personality(const uint64_t arg[static 6])
{
    const uint32_t wish = (uint32_t)arg[0];
    return wish == UINT32_MAX || wish == 0 ? 0 : -EINVAL;
}

int64_t sys_uname(const uint64_t arg[static 6])
{
    enum { FIELD = 65, FIELDS = 6 };
    // Programs compare the release with what they need of Linux: this kernel's model is 6.1.
    const char *const text[FIELDS] = {"Linux",         boot_params.host, "6.1.0-skerry",
                                      "#1 SMP skerry", "x86_64",         domain_name};
    char out[FIELDS][FIELD] = {0};
    for (int i = 0; i < FIELDS; i++)
        memcpy(out[i], text[i], strnlen(text[i], FIELD - 1));
    return copy_to_user(arg[0], out, sizeof(out));
}

int64_t sys_sysinfo(const uint64_t arg[static 6])
{
    struct {
        int64_t uptime;
        uint64_t loads[3], total, free, shared, buffers, swap_total, swap_free;
        uint16_t processes, pad;
        uint32_t pad2;
        uint64_t high_total, high_free;
        uint32_t unit, pad3;
    } s = {.unit = 1};
    _Static_assert(sizeof(s) == 112, "Linux struct sysinfo");
    struct mem_stats m;
    mem_stats_get(&m);
    s.uptime = (int64_t)(clock_mono_ns() / NS_PER_SEC);
    s.total = m.total_bytes;
    s.free = m.free_bytes;
    s.buffers = m.cache_bytes;
    s.processes = (uint16_t)me()->task_count;
    return copy_to_user(arg[0], &s, sizeof(s));
}

static int64_t name_set(struct task *t, uint64_t user)
{
    char name[TASK_NAME_MAX] = {0};
    int64_t r = strncpy_from_user(name, user, sizeof(name) - 1);
    if (r < 0 && r != -ENAMETOOLONG)
        return r;
    spin_lock(&t->process->lock);
    memcpy(t->name, name, sizeof(name));
    spin_unlock(&t->process->lock);
    return 0;
}

int64_t sys_prctl(const uint64_t arg[static 6])
{
    enum {
        SET_PDEATHSIG = 1,
        GET_PDEATHSIG = 2,
        GET_DUMPABLE = 3,
        SET_DUMPABLE = 4,
        GET_TIMING = 13,
        SET_TIMING = 14,
        SET_NAME = 15,
        GET_NAME = 16,
        GET_TSC = 25,
        SET_TSC = 26,
        SET_TIMERSLACK = 29,
        GET_TIMERSLACK = 30,
        SET_CHILD_SUBREAPER = 36,
        GET_CHILD_SUBREAPER = 37,
        GET_TID_ADDRESS = 40,
        TSC_ENABLE = 1,
    };
    const uint32_t tsc = TSC_ENABLE;
    struct task *t = current();
    struct thread *th = t->thread;
    switch ((int)arg[0]) {
    case SET_NAME:
        return name_set(t, arg[1]);
    case GET_NAME:
        return copy_to_user(arg[1], t->name, sizeof(t->name));
    case GET_DUMPABLE: // no core is ever written, whatever this says
        return !t->process->not_dumpable;
    case SET_DUMPABLE:
        if (arg[1] > 1)
            return -EINVAL;
        t->process->not_dumpable = arg[1] == 0;
        return 0;
    case SET_PDEATHSIG:
    case GET_PDEATHSIG:
    case SET_CHILD_SUBREAPER:
    case GET_CHILD_SUBREAPER:
        return process_prctl(arg);
    case GET_TIMING: // PR_TIMING_STATISTICAL
        return 0;
    case SET_TIMING:
        return arg[1] != 0 ? -EINVAL : 0;
    case GET_TSC:
        return copy_to_user(arg[1], &tsc, sizeof(tsc));
    case SET_TSC:
        return arg[1] != TSC_ENABLE ? -EINVAL : 0;
    case SET_TIMERSLACK: // how late timers may be; they are as exact as they can be
        th->timer_slack_ns = (int64_t)arg[1] <= 0 ? 0 : arg[1];
        return 0;
    case GET_TIMERSLACK: {
        enum { DEFAULT_NS = 50000 };
        return th->timer_slack_ns != 0 ? (int64_t)th->timer_slack_ns : DEFAULT_NS;
    }
    case GET_TID_ADDRESS:
        return copy_to_user(arg[1], &th->clear_tid, sizeof(th->clear_tid));
    default:
        return creds_prctl(arg);
    }
}

int64_t sys_sched_yield(UNUSED const uint64_t arg[static 6])
{
    sched_yield_task();
    return 0;
}

static uint64_t all_cpus(void)
{
    return cpu_count == CPUS_MAX ? UINT64_MAX : (1ull << cpu_count) - 1;
}

int64_t sys_sched_getaffinity(const uint64_t arg[static 6])
{
    uint64_t mask = 0, bytes = arg[1];
    if (bytes % sizeof(mask) != 0 || bytes * 8 < cpu_count)
        return -EINVAL;
    struct task *t = (int)arg[0] != 0 ? task_find((int)arg[0]) : current();
    if (t != NULL)
        mask = sched_allowed(t) & all_cpus();
    if ((int)arg[0] != 0)
        task_find_end();
    if (t == NULL)
        return -ESRCH;
    if (copy_to_user(arg[2], &mask, sizeof(mask)) < 0)
        return -EFAULT;
    return sizeof(mask);
}

int64_t sys_sched_setaffinity(const uint64_t arg[static 6])
{
    uint64_t mask = 0;
    if (copy_from_user(&mask, arg[2], MIN((uint64_t)(uint32_t)arg[1], sizeof(mask))) < 0)
        return -EFAULT;
    mask &= all_cpus();
    struct task *t = (int)arg[0] != 0 ? task_find((int)arg[0]) : current();
    if (t != NULL && mask != 0)
        sched_allow(t, mask);
    if ((int)arg[0] != 0)
        task_find_end();
    return t == NULL ? -ESRCH : mask == 0 ? -EINVAL : 0;
}

int64_t sys_getcpu(const uint64_t arg[static 6])
{
    const uint32_t cpu = this_cpu()->id, node = 0;
    if (arg[0] != 0 && copy_to_user(arg[0], &cpu, sizeof(cpu)) < 0)
        return -EFAULT;
    return arg[1] != 0 ? copy_to_user(arg[1], &node, sizeof(node)) : 0;
}

int64_t sys_getrandom(const uint64_t arg[static 6])
{
    enum { NONBLOCK = 1, RANDOM = 2, INSECURE = 4, CHUNK = 256 };
    if ((arg[2] & ~(uint64_t)(NONBLOCK | RANDOM | INSECURE)) ||
        (arg[2] & (RANDOM | INSECURE)) == (RANDOM | INSECURE))
        return -EINVAL;
    uint64_t want = MIN(arg[1], (uint64_t)INT32_MAX), done = 0;
    uint8_t chunk[CHUNK];
    while (done < want) {
        size_t n = MIN(want - done, (uint64_t)CHUNK);
        random_bytes(chunk, n);
        if (copy_to_user(arg[0] + done, chunk, n) < 0)
            return done > 0 ? (int64_t)done : -EFAULT;
        done += n;
        if (done < want && signal_pending(current()))
            break;
    }
    return (int64_t)done;
}

static void serialize(UNUSED const void *arg)
{
    (void)cpuid(0, 0); // for SYNC_CORE; the interrupt's locked instructions are the full barrier
}

/* Linux 6.1 kernel/sched/membarrier.c, without the restartable sequences. */
int64_t sys_membarrier(const uint64_t arg[static 6])
{
    enum {
        QUERY = 0,
        GLOBAL = 1,
        GLOBAL_EXPEDITED = 2,
        REGISTER_GLOBAL_EXPEDITED = 4,
        PRIVATE_EXPEDITED = 8,
        REGISTER_PRIVATE_EXPEDITED = 16,
        PRIVATE_EXPEDITED_SYNC_CORE = 32,
        REGISTER_PRIVATE_EXPEDITED_SYNC_CORE = 64,
        ALL = 127,
    };
    struct mm *mm = current()->process->mm;
    const uint32_t command = (uint32_t)arg[0];
    uint64_t others = smp_others();
    if (arg[1] != 0)
        return -EINVAL;
    switch (command) {
    case QUERY:
        return ALL;
    case REGISTER_GLOBAL_EXPEDITED:
    case REGISTER_PRIVATE_EXPEDITED:
    case REGISTER_PRIVATE_EXPEDITED_SYNC_CORE:
        __atomic_fetch_or(&mm->membarrier, command, __ATOMIC_SEQ_CST);
        return 0;
    case PRIVATE_EXPEDITED:
    case PRIVATE_EXPEDITED_SYNC_CORE:
        if (!(__atomic_load_n(&mm->membarrier, __ATOMIC_RELAXED) & command * 2))
            return -EPERM;
        __atomic_thread_fence(__ATOMIC_SEQ_CST); // pairs with tlb_load
        others &= __atomic_load_n(&mm->cpus, __ATOMIC_RELAXED);
        break;
    case GLOBAL:
    case GLOBAL_EXPEDITED: // every CPU: more than asked for
        break;
    default:
        return -EINVAL;
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (others != 0)
        smp_call(others, serialize, NULL);
    return 0;
}
