// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Compiled Python modules hold the time of their source (PEP 3147, PEP 552), and Python compiles
 * anew when that is not the source's. Files of an image have the time 0: so shall the module say,
 * or each start of a program would compile all that it imports. */
#include "fs/erofs_write.h"

enum { PYC_TIME_AT = 8, PYC_TIME_BYTES = 4, PYC_HEADER_BYTES = 16 };

/* Is a file of the tree, open here as fd, a compiled module whose source, by time and size, is the
 * file that lies in its place in the tree? */
NONNULL bool pyc_is_current(const struct erofs_node *node, int fd);
