// SPDX-License-Identifier: Apache-2.0
#include "control/agent.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/utf8.h"
#include "control/console.h"
#include "control/desired.h"
#include "control/fake.h"
#include "control/link.h"
#include "control/probe.h"
#include "control/supervise.h"
#include "host/file.h"
#include "host/json.h"
#include "host/log.h"
#include "provider/provider.h"

enum {
    REPORT_MS = 1000,      // at least so often, and on every change
    REPORT_RETRY_MS = 500, // when the controller could not be reached
    PULL_RETRY_MS = 500,
    STOP_GRACE_MS = 5000,
    BOOT_PROBE_MS = 50, // between checks of one that is not healthy yet
    BOOT_PROBE_TIMEOUT_MS = 500,
    BOOT_BLIND_MS = 3000,       // checked after so long even if it did not say that it is up
    CONSOLES_MAX = 64,          // instances whose output is in one report
    CONSOLE_CHUNK = 16 * 1024,  // bytes of output in one report
    CONSOLE_FILE_MAX = 4 << 20, // a larger console file is emptied
    ERROR_MAX = 256,
    PATH_BYTES = 4096,
    STATE_FILE_MAX = 4 << 20,
};

// One instance of ours, from the moment it is wanted until nothing is left of it.
struct unit {
    struct wanted wanted;
    bool spec_known; // false: found running, nobody told us yet what it is
    uint32_t address;
    struct supervised life;
    struct probe probe;
    uint64_t probe_ms; // next check
    bool up;           // the program was entered in this run
    uint64_t up_micros;
    char error[ERROR_MAX];
    // console
    uint64_t console_base; // bytes emptied from the file so far
    uint64_t console_sent; // offset up to which the controller has it
    uint64_t console_next; // the same once the report under way has arrived
};

struct agent {
    const struct agent_config *config;
    const struct provider_ops *ops;
    struct provider *provider;
    struct link link;
    struct subnet subnet;
    char images_dir[PATH_BYTES / 2], consoles_dir[PATH_BYTES / 2], state_path[PATH_BYTES / 2];
    struct unit *units[INSTANCES_MAX];
    uint32_t units_len;
    struct desired desired;
    json_t *desired_json;  // what desired was read from
    bool changed;          // something to report
    bool reporting;        // a report is under way
    uint64_t report_ms;    // not before this
    uint32_t console_turn; // first unit whose output comes with the next report
    bool pulling;
    char pull_error[ERROR_MAX];
    char pull_digest[DIGEST_MAX];
    uint64_t pull_ms; // not before this
};

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static struct unit *find(const struct agent *a, const char *id)
{
    for (uint32_t i = 0; i < a->units_len; i++)
        if (strcmp(a->units[i]->wanted.id, id) == 0)
            return a->units[i];
    return NULL;
}

static void console_path(const struct agent *a, const struct unit *u, char *ret, size_t max)
{
    snprintf(ret, max, "%s/%s.log", a->consoles_dir, u->wanted.id);
}

static void image_path(const struct agent *a, const char *digest, char *ret, size_t max)
{
    snprintf(ret, max, "%s/%s", a->images_dir, digest);
}

// --- what is kept on disk ---

