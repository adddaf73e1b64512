// SPDX-License-Identifier: Apache-2.0
/* skerry run: one program or image, in the foreground, on this machine. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/spec.h"
#include "host/fd.h"
#include "image/store.h"
#include "provider/local/local.h"
#include "provider/local/symbols.h"

enum {
    RUN_FAILED = 125, // a status that programs rarely use: it was not the program that failed
    MEMORY_DEFAULT = 128 << 20,
    GRACE_MS = 5000,
    PATH_BYTES = 4096,
    OPTION_KERNEL = 1000,
    OPTION_TRACE,
    OPTION_CPUS,
    OPTION_ACCEL,
    OPTION_GDB,
    OPTION_JSON,
    GDB_PORT = 1234, // QEMU's own choice
};

static const char options_text[] =
    "  -p, --port [ADDRESS:]PORT[:GUESTPORT][/udp]\n"
    "                      forward a port of this machine (of 127.0.0.1) to the program;\n"
    "                      may repeat\n"
    "  -m, --memory SIZE   memory of the machine, as 64M or 1G (default 128M)\n"
    "      --smp N         processors of the machine (default 1); --cpus is the same\n"
    "  -c, --config FILE   what else goes in: config.json\n"
    "  -a, --arg ARG       argument of the program, may repeat\n"
    "  -e, --env K=V       environment variable, may repeat\n"
    "      --accel WHICH   auto, kvm or tcg: how the machine's processor is made\n"
    "      --trace         print system calls\n"
    "      --gdb[=PORT]    stop before the first instruction and wait for a debugger\n"
    "                      (port 1234)\n"
    "      --json          say how it went on the last line of standard error, as JSON\n"
    "      --kernel FILE   another kernel\n"
    "\n"
    "Exits with the program's status, with 128 + N when signal N killed it, and with 125 when\n"
    "it could not be run.\n";

struct request {
    struct cli_spec given;
    struct instance_spec instance;
    struct provider_config config;
    char id[INSTANCE_ID_MAX];
    char image[PATH_BYTES];
    int temporary; // the image of a program, without a name; -1: none
    bool ports_given;
    // What --json tells.
    bool json;
    int64_t begun_us, packed_us, ended_us; // CLOCK_MONOTONIC; 0: not yet
    const char *accel;                     // NULL: the machine was not started
};

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000ll + t.tv_nsec / 1000;
}

// ---- options

/* A number from 1 to max that ends at one of the characters of ends (or the text's end). */
static bool number(const char **text, const char *ends, unsigned long max, unsigned long *ret)
{
    char *end;
    if (!isdigit((unsigned char)**text))
        return false;
    errno = 0;
    *ret = strtoul(*text, &end, 10);
    if (errno != 0 || *ret == 0 || *ret > max || (*end != '\0' && strchr(ends, *end) == NULL))
        return false;
    *text = end;
    return true;
}

static bool parse_size(const char *text, uint64_t *ret)
{
    unsigned long n;
    if (!number(&text, "MG", INSTANCE_MEMORY_MAX >> 20, &n) || *text == '\0' || text[1] != '\0')
        return false;
    *ret = (uint64_t)n << (*text == 'G' ? 30 : 20);
    return *ret >= INSTANCE_MEMORY_MIN && *ret <= INSTANCE_MEMORY_MAX;
}

/* [ADDRESS:]PORT[:GUESTPORT][/udp|/tcp] */
static bool parse_port(const char *text, struct instance_forward *ret)
{
    char address[INET_ADDRSTRLEN] = "127.0.0.1";
    unsigned long host, guest;
    const char *colon = strchr(text, ':');
    if (memchr(text, '.', strcspn(text, ":")) != NULL) {
        size_t len = strcspn(text, ":");
        if (colon == NULL || len >= sizeof(address))
            return false;
        memcpy(address, text, len);
        address[len] = '\0';
        text = colon + 1;
    }
    if (inet_pton(AF_INET, address, ret->host_address) != 1 || !number(&text, ":/", 65535, &host))
        return false;
    guest = host;
    if (*text == ':') {
        text++;
        if (!number(&text, "/", 65535, &guest))
            return false;
    }
    ret->host_port = (uint16_t)host;
    ret->guest_port = (uint16_t)guest;
    ret->udp = strcmp(text, "/udp") == 0;
    return *text == '\0' || ret->udp || strcmp(text, "/tcp") == 0;
}

