// SPDX-License-Identifier: Apache-2.0
#pragma once
/* From a file to a program about to run. */
#include "base/base.h"

struct process;
struct program_spec;
struct regs;

/* Map the program (and its interpreter) into p->mm, which is active and empty, build its stack and
 * set the registers of its first thread. 0; -ENOENT, -EACCES, -ENOEXEC, -ENOMEM ... with *ret_why
 * at a reason for people. */
NONNULL MUST_CHECK int exec_load(struct process *p, const struct program_spec *spec,
                                 struct regs *ret_regs, const char **ret_why);
