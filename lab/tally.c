// SPDX-License-Identifier: Apache-2.0
#include "lab/tally.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void tally_init(struct tally *t, uint64_t now_ns, uint32_t *times_us)
{
    memset(t, 0, sizeof(*t));
    t->begin_ns = t->last_ns = now_ns;
    t->times_us = times_us;
}

static void count(struct tally_names *names, const char *text, size_t len)
{
    char key[TALLY_TEXT_MAX] = "";
    memcpy(key, text, MIN(len, sizeof(key) - 1));
    key[strcspn(key, "\r\n")] = '\0'; // the first line
    unsigned i = 0;
    while (i < names->len && strcmp(names->name[i].text, key) != 0)
        i++;
    if (i == TALLY_NAMES_MAX) {
        i = TALLY_NAMES_MAX - 1; // "other", placed below
    } else if (i == names->len) {
        bool last = ++names->len == TALLY_NAMES_MAX;
        snprintf(names->name[i].text, sizeof(key), "%s", last ? "other" : key);
    }
    names->name[i].count++;
}

static const char *error_name(int error)
{
    static const struct {
        int error;
        const char *name;
    } names[] = {{-ETIMEDOUT, "timed out"},     {-ECONNREFUSED, "refused"},
                 {-ECONNRESET, "reset"},        {-EHOSTUNREACH, "unreachable"},
                 {-ENETUNREACH, "unreachable"}, {-EPROTO, "not valid HTTP"},
                 {-EBUSY, "too many under way"}};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (names[i].error == error)
            return names[i].name;
    return strerror(-error);
}

static void note_silence(struct tally *t, uint64_t now_ns)
{
    uint64_t gap = now_ns > t->last_ns ? now_ns - t->last_ns : 0;
    if (gap > t->gap_ns) {
        t->gap_ns = gap;
        t->gap_at_ns = t->last_ns - t->begin_ns;
    }
    t->last_ns = MAX(now_ns, t->last_ns);
}

static void note_pop(struct tally *t, const char *pop, uint64_t now_ns)
{
    count(&t->pops, pop, strlen(pop));
    if (t->changes_len == TALLY_CHANGES_MAX ||
        (t->changes_len > 0 && strcmp(t->changes[t->changes_len - 1].pop, pop) == 0))
        return;
    struct tally_change *c = &t->changes[t->changes_len++];
    c->at_ns = now_ns - t->begin_ns;
    snprintf(c->pop, sizeof(c->pop), "%s", pop);
}

void tally_add(struct tally *t, const struct fetch_done *d)
{
    char text[24];
    t->sent++;
    t->retried += d->retried;
    bool refused = d->error == 0 && (d->answer->status < 200 || d->answer->status > 399);
    if (d->error < 0 || refused) {
        t->failed++;
        if (d->sent_ns >= t->failed_sent_ns) {
            t->failed_sent_ns = d->sent_ns;
            t->failed_ns = d->done_ns;
        }
    }
    if (d->error < 0) {
        count(&t->errors, error_name(d->error), strlen(error_name(d->error)));
        return;
    }
    const struct answer *a = d->answer;
    if (refused) {
        snprintf(text, sizeof(text), "status %u", a->status);
        count(&t->errors, text, strlen(text));
        return;
    }
    note_silence(t, d->done_ns);
    note_pop(t, a->pop, d->done_ns);
    count(&t->bodies, a->body, a->body_len);
    if (t->times_len < TALLY_TIMES_MAX)
        t->times_us[t->times_len++] = (uint32_t)((d->first_byte_ns - d->sent_ns) / 1000);
}

static int by_size(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

void tally_end(struct tally *t)
{
    if (t->failed_sent_ns >= t->last_ns)
        note_silence(t, t->failed_ns);
    qsort(t->times_us, t->times_len, sizeof(t->times_us[0]), by_size);
}

static json_t *names_json(const struct tally_names *names)
{
    json_t *o = json_object();
    for (unsigned i = 0; i < names->len; i++) {
        // Bodies are foreign bytes: what is not UTF-8 becomes one entry.
        json_t *n = json_integer((json_int_t)names->name[i].count);
        if (json_object_set(o, names->name[i].text, n) < 0)
            json_object_set(o, "(not text)", n);
        json_decref(n);
    }
    return o;
}

static double percentile_ms(const struct tally *t, unsigned percent)
{
    if (t->times_len == 0)
        return 0;
    return t->times_us[(t->times_len - 1) * (uint64_t)percent / 100] / 1e3;
}

json_t *tally_json(const struct tally *t)
{
    json_t *changes = json_array();
    for (unsigned i = 0; i < t->changes_len; i++)
        json_array_append_new(changes,
                              json_pack("{s:f, s:s}", "at_ms", (double)t->changes[i].at_ns / 1e6,
                                        "pop", t->changes[i].pop));
    return json_pack(
        "{s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:o, s:o, s:o, s:o}", "sent", (json_int_t)t->sent,
        "failed", (json_int_t)t->failed, "retried", (json_int_t)t->retried, "longest_gap_ms",
        (double)t->gap_ns / 1e6, "longest_gap_at_ms", (double)t->gap_at_ns / 1e6,
        "first_byte_p50_ms", percentile_ms(t, 50), "first_byte_p99_ms", percentile_ms(t, 99),
        "first_byte_max_ms", percentile_ms(t, 100), "pops", names_json(&t->pops), "bodies",
        names_json(&t->bodies), "errors", names_json(&t->errors), "changes", changes);
}
