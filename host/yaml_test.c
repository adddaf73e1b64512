// SPDX-License-Identifier: Apache-2.0
#include "host/yaml.h"

#include <errno.h>
#include <stdlib.h>

#include "base/test.h"

static int load(const char *text, struct yaml **ret, struct err *err)
{
    return yaml_load("t.yaml", text, strlen(text), ret, err);
}

static void test_values(struct test *t)
{
    struct err e = {0};
    CLEANUP(yaml_freep) struct yaml *y = NULL;
    CHECK_EQ(t,
             load("# head\nname: 'a b'\nport: 80\nwait: 2s\nmemory: 64M\non: true\nx: 1.5\n"
                  "list:\n  - one\n  - two\nmode: tcp\n",
                  &y, &e),
             0);
    const struct yaml_node *m = yaml_root(y);
    const char *s = NULL;
    uint64_t v = 0;
    bool b = false;
    double d = 0;
    unsigned c = 9;
    CHECK_EQ(t, yaml_str(m, "name", &s, &e), 0);
    CHECK_STR(t, s, "a b");
    CHECK_EQ(t, yaml_line(yaml_get(m, "name")), 2);
    CHECK(t, yaml_uint(m, "port", 1, 65535, &v, &e) == 0 && v == 80);
    CHECK(t, yaml_duration_ms(m, "wait", 0, 10000, &v, &e) == 0 && v == 2000);
    CHECK(t, yaml_size(m, "memory", 0, UINT64_MAX, &v, &e) == 0 && v == 64 << 20);
    CHECK(t, yaml_bool(m, "on", &b, &e) == 0 && b);
    CHECK(t, yaml_double(m, "x", 0, 2, &d, &e) == 0 && d > 1.4 && d < 1.6);
    static const char *const modes[] = {"http", "tcp"};
    CHECK(t, yaml_choice(m, "mode", modes, 2, &c, &e) == 0 && c == 1);
    const struct yaml_node *list = NULL;
    CHECK_EQ(t, yaml_child(m, "list", YAML_SEQUENCE, &list, &e), 0);
    CHECK_EQ(t, yaml_count(list), 2);
    CHECK(t, yaml_as_str(yaml_at(list, 1), &s, &e) == 0 && strcmp(s, "two") == 0);
    v = 7;
    CHECK(t, yaml_uint(m, "absent", 1, 2, &v, &e) == 0 && v == 7);
}

static int read_keys(const struct yaml_node *m, struct err *e)
{
    static const struct yaml_key keys[] = {{"app", true}, {"port", false}, {"a", false}};
    static const struct yaml_key inner[] = {{"b", false}, {"wait", false}};
    uint64_t v;
    const char *s;
    int r = yaml_keys(m, keys, ARRAY_LEN(keys), e);
    const struct yaml_node *a = NULL;
    if (r == 0)
        r = yaml_str(m, "app", &s, e);
    if (r == 0)
        r = yaml_uint(m, "port", 1, 65535, &v, e);
    if (r == 0)
        r = yaml_child(m, "a", YAML_MAPPING, &a, e);
    if (r == 0 && a != NULL)
        r = yaml_keys(a, inner, ARRAY_LEN(inner), e);
    if (r == 0 && a != NULL)
        r = yaml_duration_ms(a, "wait", 0, 1000, &v, e);
    return r;
}

