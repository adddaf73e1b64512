// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What an ELF file needs in order to run, read from its bytes alone (System V ABI, ELF-64 object
 * file format; dynamic section). The file is foreign: every offset and string is checked. */
#include "base/base.h"
#include "base/errno.h"

enum { ELF_NEEDED_MAX = 256, ELF_SEGMENTS_MAX = 128, ELF_DYNAMIC_MAX = 4096 };

struct elf_info {
    bool dynamic; // has a dynamic section with at least one needed library, or an interpreter
    // Borrowed from the file's bytes, ended by NUL; NULL when absent.
    const char *interp;
    const char *soname;
    const char *rpath;
    const char *runpath;
    const char *needed[ELF_NEEDED_MAX];
    uint32_t needed_n;
    bool ends_threads; // names pthread_cancel or pthread_exit
};

/* 0, or with *ret_why a sentence's end such as "is not an ELF file":
 * -ENOEXEC no ELF, or no program or library; -EPFNOSUPPORT for another machine than x86-64;
 * -EPROTO it is damaged; -E2BIG over a bound. */
NONNULL MUST_CHECK int elf_parse(const void *data, size_t len, struct elf_info *ret,
                                 const char **ret_why);
