// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Changing address spaces: what mmap & co, the loader and the page fault do. Addresses and lengths
 * are whole pages unless said otherwise. Lock order: mm.h. */
#include "base/errno.h"
#include "kernel/mm/layout.h"
#include "kernel/mm/mm.h"
#include "kernel/mm/vma.h"
#include "kernel/sched/lock.h"

enum { VMAS_MAX = 65530, STACK_GUARD_BYTES = 1 << 20 };

struct mm {
    uint32_t refs;  // atomic: users of what is mapped
    uint32_t holds; // atomic: CPUs that have the tables loaded, and one for all users
    uint64_t root;  // physical; tables protected by lock
    uint64_t cpus;  // atomic: by number, those that may remember translations of this space
    struct mutex lock;
    struct vma_set vmas;     // protected by lock
    uint64_t resident;       // pages; protected by lock
    uint64_t brk_start, brk; // bytes; protected by lock
    uint64_t map_top;        // mappings without an address are put below; immutable after exec
    uint64_t stack_limit;    // bytes; RLIMIT_STACK
    uint32_t membarrier;     // atomic: membarrier(2)'s registrations
    bool populate_new;       // mlockall(MCL_FUTURE)
    uint64_t as_limit, data_limit; // bytes; RLIMIT_AS, RLIMIT_DATA; 0: none
};

MUST_CHECK struct mm *mm_new(void);
/* A copy of `from`, whose private pages both share until one writes. 0 or -ENOMEM. */
NONNULL MUST_CHECK int mm_fork(struct mm *from, struct mm **ret);
NONNULL struct mm *mm_get(struct mm *mm); // one more user
/* Load the tables of mm on this CPU. */
NONNULL void mm_activate(struct mm *mm);

/* May memory that no file fills, or that was written, become executable (just-in-time compilers)?
 * Immutable once the first program runs. */
extern bool mm_anonymous_exec;

struct map_request {
    uint64_t address; // 0: anywhere, else a wish, or the place if fixed
    uint64_t bytes;
    uint8_t prot, max_prot; // MM_*
    bool fixed;             // exactly there, replacing what is there
    bool no_replace;        // with fixed: -EEXIST instead
    bool shared, grows_down, low_2gib;
    struct file *file; // borrowed; NULL: anonymous
    uint64_t offset;
    const char *name;
    uint8_t fork; // FORK_*
};
/* 0 with *ret_address; -ENOMEM, -EEXIST, -EINVAL. */
NONNULL MUST_CHECK int mm_map(struct mm *mm, const struct map_request *q, uint64_t *ret_address);
/* 0; -ENOMEM when a mapping would have to be split and cannot. */
NONNULL MUST_CHECK int mm_unmap(struct mm *mm, uint64_t start, uint64_t end);
/* Take away the mapping of this name that begins at `start`, of the same file all the way: 0 with
 * *ret_file, which may be gone by now; -EINVAL. */
NONNULL MUST_CHECK int mm_unmap_file(struct mm *mm, uint64_t start, const char *name,
                                     struct file **ret_file);
/* 0; -ENOMEM with a hole in the range; -EACCES. */
NONNULL MUST_CHECK int mm_protect(struct mm *mm, uint64_t start, uint64_t end, uint8_t prot);
/* Drop the pages: anonymous memory reads as zero again, files as the file. 0; -ENOMEM with a hole;
 * -EINVAL when it must be private anonymous memory and is not. */
NONNULL MUST_CHECK int mm_discard(struct mm *mm, uint64_t start, uint64_t end, bool anonymous);
/* What a fork is to make of the mappings: sets and clears FORK_*. 0; -ENOMEM with a hole; -EINVAL
 * when FORK_WIPE is set and it is not private anonymous memory. */
NONNULL MUST_CHECK int mm_advise_fork(struct mm *mm, uint64_t start, uint64_t end, uint8_t set,
                                      uint8_t clear);
struct remap_request {
    uint64_t old, old_bytes; // 0 bytes: a second mapping of the same, which is shared
    uint64_t new_bytes;      // > 0
    uint64_t to;             // with fixed: exactly there, replacing; else a wish, or 0
    bool may_move, fixed;    // fixed: may_move too
    bool keep;               // with may_move: the old mapping stays, without its pages
};
/* As mremap(2): 0 with *ret_address; -EFAULT, -EINVAL, -ENOMEM. *q is used up. */
NONNULL MUST_CHECK int mm_remap(struct mm *mm, struct remap_request *q, uint64_t *ret_address);
/* Is every page of the range mapped? 0 or -ENOMEM. */
NONNULL MUST_CHECK int mm_check_mapped(struct mm *mm, uint64_t start, uint64_t end);
/* Change the break; returns the break in force. */
NONNULL uint64_t mm_brk(struct mm *mm, uint64_t wish);
/* Make the pages present: as first touches by a program (mappings without access are passed over);
 * or as reads or writes of it, where -EINVAL says that it may not and -ENOMEM that there is a hole.
 * 0, -ENOMEM, -EFAULT. */
enum populate { POPULATE_ALL, POPULATE_READ, POPULATE_WRITE };
NONNULL MUST_CHECK int mm_populate(struct mm *mm, uint64_t start, uint64_t end, enum populate how);
/* True when every page of the range is mapped. */
NONNULL bool mm_is_mapped(struct mm *mm, uint64_t start, uint64_t end);
/* For every page 1 if it is present, else 0. 0 or -ENOMEM, a hole. */
NONNULL MUST_CHECK int mm_present(struct mm *mm, uint64_t start, uint64_t end, uint8_t *ret);
/* If address lies in a mapping that others may have too, what is mapped and where in it; else
 * nothing changes. The object lives as long as the mapping. May sleep. */
NONNULL void mm_shared_object(struct mm *mm, uint64_t address, uint64_t *ret_object,
                              uint64_t *ret_offset);
/* Put a page of the kernel's own (vDSO) at an address of an existing mapping. Takes a reference. */
NONNULL MUST_CHECK int mm_install_page(struct mm *mm, uint64_t address, struct page *p);

enum { FAULT_WRITE = 1, FAULT_EXEC = 2 };
/* Resolve a page fault at any address (not aligned). 0; -EFAULT nothing is mapped there; -EACCES
 * not allowed; -EIO the file ends before or cannot be read; -ENOMEM. May sleep. */
NONNULL MUST_CHECK int mm_fault(struct mm *mm, uint64_t address, unsigned access);
