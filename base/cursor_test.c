// SPDX-License-Identifier: Apache-2.0
#include "base/cursor.h"
#include "base/list.h"
#include "base/test.h"

static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};

static void test_reads(struct test *t)
{
    struct cursor c = cursor_of(bytes, sizeof(bytes));
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    CHECK_EQ(t, cursor_u8(&c, &u8), 0);
    CHECK_EQ(t, u8, 1);
    CHECK_EQ(t, cursor_le16(&c, &u16), 0);
    CHECK_EQ(t, u16, 0x0302);
    CHECK_EQ(t, cursor_be32(&c, &u32), 0);
    CHECK_EQ(t, u32, 0x04050607);
    CHECK_EQ(t, c.left, 2);
}

static void test_short_read_moves_nothing(struct test *t)
{
    struct cursor c = cursor_of(bytes, 3);
    uint32_t u32 = 77;
    CHECK_EQ(t, cursor_le32(&c, &u32), -EPROTO);
    CHECK_EQ(t, u32, 77);
    CHECK_EQ(t, c.left, 3);
    struct cursor sub;
    CHECK_EQ(t, cursor_sub(&c, 4, &sub), -EPROTO);
    CHECK_EQ(t, cursor_sub(&c, 3, &sub), 0);
    CHECK_EQ(t, sub.left, 3);
    CHECK_EQ(t, c.left, 0);
    CHECK_EQ(t, cursor_skip(&c, 1), -EPROTO);
    CHECK_EQ(t, cursor_skip(&c, SIZE_MAX), -EPROTO);
}

static void test_writer_stops_at_its_end(struct test *t)
{
    uint8_t buf[8] = {0};
    struct writer w = writer_of(buf, 5);
    writer_be16(&w, 0x0102);
    writer_le16(&w, 0x0403);
    CHECK(t, !w.full);
    writer_be32(&w, 0xffffffff);
    CHECK(t, w.full);
    writer_u8(&w, 9); // would fit, but the sequence is broken already
    CHECK_EQ(t, w.len, 4);
    CHECK_EQ(t, memcmp(buf, (uint8_t[]){1, 2, 3, 4, 0, 0, 0, 0}, 8), 0);
}

static void test_list(struct test *t)
{
    struct item {
        struct list link;
        int v;
    } a = {.v = 1}, b = {.v = 2}, c = {.v = 3};
    struct list head;
    list_init(&head);
    CHECK(t, list_pop_front(&head) == NULL);
    list_push_back(&head, &a.link);
    list_push_back(&head, &b.link);
    list_push_front(&head, &c.link);
    int order = 0;
    LIST_FOR_EACH_SAFE (node, &head) {
        order = order * 10 + LIST_ENTRY(node, struct item, link)->v;
        list_remove(node);
        list_remove(node); // harmless
    }
    CHECK_EQ(t, order, 312);
    CHECK(t, list_empty(&head));
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_reads),
        TEST_CASE(test_short_read_moves_nothing),
        TEST_CASE(test_writer_stops_at_its_end),
        TEST_CASE(test_list),
    };
    return test_main(cases, ARRAY_LEN(cases));
}
