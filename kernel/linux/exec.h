// SPDX-License-Identifier: Apache-2.0
#pragma once
/* From a file to a program about to run. */
#include "base/base.h"

struct exec_image; // a program's file and its interpreter's, parsed
struct file;
struct process;
struct program_spec;
struct regs;

/* Map the program (and its interpreter) into p->mm, which is active and empty, build its stack and
 * set the registers of its first thread. 0; -ENOENT, -EACCES, -ENOEXEC, -ENOMEM ... with *ret_why
 * at a reason for people. */
NONNULL MUST_CHECK int exec_load(struct process *p, const struct program_spec *spec,
                                 struct regs *ret_regs, const char **ret_why);

/* The same in two steps. First the files: 0 with *ret, the caller's to close, or -errno as above
 * (-ELIBBAD: the interpreter is no program). Then the mapping, as exec_load. */
NONNULL MUST_CHECK int exec_open(struct file *f, struct exec_image **ret, const char **ret_why);
NONNULL MUST_CHECK int exec_map(struct process *p, const struct program_spec *spec,
                                struct exec_image *x, struct regs *ret_regs, const char **ret_why);
void exec_close(struct exec_image *x); // NULL is fine