static int save(const struct agent *a, struct err *err)
{
    json_t *units = json_object();
    for (uint32_t i = 0; i < a->units_len; i++) {
        const struct unit *u = a->units[i];
        char text[ADDRESS_MAX];
        address_text(u->address, text);
        json_object_set_new(
            units, u->wanted.id,
            json_pack("{s:s,s:I}", "address", text, "console_base", (json_int_t)u->console_base));
    }
    json_auto_t *j = json_pack("{s:o,s:i,s:O*}", "units", units, "next",
                               (int)(a->subnet.next - a->subnet.first), "desired", a->desired_json);
    char *text = j == NULL ? NULL : json_dumps(j, JSON_INDENT(1));
    if (text == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    int r = file_replace(a->state_path, text, strlen(text), 0600, err);
    free(text);
    return r;
}

static void save_or_warn(const struct agent *a)
{
    struct err err = {0};
    if (save(a, &err) < 0)
        log_warn("state not saved", "why=\"%s\"", err.text);
}

// --- units ---

static bool address_taken(const void *ctx, uint32_t address)
{
    const struct agent *a = ctx;
    for (uint32_t i = 0; i < a->units_len; i++)
        if (a->units[i]->address == address)
            return true;
    return false;
}

static struct unit *unit_add(struct agent *a, const char *id, uint32_t address, uint64_t now)
{
    struct unit *u = a->units_len == INSTANCES_MAX ? NULL : calloc(1, sizeof(*u));
    if (u == NULL)
        return NULL;
    snprintf(u->wanted.id, sizeof(u->wanted.id), "%s", id);
    u->address = address;
    u->probe_ms = now;
    supervise_init(&u->life, now);
    a->units[a->units_len++] = u;
    a->changed = true;
    return u;
}

static bool digest_in_use(const struct agent *a, const char *digest)
{
    for (uint32_t i = 0; i < a->units_len; i++)
        if (strcmp(a->units[i]->wanted.digest, digest) == 0)
            return true;
    for (uint32_t i = 0; i < a->desired.len; i++)
        if (strcmp(a->desired.instances[i].digest, digest) == 0)
            return true;
    return false;
}

static void sweep_images(const struct agent *a)
{
    DIR *d = opendir(a->images_dir);
    if (d == NULL)
        return;
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        if (digest_is_valid(e->d_name) && !digest_in_use(a, e->d_name))
            unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
}

// Nothing is left of it: no process, record, console, address; nor its image if it was the last.
static void unit_remove(struct agent *a, struct unit *u)
{
    char path[PATH_BYTES];
    uint32_t kept = 0;
    console_path(a, u, path, sizeof(path));
    unlink(path);
    probe_cancel(&u->probe);
    for (uint32_t i = 0; i < a->units_len; i++)
        if (a->units[i] != u)
            a->units[kept++] = a->units[i];
    a->units_len = kept;
    log_info("instance removed", "id=%s", u->wanted.id);
    free(u);
    sweep_images(a);
    a->changed = true;
}

static void set_error(struct unit *u, const char *text)
{
    snprintf(u->error, sizeof(u->error), "%.*s", (int)sizeof(u->error) - 1, text);
}

static void unit_start(struct agent *a, struct unit *u, uint64_t now)
{
    char image[PATH_BYTES], console[PATH_BYTES];
    struct err err = {0};
    image_path(a, u->wanted.digest, image, sizeof(image));
    console_path(a, u, console, sizeof(console));
    struct instance_spec spec = {.id = u->wanted.id,
                                 .image_path = image,
                                 .kernel_path = a->config->kernel,
                                 .console_path = console,
                                 .memory_bytes = u->wanted.memory_bytes,
                                 .cpus = u->wanted.cpus};
    uint32_t address = htonl(u->address), gateway = htonl(a->subnet.gateway);
    spec.net = (struct instance_net){.kind = INSTANCE_NET_BRIDGE,
                                     .bridge = a->config->bridge,
                                     .prefix_len = a->subnet.prefix_len};
    memcpy(spec.net.address, &address, sizeof(address));
    memcpy(spec.net.gateway, &gateway, sizeof(gateway));
    a->changed = true;
    u->up = false;
    u->up_micros = 0;
    if (a->ops->instance_put(a->provider, &spec, &err) < 0) {
        log_warn("instance not started", "id=%s why=\"%s\"", u->wanted.id, err.text);
        set_error(u, err.text);
        supervise_ended(&u->life, now);
        return;
    }
    log_info("instance started", "id=%s runs_before=%u", u->wanted.id, u->life.restarts);
    supervise_started(&u->life, now);
    u->probe_ms = now + BOOT_BLIND_MS;
}

static void unit_stop(struct agent *a, struct unit *u, uint32_t grace_ms)
{
    struct err err = {0};
    log_info("instance to stop", "id=%s grace_ms=%u", u->wanted.id, grace_ms);
    if (a->ops->instance_stop(a->provider, u->wanted.id, grace_ms, &err) < 0)
        log_warn("instance not stopped", "id=%s why=\"%s\"", u->wanted.id, err.text);
    a->changed = true;
}

static bool image_is_here(const struct agent *a, const struct unit *u)
{
    char path[PATH_BYTES];
    image_path(a, u->wanted.digest, path, sizeof(path));
    return access(path, R_OK) == 0;
}

static void want_image(struct agent *a, struct unit *u, uint64_t now)
{
    if (strcmp(a->pull_digest, u->wanted.digest) == 0 && a->pull_error[0] != '\0')
        set_error(u, a->pull_error);
    char *digest = a->pulling || now < a->pull_ms ? NULL : strdup(u->wanted.digest);
    if (digest == NULL)
        return;
    a->pulling = true;
    snprintf(a->pull_digest, sizeof(a->pull_digest), "%s", digest);
    mailbox_put(&a->link.want, digest);
}

// All that is to be done for one unit now; true: it is gone.
static bool unit_step(struct agent *a, struct unit *u, uint64_t now)
{
    if (u->life.wanted && !u->life.running && u->spec_known && !image_is_here(a, u)) {
        want_image(a, u, now);
        return false;
    }
    if (u->life.wanted && !u->life.running && !u->spec_known)
        return false; // ended before we were told what it is: wait for the first word
    switch (supervise_step(&u->life, now)) {
    case SUPERVISE_NOTHING:
        break;
    case SUPERVISE_START:
        unit_start(a, u, now);
        break;
    case SUPERVISE_KILL:
        set_error(u, "it did not answer, and was ended");
        unit_stop(a, u, 0);
        break;
    case SUPERVISE_STOP:
        probe_cancel(&u->probe);
        unit_stop(a, u, STOP_GRACE_MS);
        break;
    case SUPERVISE_REMOVE:
        unit_remove(a, u);
        return true;
    }
    return false;
}

// --- health ---

static void checked(struct agent *a, struct unit *u, bool ok, uint64_t now)
{
    bool before = u->life.healthy;
    supervise_checked(&u->life, ok, now);
    if (!ok && !u->life.healthy)
        set_error(u, u->probe.error);
    if (u->life.healthy)
        u->error[0] = '\0';
    u->probe_ms =
        now + (u->life.healthy ? u->wanted.health.interval_ms
                               : MIN(u->wanted.health.interval_ms, (uint32_t)BOOT_PROBE_MS));
    if (before == u->life.healthy)
        return;
    a->changed = true;
    log_info(u->life.healthy ? "instance healthy" : "instance unhealthy", "id=%s why=\"%s\"",
             u->wanted.id, u->error);
}

static bool may_probe(const struct unit *u)
{
    return u->life.wanted && u->life.running && u->spec_known;
}

static void probe_if_due(struct agent *a, struct unit *u, uint64_t now)
{
    char address[ADDRESS_MAX];
    if (!may_probe(u) || u->probe.state != PROBE_IDLE || now < u->probe_ms)
        return;
    address_text(u->address, address);
    uint32_t timeout = u->wanted.health.timeout_ms;
    if (!u->life.was_healthy)
        timeout = MIN(timeout, (uint32_t)BOOT_PROBE_TIMEOUT_MS);
    if (probe_start(&u->probe, address, u->wanted.port,
                    u->wanted.protocol == PROTOCOL_HTTP ? u->wanted.health.path : NULL, timeout,
                    now) == 1)
        checked(a, u, false, now);
}

static void probe_go_on(struct agent *a, struct unit *u, short revents, uint64_t now)
{
    bool ok;
    if (u->probe.state != PROBE_IDLE && probe_step(&u->probe, revents, now, &ok) == 1)
        checked(a, u, ok, now);
}

// --- events of the provider ---

static void describe_end(struct unit *u, const struct instance_info *info)
{
    switch (info->state) {
    case INSTANCE_RUNNING:
        break;
    case INSTANCE_EXITED:
        snprintf(u->error, sizeof(u->error), "the program exited with status %d", info->status);
        break;
    case INSTANCE_SIGNALED:
        snprintf(u->error, sizeof(u->error), "the program was ended by signal %d", info->status);
        break;
    case INSTANCE_PANICKED:
        snprintf(u->error, sizeof(u->error), "kernel panic: %.200s", info->text);
        break;
    case INSTANCE_KILLED:
        if (u->error[0] == '\0' || info->text[0] != '\0')
            snprintf(u->error, sizeof(u->error), "the machine was killed%s%.200s",
                     info->text[0] != '\0' ? ": " : "", info->text);
        break;
    }
}

static void ended(struct agent *a, struct unit *u, const struct instance_info *info, uint64_t now)
{
    struct err err = {0};
    probe_cancel(&u->probe);
    describe_end(u, info);
    log_info("instance ended", "id=%s wanted=%s why=\"%s\"", u->wanted.id,
             u->life.wanted ? "yes" : "no", u->error);
    supervise_ended(&u->life, now);
    a->changed = true;
    // Its record goes at once, so that it may be put again; its console is ours and stays.
    if (a->ops->instance_delete(a->provider, info->id, &err) < 0)
        log_warn("instance not deleted", "id=%s why=\"%s\"", info->id, err.text);
}

static void take_events(struct agent *a, uint64_t now)
{
    struct instance_info info;
    while (a->ops->event_take(a->provider, &info) == 1) {
        struct unit *u = find(a, info.id);
        if (u == NULL || !u->life.running)
            continue;
        if (info.state != INSTANCE_RUNNING) {
            ended(a, u, &info, now);
            continue;
        }
        u->up = true;
        u->up_micros = info.up_micros;
        u->probe_ms = now; // it listens in a moment
    }
}

// --- what is wanted ---

static void want_unit(struct agent *a, const struct wanted *w, uint64_t now)
{
    struct unit *u = find(a, w->id);
    if (u == NULL) {
        uint32_t address = subnet_take(&a->subnet, address_taken, a);
        u = address == 0 ? NULL : unit_add(a, w->id, address, now);
        if (u == NULL) {
            log_warn("no room for an instance", "id=%s", w->id);
            return;
        }
    }
    if (u->address == 0) {
        supervise_unwant(&u->life); // found running, nobody knows where: it comes again
        return;
    }
    u->wanted = *w;
    u->spec_known = true;
}

static void apply_desired(struct agent *a, uint64_t now)
{
    for (uint32_t i = 0; i < a->desired.len; i++)
        want_unit(a, &a->desired.instances[i], now);
    for (uint32_t i = 0; i < a->units_len; i++)
        if (desired_find(&a->desired, a->units[i]->wanted.id) == NULL)
            supervise_unwant(&a->units[i]->life);
    a->changed = true;
}

static int set_desired(struct agent *a, json_t *j, struct err *err) // borrows j
{
    struct desired d;
    int r = desired_parse(j, a->config->region, &d, err);
    if (r < 0)
        return r;
    desired_deinit(&a->desired);
    a->desired = d;
    json_incref(j);
    json_decref(a->desired_json);
    a->desired_json = j;
    return 0;
}

static void take_desired(struct agent *a, uint64_t now)
{
    struct err err = {0};
    char *text = mailbox_take(&a->link.desired);
    if (text == NULL)
        return;
    json_auto_t *j = NULL;
    int r = json_read_text(text, strlen(text), "desired state", &j, &err);
    free(text);
    if (r == 0)
        r = set_desired(a, j, &err);
    if (r < 0) {
        log_warn("desired state refused", "why=\"%s\"", err.text);
        return;
    }
    log_info("desired state", "version=%llu instances=%u", (unsigned long long)a->desired.version,
             a->desired.len);
    apply_desired(a, now);
    save_or_warn(a);
}

static void take_pulled(struct agent *a, uint64_t now)
{
    char *text = mailbox_take(&a->link.pulled);
    if (text == NULL)
        return;
    a->pulling = false;
    a->pull_error[0] = '\0';
    if (text[0] != '\0') {
        snprintf(a->pull_error, sizeof(a->pull_error), "cannot fetch the image: %s", text);
        a->pull_ms = now + PULL_RETRY_MS;
    }
    a->changed = true;
    free(text);
}

// --- reports ---

static const char *state_name(const struct agent *a, const struct unit *u)
{
    if (!u->life.wanted)
        return "stopping";
    if (u->life.healthy)
        return "healthy";
    if (u->life.running)
        return u->life.was_healthy ? "unhealthy" : "starting";
    if (u->spec_known && !image_is_here(a, u))
        return "fetching";
    return "waiting";
}

/* Make it text, byte for byte: what is neither UTF-8, tab nor newline becomes '?'. */
static void make_text(char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        unsigned char *p = (unsigned char *)text + i;
        size_t n = utf8_len(p, len - i);
        if (n == 0 || (n == 1 && *p < ' ' && *p != '\n' && *p != '\t'))
            *p = *p == '\r' ? ' ' : '?';
        i += MAX(n, (size_t)1);
    }
}

