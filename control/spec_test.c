// SPDX-License-Identifier: Apache-2.0
#include "control/spec.h"

#include <errno.h>

#include "base/test.h"

static const char whole[] = "app: hello\n"
                            "image:\n"
                            "  build: make\n"
                            "  program: ./hello\n"
                            "  files: {/etc/motd: motd}\n"
                            "  dirs: {/static: web/static}\n"
                            "  env: {GREETING: 'hi there'}\n"
                            "  args: [-v, '8080']\n"
                            "instance: {memory: 128M, cpus: 2, port: 8080}\n"
                            "service:\n"
                            "  protocol: http\n"
                            "  address: 198.51.100.10\n"
                            "  port: 80\n"
                            "  health: {path: /ok, interval: 250ms, timeout: 2s}\n"
                            "regions:\n"
                            "  - {name: us-west2, provider: local, count: 2}\n"
                            "  - name: europe-west2\n"
                            "rollout: {surge: 2, unavailable: 1, timeout: 30s}\n";

static int parse(const char *text, struct app_file *f, struct err *e)
{
    return app_file_parse("dir/skerry.yaml", text, strlen(text), f, e);
}

static void test_whole_file(struct test *t)
{
    struct err e = {0};
    CLEANUP(app_file_free) struct app_file f = {0};
    CHECK_EQ(t, parse(whole, &f, &e), 0);
    const struct app_spec *s = &f.spec;
    CHECK_STR(t, f.folder, "dir");
    CHECK_STR(t, f.recipe.program, "./hello");
    CHECK_STR(t, f.recipe.build, "make");
    CHECK(t, f.recipe.files_len == 1 && strcmp(f.recipe.files[0].value, "motd") == 0);
    CHECK(t, f.recipe.dirs_len == 1 && strcmp(f.recipe.dirs[0].name, "/static") == 0);
    CHECK(t, f.recipe.env_len == 1 && strcmp(f.recipe.env[0].value, "hi there") == 0);
    CHECK(t, f.recipe.args_len == 2 && strcmp(f.recipe.args[1], "8080") == 0);
    CHECK(t, s->memory_bytes == 128 << 20 && s->cpus == 2 && s->instance_port == 8080);
    CHECK(t, s->protocol == PROTOCOL_HTTP && s->port == 80);
    CHECK_STR(t, s->address, "198.51.100.10");
    CHECK(t, s->health.interval_ms == 250 && s->health.timeout_ms == 2000);
    CHECK_STR(t, s->health.path, "/ok");
    CHECK(t, s->regions_len == 2 && s->regions[0].count == 2 && s->regions[1].count == 1);
    CHECK(t, s->surge == 2 && s->unavailable == 1 && s->timeout_ms == 30000);
}

static void test_defaults(struct test *t)
{
    struct err e = {0};
    CLEANUP(app_file_free) struct app_file f = {0};
    CHECK_EQ(t,
             parse("app: a\nimage: {program: p}\nservice: {address: 10.0.0.1, port: 443}\n"
                   "regions: [{name: r}]\n",
                   &f, &e),
             0);
    CHECK(t, f.spec.instance_port == 443 && f.spec.memory_bytes == 64 << 20 && f.spec.cpus == 1);
    CHECK(t, f.spec.surge == 1 && f.spec.unavailable == 0 && f.spec.regions[0].count == 1);
}

#define HEAD    "app: a\nimage: {program: p}\n"
#define SERVICE "service: {address: 10.0.0.1, port: 80}\n"
#define REGIONS "regions: [{name: r}]\n"

