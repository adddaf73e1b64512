// SPDX-License-Identifier: Apache-2.0
#pragma once
/* How a program is started, for image/ alone: an ELF program is itself; a script is started by the
 * interpreter that its first line names, as Linux does it (Linux 6.1 fs/binfmt_script.c), and
 * "/usr/bin/env NAME" is followed to NAME, so that nothing is left to look up when it runs. */
#include "image/spec.h"
#include "image/tree.h"

enum { START_DEPTH_MAX = 5, START_LINE_MAX = 256 }; // Linux 6.1 fs/exec.c, BINPRM_BUF_SIZE

struct start {
    char program[TREE_PATH_MAX]; // the ELF program's path in the image
    char host[TREE_PATH_MAX];    // and here
    struct strings words;        // argv up to the arguments that the spec has; owned
    bool script;
};

/* Put the scripts into the tree and find what is to run. path is the program's path in the image.
 * -ENOENT, -ENOEXEC, -ELOOP naming the script and its interpreter; -EACCES: not executable. */
NONNULL MUST_CHECK int start_find(struct tree *t, const struct image_spec *s, const char *path,
                                  struct start *ret, struct err *e);
NONNULL void start_deinit(struct start *s);

/* The first line of a script, which need not end with a NUL: interpreter and the one argument that
 * may follow ("" for none). false: no script, or no interpreter named. */
NONNULL bool start_line(const char *text, size_t len, char ret_interpreter[static START_LINE_MAX],
                        char ret_argument[static START_LINE_MAX]);

/* Put the files that an interpreter of a known kind brings along into the tree: its standard
 * library. -ENOENT: an interpreter whose library is not where it looks for it. */
NONNULL MUST_CHECK int runtime_put(struct tree *t, const char *interpreter, struct err *e);