static int add_port(struct request *q, const char *text)
{
    struct instance_net *n = &q->instance.net;
    if (n->forwards_n == INSTANCE_FORWARDS_MAX)
        return cli_usage("run", "more than %d ports", INSTANCE_FORWARDS_MAX);
    if (!parse_port(text, &n->forwards[n->forwards_n]))
        return cli_usage("run", "port '%s': must be [ADDRESS:]PORT[:GUESTPORT][/udp]", text);
    n->forwards_n++;
    return CLI_OK;
}

static int take_option(struct request *q, int c, char **argv)
{
    unsigned long n;
    const char *text = optarg;
    switch (c) {
    case 'p':
        q->ports_given = true;
        return add_port(q, optarg);
    case 'm':
        if (!parse_size(optarg, &q->instance.memory_bytes))
            return cli_usage("run", "memory '%s': must be a size as 64M or 1G, from %lluM", optarg,
                             INSTANCE_MEMORY_MIN >> 20);
        return CLI_OK;
    case OPTION_CPUS:
        if (!number(&text, "", INSTANCE_CPUS_MAX, &n))
            return cli_usage("run", "--smp '%s': must be 1 to %d", optarg, INSTANCE_CPUS_MAX);
        q->instance.cpus = (uint32_t)n;
        return CLI_OK;
    case OPTION_ACCEL:
        if (strcmp(optarg, "auto") != 0 && strcmp(optarg, "kvm") != 0 && strcmp(optarg, "tcg") != 0)
            return cli_usage("run", "--accel '%s': must be auto, kvm or tcg", optarg);
        q->config.accel = optarg;
        return CLI_OK;
    case OPTION_GDB:
        n = GDB_PORT;
        if (optarg != NULL && !number(&text, "", 65535, &n))
            return cli_usage("run", "--gdb '%s': must be a port, 1 to 65535", optarg);
        q->instance.gdb_port = (uint16_t)n;
        return CLI_OK;
    case OPTION_JSON:
        q->json = true;
        return CLI_OK;
    case OPTION_TRACE:
        q->instance.trace = true;
        return CLI_OK;
    case OPTION_KERNEL:
        q->config.kernel_path = optarg;
        return CLI_OK;
    default:
        return cli_spec_option(&q->given, c) ? CLI_OK : cli_bad_option("run", c, argv);
    }
}

// ---- what to run

/* The host name of the machine: the program's, as far as host names go. */
static void set_id(struct request *q, const char *name)
{
    const char *slash = strrchr(name, '/');
    size_t n = 0;
    for (const char *p = slash != NULL ? slash + 1 : name; *p != '\0' && n < 32; p++)
        if (isalnum((unsigned char)*p) || (*p == '-' && n > 0))
            q->id[n++] = (char)tolower((unsigned char)*p);
    if (n == 0)
        n = (size_t)snprintf(q->id, sizeof(q->id), "skerry");
    q->id[n] = '\0';
    q->instance.id = q->id;
}

/* A file that is gone when its last user is. */
static int open_temporary(struct err *e)
{
    const char *folder = getenv("TMPDIR");
    char path[PATH_BYTES];
    snprintf(path, sizeof(path), "%s/skerry-run-XXXXXX", folder != NULL ? folder : "/tmp");
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return err_set(e, -errno, "%s: cannot create: %s", path, strerror(errno));
    unlink(path);
    return fd;
}

/* The spec owns what accel points to; the three words there are do not change. */
static const char *lasting_accel(const char *accel)
{
    static const char *const words[] = {"auto", "kvm", "tcg"};
    for (size_t i = 0; accel != NULL && i < ARRAY_LEN(words); i++)
        if (strcmp(accel, words[i]) == 0)
            return words[i];
    return NULL;
}

