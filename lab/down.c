// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "host/file.h"
#include "lab/lab.h"

enum {
    INODES_MAX = 2 * CITIES_MAX + POPS_MAX + 64, // namespaces, with room for another topology's
    ROUNDS_MAX = 50,
    ROUND_MS = 200,   // longest wait for those that were signalled
    GRACE_ROUNDS = 3, // of SIGTERM before SIGKILL
    FOUND_MAX = 1024, // processes in one round
};

struct hunt {
    const struct lab *lab;
    ino_t inodes[INODES_MAX]; // of the lab's network namespaces
    unsigned inodes_len;
    char log_dir[LAB_PATH_MAX];
    char supervisor_log[LAB_PATH_MAX];
};

static int note_namespace(const char *name, void *context)
{
    struct hunt *h = context;
    char path[sizeof(NETNS_DIR) + 1 + NETNS_NAME_MAX];
    struct stat st;
    snprintf(path, sizeof(path), NETNS_DIR "/%.*s", NETNS_NAME_MAX - 1, name);
    // A file that is no namespace (killed between creating and mounting) has nobody inside.
    if (stat(path, &st) == 0 && h->inodes_len < INODES_MAX)
        h->inodes[h->inodes_len++] = st.st_ino;
    return 0;
}

static bool lives_inside(const struct hunt *h, const char *pid)
{
    char path[64];
    struct stat st;
    snprintf(path, sizeof(path), "/proc/%.16s/ns/net", pid);
    if (stat(path, &st) < 0)
        return false;
    for (unsigned i = 0; i < h->inodes_len; i++)
        if (h->inodes[i] == st.st_ino)
            return true;
    return false;
}

static bool logs_to(const char *pid, const char *prefix)
{
    for (unsigned fd = 1; fd <= 2; fd++) {
        char path[64], target[256];
        snprintf(path, sizeof(path), "/proc/%.16s/fd/%u", pid, fd);
        ssize_t n = readlink(path, target, sizeof(target) - 1);
        if (n > 0 && strncmp(target, prefix, MIN(strlen(prefix), (size_t)n)) == 0 &&
            (size_t)n >= strlen(prefix))
            return true;
    }
    return false;
}

// Signal one process by a descriptor, checking again that it is who it was when we looked.
static int signal_one(const struct hunt *h, const char *pid, int signal)
{
    long n = strtol(pid, NULL, 10);
    int fd = (int)syscall(SYS_pidfd_open, (pid_t)n, 0);
    if (fd < 0)
        return -1;
    if (lives_inside(h, pid) || logs_to(pid, h->log_dir)) {
        syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0);
        return fd;
    }
    close(fd);
    return -1;
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void wait_for(struct pollfd *waits, unsigned n)
{
    int64_t deadline = now_ms() + ROUND_MS;
    for (unsigned i = 0; i < n; i++) {
        poll(&waits[i], 1, (int)MAX(deadline - now_ms(), (int64_t)0));
        close(waits[i].fd);
    }
}

// One pass over all processes; how many of ours were alive.
static unsigned hunt_round(const struct hunt *h, int signal, const char *prefix_only)
{
    static struct pollfd waits[FOUND_MAX];
    unsigned n = 0;
    DIR *d = opendir("/proc");
    if (d == NULL)
        return 0;
    for (struct dirent *e; n < FOUND_MAX && (e = readdir(d)) != NULL;) {
        if (e->d_name[0] < '1' || e->d_name[0] > '9' ||
            strtol(e->d_name, NULL, 10) == (long)getpid())
            continue;
        bool ours = prefix_only != NULL
                        ? logs_to(e->d_name, prefix_only)
                        : lives_inside(h, e->d_name) || logs_to(e->d_name, h->log_dir);
        int fd = ours ? signal_one(h, e->d_name, signal) : -1;
        if (fd >= 0)
            waits[n++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    closedir(d);
    wait_for(waits, n);
    return n;
}

static int delete_namespace(const char *name, void *context)
{
    return netns_delete(name, context);
}

int lab_down(const struct lab *lab, struct err *err)
{
    static struct hunt h;
    char prefix[NETNS_NAME_MAX];
    int r = lab_privileges(err);
    if (r < 0)
        return r;
    h = (struct hunt){.lab = lab};
    snprintf(prefix, sizeof(prefix), "%s-", lab->name);
    lab_path(lab, "log/", h.log_dir);
    lab_path(lab, "log/supervisor.log", h.supervisor_log);
    netns_each(prefix, note_namespace, &h);
    hunt_round(&h, SIGKILL, h.supervisor_log); // first, so that nothing is restarted
    unsigned round = 0;
    while (hunt_round(&h, round < GRACE_ROUNDS ? SIGTERM : SIGKILL, NULL) > 0)
        if (++round == ROUNDS_MAX)
            return err_set(err, -EBUSY, "processes of lab '%s' do not end", lab->name);
    err->code = 0;
    r = netns_each(prefix, delete_namespace, err);
    if (r == 0)
        r = file_remove_tree(lab->dir, err);
    if (r == 0 && unlink(lab->control) < 0 && errno != ENOENT && errno != ENOTDIR)
        r = err_set(err, -errno, "%s: %s", lab->control, strerror(errno));
    return r;
}
