// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Names of a kernel's functions, out of its ELF file. The file is foreign: every offset is checked.
 */
#include "base/base.h"
#include "host/err.h"

enum { SYMBOL_NAME_MAX = 128 }; // bytes, with the final NUL; longer ones are cut

struct symbols;

/* Read the table of a file. -ENOENT: it has none (stripped); -ENOEXEC: no ELF of x86-64, or it is
 * damaged; or what opening and reading it said. */
NONNULL MUST_CHECK int symbols_open(const char *path, struct symbols **ret, struct err *e);
void symbols_free(struct symbols *s);
void symbols_freep(struct symbols **s);

/* "name+0xoffset" of the function that holds the address; false: none does. */
NONNULL bool symbols_name(const struct symbols *s, uint64_t address, char ret[SYMBOL_NAME_MAX]);