// What the console said since the last report; empties the file when it is too large.
static json_t *console_news(const struct agent *a, struct unit *u)
{
    char path[PATH_BYTES];
    static char chunk[CONSOLE_CHUNK + 1];
    struct stat st;
    console_path(a, u, path, sizeof(path));
    CLEANUP(fd_closep) int fd = open(path, O_RDWR | O_CLOEXEC);
    u->console_next = u->console_sent;
    if (fd < 0 || fstat(fd, &st) != 0)
        return NULL;
    uint64_t end = u->console_base + (uint64_t)st.st_size;
    if (u->console_sent < u->console_base || u->console_sent > end)
        u->console_sent = u->console_base;
    if (end - u->console_sent > CONSOLE_MAX)
        u->console_sent = end - CONSOLE_MAX; // nobody keeps more
    ssize_t n = pread(fd, chunk, CONSOLE_CHUNK, (off_t)(u->console_sent - u->console_base));
    if (n <= 0) {
        if (st.st_size > CONSOLE_FILE_MAX && ftruncate(fd, 0) == 0) {
            u->console_base = end;
            save_or_warn(a);
        }
        return NULL;
    }
    make_text(chunk, (size_t)n);
    u->console_next = u->console_sent + (uint64_t)n;
    return json_pack("{s:I,s:s%}", "offset", (json_int_t)u->console_sent, "text", chunk, (size_t)n);
}