static void test_errors(struct test *t)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "t.yaml:1: the file is empty"},
        {"# only\n", "t.yaml:1: the file is empty"},
        {"app: x\nprot: 80\n", "t.yaml:2: key 'prot': unknown key; did you mean 'port'?"},
        {"port: 80\n", "t.yaml:1: key 'app': missing"},
        {"app: x\n\nport: 70000\n", "t.yaml:3: key 'port': 70000 is not between 1 and 65535"},
        {"app: x\nport: '80'\n", "t.yaml:2: key 'port': '80' is not a whole number"},
        {"app: x\nport: -1\n", "t.yaml:2: key 'port': '-1' is not a whole number"},
        {"app: x\nport: 99999999999999999999999\n",
         "t.yaml:2: key 'port': '99999999999999999999999' is not a whole number"},
        {"app: x\na: 3\n", "t.yaml:2: key 'a': must be a mapping (lines of 'key: value')"},
        {"app: x\na:\n  wiat: 1\n", "t.yaml:3: key 'a.wiat': unknown key; did you mean 'wait'?"},
        {"app: x\na:\n  wait: 5\n",
         "t.yaml:3: key 'a.wait': '5' is not a duration such as 500ms or 2s"},
        {"app: x\na: {wait: 2s}\n", "t.yaml:2: key 'a.wait': 2s is out of range"},
        {"app: x\nport: 1\napp: y\n", "t.yaml:1: key 'app': stands again in line 3"},
        {"app:\nport: 1\n", "t.yaml:1: key 'app': has no value"},
        {"app: [x]\n", "t.yaml:1: key 'app': must be a single value"},
        {"- x\n", "t.yaml:1: must be a mapping (lines of 'key: value')"},
        {"app: *no\n", "t.yaml:1: alias '*no' names nothing above it"},
        {"app: &a [*a]\n", "t.yaml:1: alias '*a' stands inside what it names"},
        {"app: x\n---\napp: y\n", "t.yaml:3: a second document; one is expected"},
        {"app: x\n%YAML 1.1\n", "t.yaml:2: a line must not begin with '%'"},
        {"app: x\n\xff: y\n", "t.yaml:2: byte 0xff is not text in UTF-8"},
        {"app: \x01\n", "t.yaml:1: byte 0x01 is not text in UTF-8"},
        {"? [a]\n: b\n", "t.yaml:1: a key must be a word"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        CLEANUP(yaml_freep) struct yaml *y = NULL;
        int r = load(cases[i].text, &y, &e);
        if (r == 0)
            r = read_keys(yaml_root(y), &e);
        CHECK(t, r < 0);
        CHECK_STR(t, e.text, cases[i].message);
    }
}

static void test_syntax_error_names_line(struct test *t)
{
    static const char *const cases[] = {"a: b\nc: [1, 2\nd: 3\n", "a: b\n\tc: 1\n",
                                        "a: b\n c: 1\n  - x\n", "a: 'x\n"};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        CLEANUP(yaml_freep) struct yaml *y = NULL;
        CHECK_EQ(t, load(cases[i], &y, &e), -EINVAL);
        CHECK(t, strncmp(e.text, "t.yaml:", 7) == 0 && e.text[7] >= '1' && e.text[7] <= '9');
    }
}

static void test_bounds(struct test *t)
{
    struct err e = {0};
    CLEANUP(yaml_freep) struct yaml *y = NULL;
    // Nine levels of nine aliases: 9^9 values if anything expanded them.
    char laughs[2048];
    size_t n = (size_t)snprintf(laughs, sizeof(laughs), "a: &a [x,x,x,x,x,x,x,x,x]\n");
    for (char c = 'b'; c <= 'i'; c++) {
        char p = (char)(c - 1);
        n += (size_t)snprintf(laughs + n, sizeof(laughs) - n,
                              "%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, p, p, p, p,
                              p, p, p, p, p);
    }
    CHECK_EQ(t, load(laughs, &y, &e), -E2BIG);
    char deep[2 * 5000 + 1];
    memset(deep, '[', 5000);
    memset(deep + 5000, ']', 5000);
    deep[10000] = '\0';
    CHECK(t, load(deep, &y, &e) < 0);
    size_t big = YAML_BYTES_MAX + 1;
    char *text = malloc(big);
    CHECK(t, text != NULL);
    memset(text, '#', big);
    int r = yaml_load("t.yaml", text, big, &y, &e);
    free(text);
    CHECK_EQ(t, r, -E2BIG);
}

static void test_alias_is_shared(struct test *t)
{
    struct err e = {0};
    CLEANUP(yaml_freep) struct yaml *y = NULL;
    CHECK_EQ(t, load("a: &m {p: 1}\nb: *m\n", &y, &e), 0);
    const struct yaml_node *b = yaml_get(yaml_root(y), "b");
    CHECK(t, b != NULL && b == yaml_get(yaml_root(y), "a") && yaml_count(b) == 1);
}

static void test_missing_file(struct test *t)
{
    struct err e = {0};
    struct yaml *y = NULL;
    CHECK_EQ(t, yaml_load_file("/nonexistent/x.yaml", &y, &e), -ENOENT);
    CHECK_STR(t, e.text, "/nonexistent/x.yaml: cannot open: No such file or directory");
}

int main(void)
{
    static const struct test_case cases[] = {TEST_CASE(test_values),
                                             TEST_CASE(test_errors),
                                             TEST_CASE(test_syntax_error_names_line),
                                             TEST_CASE(test_bounds),
                                             TEST_CASE(test_alias_is_shared),
                                             TEST_CASE(test_missing_file)};
    return test_main(cases, ARRAY_LEN(cases));
}
