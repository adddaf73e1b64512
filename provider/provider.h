// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Where instances run. A provider starts, watches and stops instances of an image behind one const
 * table; callers never compare names. Its knowledge lives in a state folder, so that a caller that
 * died and came back opens the same folder and finds every instance that still runs.
 *
 *     const struct provider_ops *ops = provider_find("local");
 *     struct provider *p;
 *     r = ops->open(&(struct provider_config){.state_dir = "/run/skerry/agent"}, &p, e);
 *     r = ops->instance_put(p, &spec, e);
 *     ... poll(ops->event_fd(p), POLLIN) ...
 *     while (ops->event_take(p, &event) == 1) ...
 *     ops->close(p);                               // instances live on
 *
 * One thread at a time may use a provider; one process at a time may use a state folder (open says
 * -EBUSY), and may open it once. */
#include "base/base.h"
#include "host/err.h"

enum {
    INSTANCE_ID_MAX = 64,   // bytes, with the final NUL
    INSTANCE_ARGS_MAX = 64, // extra arguments
    INSTANCE_ENVS_MAX = 64, // extra environment strings
    INSTANCE_FORWARDS_MAX = 16,
    INSTANCE_DNS_MAX = 3,
    INSTANCE_CPUS_MAX = 64,
    INSTANCES_MAX = 1024, // of one provider
    INSTANCE_TEXT_MAX = 256,
    INSTANCE_TRACE_MAX = 24,
};
#define INSTANCE_MEMORY_MIN (8ull << 20)   // bytes
#define INSTANCE_MEMORY_MAX (256ull << 30) // bytes

enum instance_net_kind {
    INSTANCE_NET_NONE,
    INSTANCE_NET_USER,   // behind the hypervisor's own NAT; needs no privilege
    INSTANCE_NET_BRIDGE, // a TAP of its own on a bridge of the network namespace of the caller
};

struct instance_forward {
    uint8_t host_address[4]; // to listen on; 0.0.0.0 is all
    uint16_t host_port;      // 1..65535
    uint16_t guest_port;     // 1..65535
    bool udp;
};

/* Addresses are in network byte order (the first byte is the first number). */
struct instance_net {
    enum instance_net_kind kind;
    // user
    struct instance_forward forwards[INSTANCE_FORWARDS_MAX];
    uint32_t forwards_n;
    // bridge
    const char *bridge; // name of an interface that exists
    bool dhcp;          // else address, prefix_len and gateway
    uint8_t address[4];
    uint8_t prefix_len; // 1..32
    uint8_t gateway[4]; // 0.0.0.0: none
    uint8_t dns[INSTANCE_DNS_MAX][4];
    uint32_t dns_n;
    uint8_t mac[6]; // all zero: derived from the id, locally administered
};

/* What to run. Everything is borrowed for the duration of instance_put. */
struct instance_spec {
    const char *id;           // [a-z0-9-], 1 to INSTANCE_ID_MAX - 1 bytes
    const char *image_path;   // an image file (abi/image.h); must stay while the instance runs
    const char *kernel_path;  // NULL: provider_config's
    const char *console_path; // appended to, created when absent; NULL: in the state folder
    uint64_t memory_bytes;    // INSTANCE_MEMORY_MIN..MAX, whole MiB
    uint32_t cpus;            // 1..INSTANCE_CPUS_MAX
    const char *const *args;  // added to the image's arguments
    uint32_t args_n;
    const char *const *env; // "NAME=VALUE", added to the image's environment
    uint32_t env_n;
    bool trace;        // print system calls on the console
    bool written_exec; // files made or changed at run time may be executed
    bool no_anonymous_exec; // memory that no file fills may not
    uint16_t gdb_port; // stopped at its start, for a debugger on that port of 127.0.0.1; 0: not so
    struct instance_net net;
};

enum instance_state {
    INSTANCE_RUNNING,
    INSTANCE_EXITED,   // the program ended with .status
    INSTANCE_SIGNALED, // the program was killed by signal .status
    INSTANCE_PANICKED, // the kernel gave up; .text says why
    INSTANCE_KILLED, // the hypervisor ended without a word: stopped by force, killed, or failed to
                     // start; .text holds its last line if it said something
};

struct instance_info {
    char id[INSTANCE_ID_MAX];
    enum instance_state state;
    int status;         // exit status or signal number
    int64_t pid;        // of the hypervisor, 0 when it has ended
    uint64_t up_micros; // guest boot until the program was entered; 0: not yet
    char text[INSTANCE_TEXT_MAX];
    uint64_t trace[INSTANCE_TRACE_MAX]; // panicked: return addresses in the kernel's file, the
    uint32_t trace_n;                   // innermost first
};

struct provider_config {
    const char *state_dir;   // made when absent, mode 0700
    const char *kernel_path; // NULL: provider_kernel_find
    const char *hypervisor;  // program; NULL: found in PATH
    const char *accel;       // "auto", "kvm" or "tcg"; NULL: $SKERRY_ACCEL, else auto
};

struct provider; // one open provider

/* Every slot is set. All but close, event_fd and event_take return 0 or a negative errno with *e
 * set; documented codes are outcomes. */
struct provider_ops {
    const char *name;

    /* -EBUSY another process has this state folder open; -ENOENT hypervisor or kernel not there. */
    int (*open)(const struct provider_config *config, struct provider **ret, struct err *e);
    /* Instances live on. NULL is accepted. */
    void (*close)(struct provider *p);

    /* Start. Returns once the hypervisor runs (the guest boots on): -EEXIST an instance (also an
     * ended one) has this id; -EINVAL the spec; -EADDRINUSE a forwarded port is taken; -ENOENT,
     * -EACCES image, kernel or bridge. After a failure nothing is left. */
    int (*instance_put)(struct provider *p, const struct instance_spec *spec, struct err *e);

    /* Begin to stop: the program gets SIGTERM, and after grace_ms (0, or while it is not up yet: at
     * once) the hypervisor is killed. Returns at once; the end is reported as an event. -ENOENT no
     * such instance. Calling it again may only shorten the time. 0 when it has ended already. */
    int (*instance_stop)(struct provider *p, const char *id, uint32_t grace_ms, struct err *e);

    /* Forget an ended instance: its record and its console (when the provider chose the path).
     * -EBUSY it still runs; -ENOENT no such instance. */
    int (*instance_delete)(struct provider *p, const char *id, struct err *e);

    /* All instances that were put and not deleted, running or ended, also by earlier processes.
     * Returns their number, at most max. */
    int (*instance_list)(struct provider *p, struct instance_info *ret, uint32_t max,
                         struct err *e);

    /* A descriptor that polls readable when event_take has work to do. The provider's own: do not
     * close or read it. */
    int (*event_fd)(struct provider *p);
    /* 1 with an instance that came up (state RUNNING, up_micros set) or ended; 0 none now. Each
     * end is reported at least once; one that nobody took before a restart is in the list. */
    int (*event_take)(struct provider *p, struct instance_info *ret);

    /* Path of the console log of an instance into ret (max bytes). -ENOENT no such instance. */
    int (*console_path)(struct provider *p, const char *id, char *ret, size_t max, struct err *e);
};

/* The provider of that name ("local"), or NULL with *e naming those there are. */
NONNULL const struct provider_ops *provider_find(const char *name, struct err *e);

/* The kernel to boot: SKERRY_KERNEL if set, else kernel.elf beside the running program, else the
 * installed one. 0, or -ENOENT naming the places looked at. */
NONNULL MUST_CHECK int provider_kernel_find(char *ret, size_t max, struct err *e);