static json_t *unit_report(const struct agent *a, struct unit *u, bool with_console, uint64_t now)
{
    char address[ADDRESS_MAX];
    address_text(u->address, address);
    json_t *j = json_pack(
        "{s:s,s:s,s:s,s:b,s:I,s:I,s:I,s:I}", "id", u->wanted.id, "state", state_name(a, u),
        "address", address, "healthy", u->life.healthy, "failures", (json_int_t)u->life.failures,
        "restarts", (json_int_t)u->life.restarts, "unhealthy_ms",
        (json_int_t)supervise_unhealthy_ms(&u->life, now), "up_micros", (json_int_t)u->up_micros);
    size_t len = strlen(u->error);
    make_text(u->error, len);
    if (len > 0)
        json_object_set_new(j, "error", json_string(u->error));
    u->console_next = u->console_sent;
    json_t *console = with_console ? console_news(a, u) : NULL;
    if (console != NULL)
        json_object_set_new(j, "console", console);
    return j;
}

static void report_if_due(struct agent *a, uint64_t now)
{
    if (a->reporting || (now < a->report_ms && !a->changed))
        return;
    json_t *list = json_array();
    for (uint32_t i = 0; i < a->units_len; i++) {
        // Each has its turn, so that a report stays small however much they say.
        uint32_t turn = (i + a->units_len - a->console_turn % a->units_len) % a->units_len;
        json_array_append_new(list, unit_report(a, a->units[i], turn < CONSOLES_MAX, now));
    }
    a->console_turn += CONSOLES_MAX;
    json_auto_t *j = json_pack("{s:I,s:s,s:o}", "version", (json_int_t)a->desired.version, "region",
                               a->config->region, "instances", list);
    char *text = j == NULL ? NULL : json_dumps(j, JSON_COMPACT);
    if (text == NULL)
        return;
    a->reporting = true;
    a->changed = false;
    a->report_ms = now + REPORT_MS;
    mailbox_put(&a->link.out, text);
}

