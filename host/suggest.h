// SPDX-License-Identifier: Apache-2.0
#pragma once
/* "did you mean": the known name that is nearest to a mistyped one. */
#include "base/base.h"

enum { SUGGEST_NAME_MAX = 64 }; // longer words get no suggestion

/* The name of a NULL-ended list that is reached from word by the fewest insertions, deletions,
 * replacements, and swaps of neighbours, letter case aside; NULL when none is near enough (more
 * than a third of the word). */
NONNULL const char *suggest(const char *word, const char *const *names);
