// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What a program needs in order to run elsewhere: its interpreter and libraries, found as the
 * dynamic loader would find them (ld.so(8): DT_RPATH, DT_RUNPATH with $ORIGIN, ld.so.conf and
 * cache, default folders, glibc-hwcaps; musl's loader likewise), without running anything. */
#include "base/base.h"
#include "host/err.h"
#include "image/tree.h"

enum { CLOSURE_OBJECTS_MAX = 4096 };

/* What a program needs besides what it says itself. */
struct closure_wish {
    const char *library_path;  // LD_LIBRARY_PATH, whose folders are those of the tree ("": none)
    const char *const *opened; // names of libraries that it opens by itself (dlopen)
    uint32_t opened_n;
};

/* Put host_path as program and all that it needs into the tree: libraries under the paths at which
 * the loader will look for them there, unless the tree has that path already. What the shared
 * objects that are in the tree need (a folder of an interpreter's modules) comes along where it is
 * found. -ENOEXEC no ELF program; -EPFNOSUPPORT another machine's; -ENOENT the program, its
 * interpreter or a library (which the text names) is not there. */
NONNULL MUST_CHECK int closure_put(struct tree *t, const char *program, const char *host_path,
                                   const struct closure_wish *wish, struct err *e);
