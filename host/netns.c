// SPDX-License-Identifier: Apache-2.0
#include "host/netns.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/fd.h"

enum { PATH_ROOM = sizeof(NETNS_DIR) + 1 + NETNS_NAME_MAX };

static int path_of(const char *name, char path[static PATH_ROOM], struct err *err)
{
    size_t len = strnlen(name, NETNS_NAME_MAX);
    if (len == 0 || len == NETNS_NAME_MAX || strchr(name, '/') != NULL || name[0] == '.')
        return err_set(err, -EINVAL, "namespace '%.80s': not a name", name);
    snprintf(path, PATH_ROOM, NETNS_DIR "/%s", name);
    return 0;
}

/* The directory must be a shared mount, so that a name taken away here goes away in the other mount
 * namespaces too; otherwise they keep the namespace alive. As ip-netns(8) does it. */
static int prepare_dir(struct err *err)
{
    if (mkdir(NETNS_DIR, 0755) < 0 && errno != EEXIST)
        return err_set(err, -errno, "%s: %s", NETNS_DIR, strerror(errno));
    for (int tries = 0; tries < 2; tries++) {
        if (mount("", NETNS_DIR, "none", MS_SHARED | MS_REC, NULL) == 0)
            return 0;
        if (errno != EINVAL || mount(NETNS_DIR, NETNS_DIR, "none", MS_BIND | MS_REC, NULL) < 0)
            break;
    }
    return err_set(err, -errno, "%s: cannot mount: %s", NETNS_DIR, strerror(errno));
}

static int loopback_up(void)
{
    CLEANUP(fd_closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq req = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &req) < 0)
        return -errno;
    return 0;
}

// In a fresh namespace: give it its name.
static int name_it(const char *path)
{
    int r = loopback_up();
    if (r == 0 && mount("/proc/thread-self/ns/net", path, "none", MS_BIND, NULL) < 0)
        r = -errno;
    return r;
}

int netns_create(const char *name, struct err *err)
{
    char path[PATH_ROOM];
    int r = path_of(name, path, err);
    if (r == 0)
        r = prepare_dir(err);
    if (r < 0)
        return r;
    CLEANUP(fd_closep) int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (home < 0)
        return err_set(err, -errno, "namespace '%s': %s", name, strerror(errno));
    int file = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0);
    if (file < 0)
        return err_set(err, -errno, "namespace '%s': %s", name, strerror(errno));
    close(file);
    r = unshare(CLONE_NEWNET) < 0 ? -errno : 0;
    if (r == 0) {
        r = name_it(path);
        int back = setns(home, CLONE_NEWNET);
        ASSERT(back == 0);
    }
    if (r < 0) {
        unlink(path);
        return err_set(err, r, "namespace '%s': cannot create: %s", name, strerror(-r));
    }
    return 0;
}

int netns_delete(const char *name, struct err *err)
{
    char path[PATH_ROOM];
    int r = path_of(name, path, err);
    if (r < 0)
        return r;
    if (umount2(path, MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
        return err_set(err, -errno, "namespace '%s': %s", name, strerror(errno));
    if (unlink(path) < 0 && errno != ENOENT)
        return err_set(err, -errno, "namespace '%s': %s", name, strerror(errno));
    return 0;
}

int netns_open(const char *name, struct err *err)
{
    char path[PATH_ROOM];
    int r = path_of(name, path, err);
    if (r < 0)
        return r;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, -errno, "namespace '%s': %s", name, strerror(errno));
    return fd;
}

int netns_each(const char *prefix, int (*each)(const char *name, void *context), void *context)
{
    struct dirent **entries;
    int n = scandir(NETNS_DIR, &entries, NULL, alphasort);
    int r = 0;
    for (int i = 0; i < n; i++) {
        if (r == 0 && entries[i]->d_name[0] != '.' &&
            strncmp(entries[i]->d_name, prefix, strlen(prefix)) == 0)
            r = each(entries[i]->d_name, context);
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return r;
}

int netns_visit(int fd, struct netns_visit *ret)
{
    int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (home < 0)
        return -errno;
    if (setns(fd, CLONE_NEWNET) < 0) {
        int r = -errno;
        close(home);
        return r;
    }
    ret->home = home;
    return 0;
}

void netns_return(struct netns_visit *v)
{
    int r = setns(v->home, CLONE_NEWNET);
    ASSERT(r == 0); // else all that follows would happen in the wrong place
    close(v->home);
    v->home = -1;
}

int netns_sysctl(const char *key, const char *value, struct err *err)
{
    char path[128];
    snprintf(path, sizeof(path), "/proc/sys/net/%s", key);
    CLEANUP(fd_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);
    size_t len = strlen(value);
    if (fd < 0 || write(fd, value, len) != (ssize_t)len)
        return err_set(err, -errno, "%s: cannot write '%s': %s", path, value, strerror(errno));
    return 0;
}

int netns_tun(const char *dev, unsigned flags, struct err *err)
{
    struct ifreq req = {.ifr_flags = (short)flags};
    if (strnlen(dev, IFNAMSIZ) >= IFNAMSIZ)
        return err_set(err, -EINVAL, "device '%.40s': name too long", dev);
    memcpy(req.ifr_name, dev, strlen(dev));
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_set(err, -errno, "/dev/net/tun: %s", strerror(errno));
    if (ioctl(fd, TUNSETIFF, &req) < 0) {
        int r = err_set(err, -errno, "device '%s': cannot create: %s", dev, strerror(errno));
        close(fd);
        return r;
    }
    return fd;
}
