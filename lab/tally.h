// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What a run of requests adds up to: how many failed and how, who answered when, and the longest
 * time in which no answer came. Pure. */
#include <jansson.h>

#include "base/base.h"
#include "lab/fetch.h"

enum {
    TALLY_NAMES_MAX = 16,   // different POPs, bodies, errors; the rest counts as "other"
    TALLY_TEXT_MAX = 96,    // bytes of a body that tell it from others
    TALLY_CHANGES_MAX = 64, // of the POP that answers
    TALLY_TIMES_MAX = 65536,
};

struct tally_name {
    char text[TALLY_TEXT_MAX];
    uint64_t count;
};

struct tally_names {
    struct tally_name name[TALLY_NAMES_MAX];
    unsigned len;
};

struct tally_change { // another POP answers than before
    uint64_t at_ns;
    char pop[ANSWER_POP_MAX];
};

struct tally {
    uint64_t begin_ns;
    uint64_t sent, failed, retried;
    uint64_t last_ns;                   // of the latest answer, or the beginning
    uint64_t failed_sent_ns, failed_ns; // the latest request that failed: begin and end
    uint64_t gap_ns, gap_at_ns; // the longest silence, and when it began (since the beginning)
    struct tally_names pops, bodies, errors;
    struct tally_change changes[TALLY_CHANGES_MAX];
    unsigned changes_len;
    uint32_t *times_us; // first byte after the request, of each answer; borrowed, TALLY_TIMES_MAX
    unsigned times_len;
};

/* times_us: room for TALLY_TIMES_MAX. */
NONNULL void tally_init(struct tally *t, uint64_t now_ns, uint32_t *times_us);
/* A failure is an error, or a status other than 2xx and 3xx. In the order in which they ended. */
NONNULL void tally_add(struct tally *t, const struct fetch_done *d);
/* The run is over. When requests that were sent after the last answer failed, the silence lasted to
 * their end; otherwise nothing was missed after it. Then sorts the times. */
NONNULL void tally_end(struct tally *t);
/* A new object; times in ms. */
NONNULL json_t *tally_json(const struct tally *t);
