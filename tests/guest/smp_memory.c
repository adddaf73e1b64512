// SPDX-License-Identifier: Apache-2.0
/* Threads that touch memory while another takes it away, protects it, empties it or replaces it:
 * from the moment the call has returned, no CPU may still use what it remembers. An argument
 * multiplies the rounds. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"

enum { TOUCHERS = 2, ROUNDS = 24, PAGE = 4096, SPAN = 3, WORKERS = 4, OWN_PAGES = 24 };

static int scale = 1;
static volatile uint64_t *area;
static uint64_t round_no;       // atomic: odd while the change of (round_no + 1) / 2 is made
static uint64_t seen[TOUCHERS]; // atomic: the last completed round that the thread has tested
static bool stop, write_too;    // atomic
static uint64_t wrong;          // atomic
static __thread sigjmp_buf on_fault;
static uint64_t (*allowed_value)(uint64_t round); // UINT64_MAX: only a fault is right

static void handler(int signo)
{
    (void)signo;
    siglongjmp(on_fault, 1);
}

/* The value at p, or UINT64_MAX when there is nothing. */
static uint64_t touch(volatile uint64_t *p, bool write)
{
    if (sigsetjmp(on_fault, 0) != 0)
        return UINT64_MAX;
    uint64_t v = *p;
    if (write)
        *p = v;
    return v;
}

