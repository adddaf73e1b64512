// SPDX-License-Identifier: Apache-2.0
#include "host/suggest.h"

#include <ctype.h>
#include <string.h>

static bool same(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Optimal string alignment distance (Levenshtein with swaps of neighbours), by rows. */
static unsigned distance(const char *a, size_t alen, const char *b, size_t blen)
{
    unsigned rows[3][SUGGEST_NAME_MAX + 1];
    unsigned *before = rows[0], *above = rows[1], *row = rows[2];
    for (unsigned j = 0; j <= blen; j++)
        above[j] = j;
    for (size_t i = 1; i <= alen; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= blen; j++) {
            unsigned best = above[j - 1] + !same(a[i - 1], b[j - 1]);
            best = MIN(best, above[j] + 1);
            best = MIN(best, row[j - 1] + 1);
            if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]))
                best = MIN(best, before[j - 2] + 1);
            row[j] = best;
        }
        unsigned *spare = before;
        before = above;
        above = row;
        row = spare;
    }
    return above[blen];
}

const char *suggest(const char *word, const char *const *names)
{
    size_t len = strlen(word);
    if (len > SUGGEST_NAME_MAX)
        return NULL;
    const char *best = NULL;
    unsigned best_distance = (unsigned)MAX(len / 3, (size_t)1) + 1;
    for (; *names != NULL; names++) {
        size_t n = strlen(*names);
        if (n > SUGGEST_NAME_MAX)
            continue;
        unsigned d = distance(word, len, *names, n);
        if (d < best_distance) {
            best = *names;
            best_distance = d;
        }
    }
    return best;
}
