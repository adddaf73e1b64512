// SPDX-License-Identifier: Apache-2.0
#pragma once
/* BIRD's control socket: one command, one answer. */
#include "base/base.h"
#include "host/err.h"

/* The answer's text, without the reply codes, one line a row, cut at max - 1 bytes. -EIO: BIRD
 * answered with an error (its text is in err). */
NONNULL MUST_CHECK int birdc(const char *socket_path, const char *command, char *ret, size_t max,
                             struct err *err);

/* How many BFD sessions there are and how many of them are up, out of `show bfd sessions`. */
NONNULL void birdc_count_bfd(const char *answer, unsigned *ret_all, unsigned *ret_up);
