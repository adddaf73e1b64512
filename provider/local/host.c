// SPDX-License-Identifier: Apache-2.0
#include "provider/local/host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "host/fd.h"
#include "host/netns.h"
#include "host/rtnl.h"
#include "provider/local/kvm.h"

enum { TAP_QUEUE_LEN = 10000 }; // packets; the kernel's 1000 drops bursts of long fat connections

static int find_qemu(const char *name, char *ret, size_t max, struct err *e)
{
    const char *path = getenv("PATH");
    if (strchr(name, '/') != NULL) {
        snprintf(ret, max, "%s", name);
        if (access(name, X_OK) == 0)
            return 0;
        return err_set(e, -errno, "hypervisor %s: %s", name, strerror(errno));
    }
    for (path = path != NULL ? path : "/usr/bin:/bin"; *path != '\0';) {
        int len = (int)strcspn(path, ":");
        int n = snprintf(ret, max, "%.*s/%s", len, path, name);
        if (len > 0 && (size_t)n < max && access(ret, X_OK) == 0)
            return 0;
        path += len + (path[len] == ':');
    }
    return err_set(e, -ENOENT,
                   "no %s in PATH: install QEMU (Debian: apt install qemu-system-x86; Fedora: dnf "
                   "install qemu-system-x86)",
                   name);
}

int local_check_file(const char *what, const char *path, struct err *e)
{
    struct stat st;
    if (stat(path, &st) < 0 || access(path, R_OK) < 0)
        return err_set(e, -errno, "%s %s: %s", what, path, strerror(errno));
    return S_ISREG(st.st_mode) ? 0 : err_set(e, -EINVAL, "%s %s: not a file", what, path);
}

/* The configuration's word counts before the environment's; "auto" is no word. */
static int choose_accelerator(const char *given, bool *ret, struct err *e)
{
    const char *who = given != NULL ? "accelerator" : "SKERRY_ACCEL";
    if (given == NULL)
        given = getenv("SKERRY_ACCEL");
    if (given == NULL || given[0] == '\0' || strcmp(given, "auto") == 0)
        *ret = kvm_is_usable();
    else if (strcmp(given, "kvm") == 0 || strcmp(given, "tcg") == 0)
        *ret = given[0] == 'k';
    else
        return err_set(e, -EINVAL, "%s: must be auto, kvm or tcg, not '%.32s'", who, given);
    if (*ret && access("/dev/kvm", R_OK | W_OK) < 0)
        return err_set(e, -errno, "%s kvm: /dev/kvm: %s: choose tcg, or auto", who,
                       strerror(errno));
    return 0;
}

int local_host_init(struct local_host *h, const struct provider_config *config, struct err *e)
{
    tsc_sample_take(&h->start);
    const char *qemu = config->hypervisor != NULL ? config->hypervisor : "qemu-system-x86_64";
    int r = find_qemu(qemu, h->qemu, sizeof(h->qemu), e);
    if (r == 0 && config->kernel_path != NULL)
        snprintf(h->kernel, sizeof(h->kernel), "%s", config->kernel_path);
    else if (r == 0)
        r = provider_kernel_find(h->kernel, sizeof(h->kernel), e);
    r = r < 0 ? r : local_check_kernel(h->kernel, e);
    return r < 0 ? r : choose_accelerator(config->accel, &h->kvm, e);
}

int local_check_port(const struct instance_forward *f, struct err *e)
{
    CLEANUP(fd_closep)
    int fd = socket(AF_INET, (f->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(f->host_port)};
    memcpy(&a.sin_addr, f->host_address, sizeof(f->host_address));
    int one = 1;
    if (fd >= 0 && !f->udp)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)); // as QEMU does
    if (fd >= 0 && bind(fd, (const struct sockaddr *)&a, sizeof(a)) == 0 &&
        (f->udp || listen(fd, 1) == 0))
        return 0;
    if (errno == EADDRINUSE)
        return err_set(e, -EADDRINUSE, "port %u is in use: stop what has it, or choose another",
                       f->host_port);
    return err_set(e, -errno, "cannot listen on port %u: %s", f->host_port, strerror(errno));
}

int local_check_ports(const struct instance_net *n, struct err *e)
{
    int r = 0;
    for (uint32_t i = 0; r == 0 && n->kind == INSTANCE_NET_USER && i < n->forwards_n; i++)
        r = local_check_port(&n->forwards[i], e);
    return r;
}

int local_tap(const struct instance_spec *spec, struct err *e)
{
    uint8_t mac[6];
    char name[IFNAMSIZ];
    struct rtnl rt;
    instance_mac(spec, mac);
    snprintf(name, sizeof(name), "sk%02x%02x%02x%02x%02x%02x", mac[0], mac[1], mac[2], mac[3],
             mac[4], mac[5]);
    if (if_nametoindex(spec->net.bridge) == 0)
        return err_set(e, -ENOENT, "instance '%s': no bridge '%s' in this network namespace",
                       spec->id, spec->net.bridge);
    CLEANUP(fd_closep) int fd = netns_tun(name, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, e);
    if (fd < 0)
        return fd;
    int r = rtnl_open(-1, &rt, e);
    if (r < 0)
        return r;
    struct rtnl_change change = {
        .queue_len = TAP_QUEUE_LEN, .master = spec->net.bridge, .up = true};
    r = rtnl_change(&rt, name, &change, e);
    rtnl_close(&rt);
    return r < 0 ? err_prefix(e, "instance '%s'", spec->id) : fd_take(&fd);
}

void local_request(struct local_host *h, const struct instance_spec *spec, struct qemu_request *ret)
{
    struct timespec now;
    *ret = (struct qemu_request){
        .spec = spec,
        .program = h->qemu,
        .kernel_path = spec->kernel_path != NULL ? spec->kernel_path : h->kernel,
        .kvm = h->kvm,
        .tsc_khz = tsc_khz_since(&h->start),
        .tap_fd = -1,
    };
    clock_gettime(CLOCK_REALTIME, &now);
    ret->epoch_seconds = (uint64_t)now.tv_sec;
    ret->epoch_nanos = (uint32_t)now.tv_nsec;
}
