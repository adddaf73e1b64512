// SPDX-License-Identifier: Apache-2.0
#include "kernel/boot/manifest.h"

#include "base/errno.h"
#include "base/test.h"

static const char text[] = "/bin/app\0/srv\0app\0-v\0\0PATH=/bin"; // an empty last argument
enum { DISK = 1 << 20 };

static struct image_header good(void)
{
    struct image_header h = {.version = IMAGE_VERSION,
                             .header_bytes = sizeof(h),
                             .erofs_bytes = 8192,
                             .manifest_offset = 8192,
                             .total_bytes = 8704,
                             .manifest_bytes = sizeof(text),
                             .argc = 3,
                             .envc = 1};
    memcpy(h.magic, IMAGE_MAGIC, sizeof(h.magic));
    return h;
}

static void test_good(struct test *t)
{
    struct image_header h = good();
    static struct manifest m;
    CHECK_EQ(t, image_header_check(&h, DISK), 0);
    CHECK_EQ(t, manifest_parse(&h, text, &m), 0);
    CHECK_STR(t, m.program, "/bin/app");
    CHECK_STR(t, m.cwd, "/srv");
    CHECK(t, m.argc == 3 && m.envc == 1);
    CHECK_STR(t, m.argv[2], "");
    CHECK_STR(t, m.envp[0], "PATH=/bin");
}

static void test_bad_header(struct test *t)
{
    struct image_header h;
#define REFUSED(change)                                                                            \
    do {                                                                                           \
        h = good();                                                                                \
        change;                                                                                    \
        CHECK_EQ(t, image_header_check(&h, DISK), -EPROTO);                                        \
    } while (0)
    REFUSED(h.magic[0] = 's');
    REFUSED(h.version = 2);
    REFUSED(h.header_bytes--);
    REFUSED(h.reserved = 1);
    REFUSED(h.total_bytes = DISK + 512);
    REFUSED(h.erofs_bytes = 8191);
    REFUSED(h.erofs_bytes = h.manifest_offset + 4096);
    REFUSED(h.manifest_offset = UINT64_MAX);
    REFUSED(h.manifest_bytes = IMAGE_MANIFEST_MAX + 1);
    REFUSED(h.manifest_bytes = 513);
    REFUSED(h.argc = 0);
    REFUSED(h.argc = IMAGE_ARGS_MAX + 1);
    REFUSED(h.envc = IMAGE_ENVS_MAX + 1);
}

static void test_bad_manifest(struct test *t)
{
    static struct manifest m;
    struct image_header h = good();
    h.manifest_bytes--; // the last NUL is gone
    CHECK_EQ(t, manifest_parse(&h, text, &m), -EPROTO);
    h = good();
    h.argc = 4; // one string too few
    CHECK_EQ(t, manifest_parse(&h, text, &m), -EPROTO);
    h = good();
    h.envc = 0; // one too many
    CHECK_EQ(t, manifest_parse(&h, text, &m), -EPROTO);
    h = good();
    h.argc = 2;
    h.envc = 2; // "" is no environment
    CHECK_EQ(t, manifest_parse(&h, text, &m), -EPROTO);
}

int main(void)
{
    static const struct test_case cases[] = {TEST_CASE(test_good), TEST_CASE(test_bad_header),
                                             TEST_CASE(test_bad_manifest)};
    return test_main(cases, ARRAY_LEN(cases));
}