/* What RunConfig of a file or image says counts where the command line says nothing. */
static int apply_config(struct request *q, const struct image_run *c, const char *file,
                        struct err *e)
{
    struct instance_net *n = &q->instance.net;
    if (q->instance.memory_bytes == 0 && c->memory != NULL &&
        !parse_size(c->memory, &q->instance.memory_bytes))
        return err_set(e, -EINVAL,
                       "%s: RunConfig.Memory: '%s' must be a size as 64M or 1G, from %lluM", file,
                       c->memory, INSTANCE_MEMORY_MIN >> 20);
    if (q->config.accel == NULL && c->accel != NULL) {
        q->config.accel = lasting_accel(c->accel);
        if (q->config.accel == NULL)
            return err_set(e, -EINVAL, "%s: RunConfig.Accel: '%s' must be auto, kvm or tcg", file,
                           c->accel);
    }
    if (q->instance.cpus == 0)
        q->instance.cpus = c->cpus;
    q->instance.trace |= c->trace;
    q->instance.written_exec |= c->written_exec;
    q->instance.no_anonymous_exec |= c->no_anonymous_exec;
    for (uint32_t i = 0; !q->ports_given && i < c->ports_n; i++) {
        if (n->forwards_n == INSTANCE_FORWARDS_MAX)
            return err_set(e, -E2BIG, "%s: RunConfig: more than %d ports", file,
                           INSTANCE_FORWARDS_MAX);
        if (!parse_port(c->ports[i], &n->forwards[n->forwards_n++]))
            return err_set(e, -EINVAL,
                           "%s: RunConfig: port '%s' must be [ADDRESS:]PORT[:GUESTPORT][/udp]",
                           file, c->ports[i]);
    }
    return 0;
}

static int use_program(struct request *q, const char *program, struct err *e)
{
    CLEANUP(image_spec_freep) struct image_spec *spec = NULL;
    struct image_digest ignored;
    int r = image_spec_new(&spec, e);
    r = r < 0 ? r : cli_spec_apply(&q->given, spec, e);
    if (r == 0 && program != NULL)
        r = image_spec_program(spec, program, e);
    if (r == 0) {
        struct image_run config = image_spec_run(spec);
        r = apply_config(q, &config, q->given.config != NULL ? q->given.config : "", e);
    }
    if (r < 0)
        return r;
    if (image_spec_program_path(spec) != NULL)
        set_id(q, image_spec_program_path(spec));
    r = q->temporary = open_temporary(e);
    r = r < 0 ? r : image_build(spec, q->temporary, &ignored, e);
    // QEMU opens it by our descriptor's name, while we live.
    snprintf(q->image, sizeof(q->image), "/proc/%d/fd/%d", getpid(), q->temporary);
    return r;
}

static int use_image(struct request *q, const char *name, const char *path, struct err *e)
{
    if (q->given.config != NULL)
        return err_set(e, -EINVAL, "image '%s': -c is for making an image", name);
    if (q->given.overflow)
        return err_set(e, -E2BIG, "image '%s': too many of -a or -e", name);
    snprintf(q->image, sizeof(q->image), "%s", path);
    set_id(q, strncmp(name, IMAGE_DIGEST_PREFIX, strlen(IMAGE_DIGEST_PREFIX)) == 0 ? "" : name);
    q->instance.args = q->given.args;
    q->instance.args_n = q->given.args_n;
    q->instance.env = q->given.envs;
    q->instance.env_n = q->given.envs_n;
    CLEANUP(image_closep) struct image *im = NULL;
    int r = image_open(path, &im, e);
    return r < 0 ? r : apply_config(q, &im->run, name, e);
}

/* 1 it is one, 0 it is something else; an image that is damaged is an error. */
static int check_image_file(const char *path, struct err *e)
{
    char magic[sizeof(IMAGE_MAGIC) - 1];
    CLEANUP(image_closep) struct image *im = NULL;
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(e, -errno, "%s: %s", path, strerror(errno));
    if (read(fd, magic, sizeof(magic)) != (ssize_t)sizeof(magic) ||
        memcmp(magic, IMAGE_MAGIC, sizeof(magic)) != 0)
        return 0;
    int r = image_open(path, &im, e);
    return r < 0 ? r : 1;
}

