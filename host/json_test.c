// SPDX-License-Identifier: Apache-2.0
#include "host/json.h"

#include <errno.h>

#include "base/test.h"
#include "host/suggest.h"

static const char *const keys[] = {"Args", "Env", "Files", "RunConfig", NULL};

static int parse(const char *text, json_t **ret, struct err *e)
{
    return json_read_text(text, strlen(text), "c.json", ret, e);
}

static void test_suggest(struct test *t)
{
    CHECK_STR(t, suggest("Agrs", keys), "Args");
    CHECK_STR(t, suggest("env", keys), "Env");
    CHECK_STR(t, suggest("RunConfg", keys), "RunConfig");
    CHECK(t, suggest("Volumes", keys) == NULL);
    CHECK(t, suggest("", keys) == NULL);
}

static void test_errors_name_the_place(struct test *t)
{
    json_auto_t *root = NULL;
    struct err e;
    CHECK_EQ(t, parse("{\n  \"Args\": ]", &root, &e), -EINVAL);
    CHECK(t, strncmp(e.text, "c.json:2:", 9) == 0);
    CHECK_EQ(t, parse("{\"Args\": \"a\\u0000b\"}", &root, &e), -EINVAL);
    CHECK_EQ(t, parse("{\"Args\": 1, \"Args\": 2}", &root, &e), -EINVAL);
    CHECK_EQ(t, parse("{\"RunConfig\": {\"Ports\": [\"a\", 5]}}", &root, &e), 0);
    struct jview top = jview_of("c.json", root), run, ports;
    CHECK_EQ(t, jview_object(&top, "RunConfig", JVIEW_REQUIRED, &run, &e), 0);
    CHECK_EQ(t, jview_array(&run, "Ports", JVIEW_REQUIRED, &ports, &e), 0);
    CHECK_EQ(t, jview_count(&ports), 2);
    const char *s = NULL;
    struct jview first = jview_item(&ports, 0), second = jview_item(&ports, 1);
    CHECK_EQ(t, jview_as_string(&first, &s, &e), 0);
    CHECK_STR(t, s, "a");
    CHECK_EQ(t, jview_as_string(&second, &s, &e), -EINVAL);
    CHECK_STR(t, e.text, "c.json: RunConfig.Ports[1]: must be a string, not an integer");
    CHECK_EQ(t, jview_string(&run, "Ports", JVIEW_OPTIONAL, &s, &e), -EINVAL);
    CHECK_STR(t, e.text, "c.json: RunConfig.Ports: must be a string, not an array");
}

static void test_unknown_key(struct test *t)
{
    json_auto_t *root = NULL;
    struct err e;
    CHECK_EQ(t, parse("{\"Agrs\": []}", &root, &e), 0);
    struct jview top = jview_of("c.json", root);
    CHECK_EQ(t, jview_keys(&top, keys, &e), -EINVAL);
    CHECK_STR(t, e.text, "c.json: unknown key 'Agrs' (did you mean 'Args'?)");
}

static void test_optional_and_required(struct test *t)
{
    json_auto_t *root = NULL;
    struct err e;
    CHECK_EQ(t, parse("{\"n\": 70000, \"s\": [], \"f\": 0.5}", &root, &e), 0);
    struct jview top = jview_of("c.json", root), absent;
    uint64_t n = 7;
    const char *s = "default";
    bool b = true;
    double f = 0;
    CHECK_EQ(t, jview_uint(&top, "x", JVIEW_OPTIONAL, 0, 9, &n, &e), 0);
    CHECK_EQ(t, n, 7);
    CHECK_EQ(t, jview_uint(&top, "n", JVIEW_OPTIONAL, 1, 65535, &n, &e), -EINVAL);
    CHECK_STR(t, e.text, "c.json: n: must be between 1 and 65535, not 70000");
    CHECK_EQ(t, jview_uint(&top, "n", JVIEW_OPTIONAL, 1, 70000, &n, &e), 0);
    CHECK_EQ(t, n, 70000);
    CHECK_EQ(t, jview_string(&top, "s", JVIEW_REQUIRED, &s, &e), -EINVAL);
    CHECK_STR(t, s, "default");
    CHECK_EQ(t, jview_number(&top, "f", JVIEW_REQUIRED, 0, 1, &f, &e), 0);
    CHECK_EQ(t, f * 2, 1);
    CHECK_EQ(t, jview_bool(&top, "b", JVIEW_REQUIRED, &b, &e), -ENOENT);
    CHECK_STR(t, e.text, "c.json: key 'b' is missing");
    CHECK_EQ(t, jview_object(&top, "o", JVIEW_OPTIONAL, &absent, &e), 0);
    CHECK(t, absent.value == NULL);
    CHECK_EQ(t, jview_count(&absent), 0);
    CHECK_EQ(t, jview_string(&absent, "s", JVIEW_OPTIONAL, &s, &e), 0);
    CHECK_EQ(t, jview_string(&absent, "s", JVIEW_REQUIRED, &s, &e), -ENOENT);
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_suggest),
        TEST_CASE(test_errors_name_the_place),
        TEST_CASE(test_unknown_key),
        TEST_CASE(test_optional_and_required),
    };
    return test_main(cases, ARRAY_LEN(cases));
}