static void test_errors_name_file_line_key(struct test *t)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"ap: x\n" HEAD SERVICE REGIONS, "y:1: key 'ap': unknown key; did you mean 'app'?"},
        {HEAD SERVICE, "y:1: key 'regions': missing"},
        {"app: A_b\nimage: {program: p}\n" SERVICE REGIONS,
         "y:1: key 'app': 'A_b' must be 1 to 24 of a-z, 0-9 and '-', first a letter"},
        {"app: a\nimage: {}\n" SERVICE REGIONS, "y:2: key 'image.program': missing"},
        {"app: a\nimage:\n  program: p\n  files: {etc: x}\n" SERVICE REGIONS,
         "y:4: key 'image.files.etc': the name in the image must begin with '/' (NAME: PATH ON "
         "THIS MACHINE)"},
        {HEAD "instance: {memory: 64000000}\n" SERVICE REGIONS,
         "y:3: key 'instance.memory': must be whole MiB"},
        {HEAD "instance: {memory: lots}\n" SERVICE REGIONS,
         "y:3: key 'instance.memory': 'lots' is not a size such as 64M or 1G"},
        {HEAD "service:\n  address: localhost\n  port: 80\n" REGIONS,
         "y:4: key 'service.address': 'localhost' is not an IPv4 address"},
        {HEAD "service: {address: 10.0.0.1, port: 0}\n" REGIONS,
         "y:3: key 'service.port': 0 is not between 1 and 65535"},
        {HEAD "service: {protocol: udp, address: 10.0.0.1, port: 1}\n" REGIONS,
         "y:3: key 'service.protocol': 'udp' is not one of: http, tcp"},
        {HEAD "service: {address: 10.0.0.1, port: 1, health: {path: ok}}\n" REGIONS,
         "y:3: key 'service.health.path': must begin with '/' and have no spaces"},
        {HEAD "service: {protocol: tcp, address: 10.0.0.1, port: 1, health: {path: /}}\n" REGIONS,
         "y:3: key 'service.health.path': has no meaning with protocol tcp"},
        {HEAD SERVICE "regions: []\n", "y:4: key 'regions': must name 1 to 32 regions"},
        {HEAD SERVICE "regions:\n  - name: r\n  - name: r\n",
         "y:6: key 'regions[1].name': region 'r' stands twice"},
        {HEAD SERVICE "regions: [{name: r, count: 65}]\n",
         "y:4: key 'regions[0].count': 65 is not between 0 and 64"},
        {HEAD SERVICE "regions: [{name: r, provider: gcp}]\n",
         "y:4: key 'regions[0].provider': 'gcp' is not one of: local"},
        {HEAD SERVICE REGIONS "rollout: {surge: 0}\n",
         "y:5: key 'rollout': surge and unavailable are both 0: a rollout could not begin"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        CLEANUP(app_file_free) struct app_file f = {0};
        CHECK_EQ(t, app_file_parse("y", cases[i].text, strlen(cases[i].text), &f, &e), -EINVAL);
        CHECK_STR(t, e.text, cases[i].message);
    }
}

static void test_json_there_and_back(struct test *t)
{
    struct err e = {0};
    CLEANUP(app_file_free) struct app_file f = {0};
    struct app_spec back;
    CHECK_EQ(t, parse(whole, &f, &e), 0);
    snprintf(f.spec.digest, sizeof(f.spec.digest), "sha256:%064d", 7);
    json_t *j = spec_to_json(&f.spec);
    int r = spec_from_json("body", j, &back, &e);
    json_decref(j);
    CHECK_EQ(t, r, 0);
    json_t *a = spec_to_json(&f.spec), *b = spec_to_json(&back);
    bool same = json_equal(a, b) == 1;
    json_decref(a);
    json_decref(b);
    CHECK(t, same);
}

static void test_json_is_checked(struct test *t)
{
    static const char *const cases[] = {
        "[]",
        "{}",
        "{\"app\":\"a\",\"image\":\"sha256:12\"}",
        "{\"app\":\"-a\",\"image\":\"x\"}",
        "{\"app\":\"a\",\"image\":\"sha256:"
        "0000000000000000000000000000000000000000000000000000000000000000\","
        "\"instance\":{\"memory\":67108864,\"port\":80},"
        "\"service\":{\"address\":\"1.2.3.4\",\"port\":80},\"regions\":[{\"name\":\"r\"},"
        "{\"name\":\"r\"}]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        struct app_spec s;
        json_t *j = json_loads(cases[i], 0, NULL);
        int r = spec_from_json("body", j, &s, &e);
        json_decref(j);
        CHECK(t, r < 0 && e.text[0] != '\0');
    }
}

static void test_version_names_what_instances_are(struct test *t)
{
    struct app_spec a = {.digest = "sha256:1", .memory_bytes = 1, .cpus = 1, .instance_port = 1};
    struct app_spec b = a;
    char va[VERSION_MAX], vb[VERSION_MAX];
    b.port = 81; // where users come in: no other instances
    b.regions_len = 1;
    spec_version(&a, va);
    spec_version(&b, vb);
    CHECK_STR(t, va, vb);
    CHECK_EQ(t, strlen(va), VERSION_MAX - 1);
    b.memory_bytes = 2;
    spec_version(&b, vb);
    CHECK(t, strcmp(va, vb) != 0);
}

int main(void)
{
    static const struct test_case cases[] = {TEST_CASE(test_whole_file),
                                             TEST_CASE(test_defaults),
                                             TEST_CASE(test_errors_name_file_line_key),
                                             TEST_CASE(test_json_there_and_back),
                                             TEST_CASE(test_json_is_checked),
                                             TEST_CASE(test_version_names_what_instances_are)};
    return test_main(cases, ARRAY_LEN(cases));
}