/* A file of that name here (a program, or an image file), or else an image of the store. */
static int resolve(struct request *q, const char *word, struct err *e)
{
    struct stat st;
    char path[PATH_BYTES];
    if (word == NULL)
        return use_program(q, NULL, e);
    bool is_file = stat(word, &st) == 0 && S_ISREG(st.st_mode);
    int is_image = is_file ? check_image_file(word, e) : 0;
    if (is_image < 0)
        return is_image;
    if (is_image == 1)
        return use_image(q, word, word, e);
    if (is_file || strchr(word, '/') != NULL)
        return use_program(q, word, e);
    CLEANUP(image_store_freep) struct image_store *store = NULL;
    struct image_digest digest;
    int r = image_store_open(NULL, &store, e);
    r = r < 0 ? r : image_store_resolve(store, word, &digest, e);
    if (r == -ENOENT)
        return err_set(e, r,
                       "'%s' is neither a file here nor an image of the store "
                       "('skerry image list' shows them)",
                       word);
    r = r < 0 ? r : image_store_path(store, digest.text, path, sizeof(path), e);
    r = r < 0 ? r : check_image_file(path, e);
    if (r == 0)
        r = err_set(e, -EINVAL, "%s is not a skerry image", path);
    return r < 0 ? r : use_image(q, word, path, e);
}

// ---- running

/* The calls that led to a panic, with the names that the kernel's file has for them. */
static void print_trace(const struct request *q, const struct instance_info *info)
{
    struct err ignored;
    char path[PATH_BYTES] = "", name[SYMBOL_NAME_MAX];
    CLEANUP(symbols_freep) struct symbols *s = NULL;
    if (q->config.kernel_path != NULL)
        snprintf(path, sizeof(path), "%s", q->config.kernel_path);
    bool found = path[0] != '\0' || provider_kernel_find(path, sizeof(path), &ignored) == 0;
    found = found && symbols_open(path, &s, &ignored) == 0;
    for (uint32_t i = 0; i < info->trace_n; i++) {
        // Behind a call that never returns may lie another function.
        bool named = found && symbols_name(s, info->trace[i] - 1, name);
        fprintf(stderr, "    %016llx%s%s\n", (unsigned long long)info->trace[i], named ? "  " : "",
                named ? name : "");
    }
}

static int result(const struct request *q, const struct instance_info *info)
{
    switch (info->state) {
    case INSTANCE_EXITED:
        return info->status;
    case INSTANCE_SIGNALED:
        return 128 + info->status;
    case INSTANCE_PANICKED:
        fprintf(stderr, "skerry: the kernel gave up: %s\n", info->text);
        print_trace(q, info);
        return RUN_FAILED;
    case INSTANCE_KILLED:
    case INSTANCE_RUNNING:
        break;
    }
    if (info->status != 0)
        return 128 + info->status;
    fprintf(stderr, "skerry: the machine ended without a word%s%s\n",
            info->text[0] != '\0' ? "; QEMU said: " : "", info->text);
    return RUN_FAILED;
}

static const char *end_text(const struct instance_info *info)
{
    switch (info->state) {
    case INSTANCE_EXITED:
        return "exited";
    case INSTANCE_SIGNALED:
        return "signaled";
    case INSTANCE_PANICKED:
        return "panicked";
    case INSTANCE_KILLED:
    case INSTANCE_RUNNING:
        break;
    }
    return "killed";
}

static double millis_between(int64_t from_us, int64_t to_us)
{
    return from_us != 0 && to_us != 0 ? (double)(to_us - from_us) / 1e3 : 0;
}

/* One line of JSON on standard error: docs/man/skerry-run.1 says what each member is. */
static void summary(const struct request *q, int status, const struct instance_info *info,
                    const struct err *e)
{
    json_auto_t *o =
        json_pack("{s:i, s:s, s:s?, s:I, s:i}", "status", status, "end",
                  e != NULL ? "failed" : end_text(info), "accel", q->accel, "memory_bytes",
                  (json_int_t)q->instance.memory_bytes, "cpus", (int)q->instance.cpus);
    struct rusage used;
    struct stat st;
    if (o == NULL)
        return;
    if (e != NULL)
        json_object_set_new(o, "error", json_string(e->text));
    if (e == NULL && info->state == INSTANCE_EXITED)
        json_object_set_new(o, "exit", json_integer(info->status));
    if (e == NULL && (info->state == INSTANCE_SIGNALED || info->state == INSTANCE_KILLED))
        json_object_set_new(o, "signal", json_integer(info->status));
    if (e == NULL && info->text[0] != '\0')
        json_object_set_new(o, "text", json_string(info->text));
    json_object_set_new(o, "pack_ms", json_real(millis_between(q->begun_us, q->packed_us)));
    json_object_set_new(o, "run_ms", json_real(millis_between(q->packed_us, q->ended_us)));
    if (e == NULL && getrusage(RUSAGE_CHILDREN, &used) == 0) { // QEMU was the only one
        struct timeval cpu;
        timeradd(&used.ru_utime, &used.ru_stime, &cpu);
        json_object_set_new(o, "boot_us", json_integer((json_int_t)info->up_micros));
        json_object_set_new(o, "cpu_ms",
                            json_real((double)cpu.tv_sec * 1e3 + (double)cpu.tv_usec / 1e3));
        json_object_set_new(o, "peak_bytes", json_integer(used.ru_maxrss * 1024ll));
    }
    if (q->image[0] != '\0' && stat(q->image, &st) == 0)
        json_object_set_new(o, "image_bytes", json_integer(st.st_size));
    fflush(stdout);
    json_dumpf(o, stderr, JSON_REAL_PRECISION(9));
    fputc('\n', stderr);
}