// The controller lacks the output of an instance from an offset on: send it again.
static void rewind_consoles(struct agent *a, json_t *answer)
{
    const char *id;
    json_t *offset;
    json_object_foreach (json_object_get(answer, "console"), id, offset) {
        struct unit *u = find(a, id);
        if (u != NULL)
            u->console_sent = (uint64_t)json_integer_value(offset);
    }
}

static void take_answer(struct agent *a, uint64_t now)
{
    char *text = mailbox_take(&a->link.answer);
    if (text == NULL)
        return;
    a->reporting = false;
    json_auto_t *j = json_loads(text, 0, NULL);
    free(text);
    if (j == NULL) { // not delivered
        a->changed = false;
        a->report_ms = now + REPORT_RETRY_MS;
        return;
    }
    for (uint32_t i = 0; i < a->units_len; i++) {
        struct unit *u = a->units[i];
        a->changed |= u->console_next - u->console_sent == CONSOLE_CHUNK; // there is more
        u->console_sent = u->console_next;
    }
    rewind_consoles(a, j);
}

// --- the loop ---

static int next_wait(const struct agent *a, uint64_t now)
{
    uint64_t at = now + REPORT_MS;
    if (!a->reporting)
        at = MIN(at, MAX(a->report_ms, now));
    for (uint32_t i = 0; i < a->units_len; i++) {
        const struct unit *u = a->units[i];
        uint64_t due = now + supervise_wait_ms(&u->life, now);
        if (u->probe.state != PROBE_IDLE)
            due = MIN(due, u->probe.deadline_ms);
        else if (may_probe(u))
            due = MIN(due, u->probe_ms);
        if (u->life.wanted && !u->life.running && u->spec_known && !image_is_here(a, u))
            due = a->pulling ? now + REPORT_MS : MAX(a->pull_ms, now + 1);
        at = MIN(at, due);
    }
    return at <= now ? 0 : (int)(at - now);
}

