// SPDX-License-Identifier: Apache-2.0
#include "provider/local/kvm.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

#include "host/fd.h"

enum {
    LOOPS = 2000,
    /* A processor takes some microseconds for the loop and some tens for the first entry and the
     * exit. An emulated KVM was seen to take 1000 ns a loop. */
    NANOS_MAX = 500 * 1000,
    PAGE = 4096,
};

struct trial {
    int kvm, vm, cpu;
    uint8_t *code;
    struct kvm_run *run;
    size_t run_bytes;
};

static void trial_deinit(struct trial *t)
{
    if (t->run != MAP_FAILED)
        munmap(t->run, t->run_bytes);
    if (t->code != MAP_FAILED)
        munmap(t->code, PAGE);
    fd_closep(&t->cpu);
    fd_closep(&t->vm);
    fd_closep(&t->kvm);
}

/* Real mode at address 0: mov ecx, LOOPS; dec ecx; jnz back; hlt. */
static bool trial_init(struct trial *t)
{
    uint8_t code[] = {0x66, 0xb9, 0, 0, 0, 0, 0x66, 0x49, 0x75, 0xfc, 0xf4};
    uint32_t loops = LOOPS;
    memcpy(code + 2, &loops, sizeof(loops));
    t->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (t->kvm < 0 || ioctl(t->kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
        return false;
    int run_bytes = ioctl(t->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    t->vm = ioctl(t->kvm, KVM_CREATE_VM, 0);
    t->cpu = t->vm >= 0 ? ioctl(t->vm, KVM_CREATE_VCPU, 0) : -1;
    if (t->cpu < 0 || run_bytes < (int)sizeof(struct kvm_run))
        return false;
    t->run_bytes = (size_t)run_bytes;
    t->run = mmap(NULL, t->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, t->cpu, 0);
    t->code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (t->run == MAP_FAILED || t->code == MAP_FAILED)
        return false;
    memcpy(t->code, code, sizeof(code));
    struct kvm_userspace_memory_region memory = {.memory_size = PAGE,
                                                 .userspace_addr = (uintptr_t)t->code};
    struct kvm_regs regs = {.rflags = 2};
    struct kvm_sregs sregs;
    if (ioctl(t->vm, KVM_SET_USER_MEMORY_REGION, &memory) < 0 ||
        ioctl(t->cpu, KVM_GET_SREGS, &sregs) < 0)
        return false;
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    return ioctl(t->cpu, KVM_SET_SREGS, &sregs) == 0 && ioctl(t->cpu, KVM_SET_REGS, &regs) == 0;
}

static int64_t nanos_between(const struct timespec *a, const struct timespec *b)
{
    return (b->tv_sec - a->tv_sec) * 1000000000ll + (b->tv_nsec - a->tv_nsec);
}

static bool try_it(void)
{
    struct trial t = {.kvm = -1, .vm = -1, .cpu = -1, .code = MAP_FAILED, .run = MAP_FAILED};
    struct timespec start, end;
    bool usable = trial_init(&t);
    if (usable) {
        clock_gettime(CLOCK_MONOTONIC, &start);
        usable = ioctl(t.cpu, KVM_RUN, 0) == 0 && t.run->exit_reason == KVM_EXIT_HLT;
        clock_gettime(CLOCK_MONOTONIC, &end);
        usable = usable && nanos_between(&start, &end) < NANOS_MAX;
    }
    trial_deinit(&t);
    return usable;
}

bool kvm_is_usable(void)
{
    static enum { UNKNOWN, USABLE, NOT_USABLE } known; // races write the same answer
    if (known == UNKNOWN)
        known = try_it() ? USABLE : NOT_USABLE;
    return known == USABLE;
}