static void on_start(void *ctx, const char *kernel_path, bool kvm)
{
    struct request *q = ctx;
    q->accel = kvm ? "kvm" : "tcg";
    if (q->instance.gdb_port != 0)
        fprintf(stderr,
                "skerry: the machine waits for a debugger: gdb -ex 'target remote 127.0.0.1:%u' "
                "%s\n",
                q->instance.gdb_port, kernel_path);
}

static int run(struct request *q, const char *word, struct instance_info *info, struct err *e)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGQUIT);
    q->begun_us = now_us();
    int r = resolve(q, word, e);
    if (q->instance.memory_bytes == 0)
        q->instance.memory_bytes = MEMORY_DEFAULT;
    if (q->instance.cpus == 0)
        q->instance.cpus = 1;
    if (r < 0)
        return r;
    q->packed_us = now_us();
    sigprocmask(SIG_BLOCK, &signals, NULL);
    CLEANUP(fd_closep) int signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    struct local_foreground io = {.console_fd = STDOUT_FILENO,
                                  .signal_fd = signal_fd,
                                  .grace_ms = GRACE_MS,
                                  .on_start = on_start,
                                  .ctx = q};
    q->instance.image_path = q->image;
    r = local_run(&q->config, &q->instance, &io, info, e);
    q->ended_us = now_us();
    return r;
}

static int run_and_tell(struct request *q, const char *word)
{
    struct instance_info info = {0};
    struct err e = {0};
    int r = run(q, word, &info, &e), status = RUN_FAILED;
    if (r < 0)
        cli_fail(&e);
    else
        status = result(q, &info);
    if (q->json)
        summary(q, status, &info, r < 0 ? &e : NULL);
    return status;
}

int cli_run(int argc, char **argv)
{
    static const struct option options[] = {{"port", required_argument, NULL, 'p'},
                                            {"memory", required_argument, NULL, 'm'},
                                            {"smp", required_argument, NULL, OPTION_CPUS},
                                            {"cpus", required_argument, NULL, OPTION_CPUS},
                                            {"config", required_argument, NULL, 'c'},
                                            {"arg", required_argument, NULL, 'a'},
                                            {"env", required_argument, NULL, 'e'},
                                            {"accel", required_argument, NULL, OPTION_ACCEL},
                                            {"gdb", optional_argument, NULL, OPTION_GDB},
                                            {"json", no_argument, NULL, OPTION_JSON},
                                            {"trace", no_argument, NULL, OPTION_TRACE},
                                            {"kernel", required_argument, NULL, OPTION_KERNEL},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct request q = {.instance = {.net = {.kind = INSTANCE_NET_USER}}, .temporary = -1};
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, ":p:m:c:a:e:h", options, NULL)) != -1;) {
        if (c == 'h')
            return cli_help("run", options_text);
        int r = take_option(&q, c, argv);
        if (r != CLI_OK)
            return r;
    }
    if (argc - optind > 1)
        return cli_usage("run", "one program at a time; its arguments go behind -a");
    if (optind == argc && q.given.config == NULL)
        return cli_usage("run", "no program or image is named");
    int r = run_and_tell(&q, optind < argc ? argv[optind] : NULL);
    fd_closep(&q.temporary);
    return r;
}