static void step_units(struct agent *a, uint64_t now)
{
    for (uint32_t i = 0; i < a->units_len;)
        if (!unit_step(a, a->units[i], now))
            i++;
    // One that was unwanted and is wanted again comes back once its old self is gone.
    for (uint32_t i = 0; i < a->desired.len; i++)
        if (find(a, a->desired.instances[i].id) == NULL)
            want_unit(a, &a->desired.instances[i], now);
    for (uint32_t i = 0; i < a->units_len; i++)
        probe_if_due(a, a->units[i], now);
}

enum { FD_SIGNAL, FD_DESIRED, FD_ANSWER, FD_PULLED, FD_PROVIDER, FD_PROBES };

static void loop(struct agent *a, int signal_fd)
{
    static struct pollfd fds[FD_PROBES + INSTANCES_MAX];
    fds[FD_SIGNAL].fd = signal_fd;
    fds[FD_DESIRED].fd = a->link.desired.fd;
    fds[FD_ANSWER].fd = a->link.answer.fd;
    fds[FD_PULLED].fd = a->link.pulled.fd;
    fds[FD_PROVIDER].fd = a->ops->event_fd(a->provider);
    for (int i = 0; i < FD_PROBES; i++)
        fds[i].events = POLLIN;
    for (;;) {
        uint64_t now = now_ms();
        step_units(a, now);
        report_if_due(a, now);
        uint32_t n = a->units_len;
        for (uint32_t i = 0; i < n; i++) {
            const struct probe *p = &a->units[i]->probe;
            fds[FD_PROBES + i] = (struct pollfd){.fd = p->state == PROBE_IDLE ? -1 : p->fd,
                                                 .events = probe_events(p)};
        }
        (void)poll(fds, FD_PROBES + n, next_wait(a, now));
        now = now_ms();
        if (fds[FD_SIGNAL].revents != 0)
            return;
        for (uint32_t i = 0; i < n; i++) // before anything that may remove a unit
            probe_go_on(a, a->units[i], fds[FD_PROBES + i].revents, now);
        take_events(a, now);
        take_desired(a, now);
        take_pulled(a, now);
        take_answer(a, now);
    }
}

// --- start ---

static int load_unit(struct agent *a, const char *id, json_t *j, uint64_t now, struct err *err)
{
    const char *address = json_string_value(json_object_get(j, "address"));
    json_int_t base = json_integer_value(json_object_get(j, "console_base"));
    struct unit *u = NULL;
    if (address != NULL && base >= 0 && name_is_valid(id, INSTANCE_ID_MAX))
        u = unit_add(a, id, address_of(address), now);
    if (u == NULL)
        return err_set(err, -EINVAL, "%s: unit '%.60s'", a->state_path, id);
    u->console_base = (uint64_t)base;
    return 0;
}