static void *toucher(void *arg)
{
    size_t me = (size_t)arg;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        uint64_t before = __atomic_load_n(&round_no, __ATOMIC_ACQUIRE);
        bool write = __atomic_load_n(&write_too, __ATOMIC_RELAXED);
        uint64_t v[SPAN];
        for (int i = 0; i < SPAN; i++)
            v[i] = touch(area + i * PAGE / 8, write);
        uint64_t after = __atomic_load_n(&round_no, __ATOMIC_ACQUIRE);
        if (before != after || before % 2 != 0)
            continue; // no rule while it changes
        for (int i = 0; i < SPAN; i++)
            if (v[i] != allowed_value(before))
                __atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
        __atomic_store_n(&seen[me], before, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void all_have_seen(uint64_t round)
{
    for (int i = 0; i < TOUCHERS; i++)
        while (__atomic_load_n(&seen[i], __ATOMIC_ACQUIRE) < round)
            usleep(50);
}

static void fill(uint64_t value)
{
    for (int i = 0; i < SPAN; i++)
        area[i * PAGE / 8] = value;
}

static void map_fresh(uint64_t value)
{
    void *p = mmap((void *)area, SPAN * PAGE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (p != area)
        abort();
    fill(value);
}

static void storm(const char *name, void (*change)(uint64_t round), uint64_t (*value)(uint64_t),
                  bool write)
{
    pthread_t t[TOUCHERS];
    wrong = round_no = 0;
    stop = false;
    write_too = write;
    allowed_value = value;
    memset(seen, 0, sizeof(seen));
    map_fresh(0);
    change(0);
    for (size_t i = 0; i < TOUCHERS; i++)
        pthread_create(&t[i], NULL, toucher, (void *)i);
    for (uint64_t r = 1; r <= (uint64_t)(ROUNDS * scale); r++) {
        __atomic_store_n(&round_no, 2 * r - 1, __ATOMIC_RELEASE);
        change(r);
        __atomic_store_n(&round_no, 2 * r, __ATOMIC_RELEASE);
        all_have_seen(2 * r);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    for (int i = 0; i < TOUCHERS; i++)
        pthread_join(t[i], NULL);
    printf("%s: wrong %lu\n", name, wrong);
}

static void unmap_or_map(uint64_t r)
{
    if (r % 2 == 0)
        map_fresh(r * 2);
    else
        munmap((void *)area, SPAN * PAGE);
}

static uint64_t unmap_value(uint64_t round_no2)
{
    return round_no2 / 2 % 2 == 0 ? round_no2 : UINT64_MAX;
}

static void none_or_all(uint64_t r)
{
    mprotect((void *)area, SPAN * PAGE, r % 2 == 0 ? PROT_READ | PROT_WRITE : PROT_NONE);
}

static uint64_t none_value(uint64_t round_no2)
{
    return round_no2 / 2 % 2 == 0 ? 0 : UINT64_MAX;
}

static void read_or_write(uint64_t r)
{
    mprotect((void *)area, SPAN * PAGE, r % 2 == 0 ? PROT_READ | PROT_WRITE : PROT_READ);
}

static void discard(uint64_t r)
{
    (void)r;
    madvise((void *)area, SPAN * PAGE, MADV_DONTNEED);
}

static uint64_t zero_value(uint64_t r)
{
    (void)r;
    return 0;
}

static void fill_and_discard(uint64_t r)
{
    fill(r);
    discard(r);
}

static void replace(uint64_t r)
{
    // Made elsewhere, moved over the old pages.
    uint64_t *p =
        mmap(NULL, SPAN * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < SPAN; i++)
        p[i * PAGE / 8] = r * 2;
    if (mremap(p, SPAN * PAGE, SPAN * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, area) != area)
        abort();
}

static uint64_t replace_value(uint64_t r)
{
    return r;
}

/* Each thread maps, fills, looks, protects, unmaps on its own: no page may ever be two threads'. */
static void *own_pages(void *arg)
{
    uint64_t mark = (uint64_t)(uintptr_t)arg << 32, bad = 0;
    for (int r = 0; r < 60 * scale; r++) {
        size_t bytes = (size_t)(1 + r % OWN_PAGES) * PAGE;
        uint64_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            return (void *)1000;
        for (size_t i = 0; i < bytes / 8; i += 64) {
            bad += p[i] != 0;
            p[i] = mark | i;
        }
        mprotect(p, bytes, PROT_READ);
        for (size_t i = 0; i < bytes / 8; i += 64)
            bad += p[i] != (mark | i);
        // In one or two pieces; what is gone may be another thread's already.
        size_t first = r % 3 == 0 ? (size_t)(1 + r % OWN_PAGES / 2) * PAGE : bytes;
        munmap(p, first);
        if (first < bytes)
            munmap(p + first / 8, bytes - first);
    }
    return (void *)bad;
}

/* All threads fault on the same fresh pages: each page comes once, no write is lost. */
static uint64_t *shared;
static pthread_barrier_t barrier;

static void *same_pages(void *arg)
{
    size_t me = (size_t)arg;
    pthread_barrier_wait(&barrier);
    for (size_t page = 0; page < 256; page++)
        shared[page * PAGE / 8 + me] = page + me;
    return NULL;
}

static void same(void)
{
    uint64_t bad = 0;
    for (int r = 0; r < 4 * scale; r++) {
        pthread_t t[WORKERS];
        shared = mmap(NULL, 256 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        pthread_barrier_init(&barrier, NULL, WORKERS);
        for (size_t i = 0; i < WORKERS; i++)
            pthread_create(&t[i], NULL, same_pages, (void *)i);
        for (int i = 0; i < WORKERS; i++)
            pthread_join(t[i], NULL);
        for (size_t page = 0; page < 256; page++)
            for (size_t i = 0; i < WORKERS; i++)
                bad += shared[page * PAGE / 8 + i] != page + i;
        munmap(shared, 256 * PAGE);
    }
    printf("same pages: wrong %lu\n", bad);
}

static void own(void)
{
    pthread_t t[WORKERS];
    uint64_t bad = 0;
    for (size_t i = 0; i < WORKERS; i++)
        pthread_create(&t[i], NULL, own_pages, (void *)(i + 1));
    for (int i = 0; i < WORKERS; i++) {
        void *r;
        pthread_join(t[i], &r);
        bad += (uint64_t)r;
    }
    printf("own pages: wrong %lu\n", bad);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        scale = atoi(argv[1]);
    const struct sigaction a = {.sa_handler = handler, .sa_flags = SA_NODEFER};
    sigaction(SIGSEGV, &a, NULL);
    area = mmap(NULL, 16 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    area += 8 * PAGE / 8;
    storm("munmap", unmap_or_map, unmap_value, false);
    storm("mprotect none", none_or_all, none_value, false);
    storm("mprotect read", read_or_write, none_value, true);
    storm("discard", discard, zero_value, false);
    storm("fill and discard", fill_and_discard, zero_value, false);
    storm("replace", replace, replace_value, false);
    own();
    same();
    return 0;
}