static int load(struct agent *a, uint64_t now, struct err *err)
{
    json_auto_t *j = NULL;
    const char *id;
    json_t *unit;
    if (access(a->state_path, F_OK) != 0)
        return 0;
    int r = json_read_file(a->state_path, &j, err);
    if (r < 0)
        return r;
    json_int_t next = json_integer_value(json_object_get(j, "next"));
    if (next >= 0 && next <= a->subnet.last - a->subnet.first)
        a->subnet.next = a->subnet.first + (uint32_t)next;
    json_t *desired = json_object_get(j, "desired");
    if (desired != NULL)
        r = set_desired(a, desired, err);
    if (r < 0)
        return err_prefix(err, "%s", a->state_path);
    json_object_foreach (json_object_get(j, "units"), id, unit) {
        if (r == 0)
            r = load_unit(a, id, unit, now, err);
    }
    return r;
}

static struct instance_info found[INSTANCES_MAX];

/* What runs is taken over as it is; what ended in our absence is cleared away. */
static int adopt(struct agent *a, uint64_t now, struct err *err)
{
    int n = a->ops->instance_list(a->provider, found, INSTANCES_MAX, err);
    for (int i = 0; i < n; i++) {
        struct unit *u = find(a, found[i].id);
        if (u == NULL)
            u = unit_add(a, found[i].id, 0, now);
        if (u == NULL)
            return err_set(err, -ENOMEM, "too many instances");
        supervise_started(&u->life, now);
        u->up_micros = found[i].up_micros;
        if (found[i].state != INSTANCE_RUNNING)
            ended(a, u, &found[i], now);
        else
            log_info("instance adopted", "id=%s pid=%lld", u->wanted.id, (long long)found[i].pid);
    }
    return MIN(n, 0);
}

static int prepare(struct agent *a, struct err *err)
{
    const struct agent_config *c = a->config;
    char provider_dir[PATH_BYTES];
    struct http_base base;
    snprintf(a->images_dir, sizeof(a->images_dir), "%s/images", c->state_dir);
    snprintf(a->consoles_dir, sizeof(a->consoles_dir), "%s/consoles", c->state_dir);
    snprintf(a->state_path, sizeof(a->state_path), "%s/agent.json", c->state_dir);
    snprintf(provider_dir, sizeof(provider_dir), "%s/instances", c->state_dir);
    struct provider_config pc = {.state_dir = provider_dir, .kernel_path = c->kernel};
    uint64_t now = now_ms();
    int r = subnet_parse(c->subnet, c->gateway, &a->subnet, err);
    if (r == 0)
        r = http_base_parse(c->control, &base, err);
    if (r == 0)
        r = file_mkdirs(a->images_dir, 0700, err);
    if (r == 0)
        r = file_mkdirs(a->consoles_dir, 0700, err);
    if (r == 0)
        r = a->ops->open(&pc, &a->provider, err);
    if (r < 0)
        return r;
    file_new_sweep(a->images_dir);
    r = load(a, now, err);
    if (r == 0)
        r = adopt(a, now, err);
    if (r == 0 && a->desired_json != NULL)
        apply_desired(a, now);
    if (r == 0)
        r = link_start(&a->link, &base, c->region, a->images_dir, err);
    return r;
}

static void unprepare(struct agent *a)
{
    link_stop(&a->link);
    for (uint32_t i = 0; i < a->units_len; i++) {
        probe_cancel(&a->units[i]->probe);
        free(a->units[i]);
    }
    a->ops->close(a->provider);
    desired_deinit(&a->desired);
    json_decref(a->desired_json);
}

int agent_run(const struct agent_config *config, struct err *err)
{
    static struct agent a;
    sigset_t set;
    a = (struct agent){.config = config, .ops = &fake_provider_ops};
    if (strcmp(config->provider, fake_provider_ops.name) != 0)
        a.ops = provider_find(config->provider, err);
    if (a.ops == NULL)
        return err->code;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    CLEANUP(fd_closep) int signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    int r = prepare(&a, err);
    if (r == 0) {
        log_info("agent runs", "region=%s subnet=%s instances=%u", config->region, config->subnet,
                 a.units_len);
        loop(&a, signal_fd);
    }
    unprepare(&a);
    return r;
}
