// SPDX-License-Identifier: Apache-2.0
#include "lab/lab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <linux/capability.h>
#include <unistd.h>

#define DEFAULT_NAME "sk"
#define RUN_DIR      "/run/skerry"

int lab_init(const char *name, struct lab *ret, struct err *err)
{
    const char *from_env = getenv("SKERRY_LAB");
    if (name == NULL)
        name = from_env != NULL ? from_env : DEFAULT_NAME;
    size_t len = strlen(name);
    if (len == 0 || len >= LAB_NAME_MAX ||
        strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789") != len)
        return err_set(err, -EINVAL, "lab '%.40s': a name is 1 to %d of a-z and 0-9", name,
                       LAB_NAME_MAX - 1);
    bool is_default = strcmp(name, DEFAULT_NAME) == 0;
    memcpy(ret->name, name, len + 1);
    snprintf(ret->dir, sizeof(ret->dir), RUN_DIR "/lab%s%s", is_default ? "" : "-",
             is_default ? "" : ret->name);
    snprintf(ret->control, sizeof(ret->control), "%.64s/control.sock",
             is_default ? RUN_DIR : ret->dir);
    return 0;
}

void lab_path(const struct lab *lab, const char *file, char ret[static LAB_PATH_MAX])
{
    int n = snprintf(ret, LAB_PATH_MAX, "%s/%s", lab->dir, file);
    ASSERT(n > 0 && n < LAB_PATH_MAX);
}

int lab_topology(const struct lab *lab, struct topology *ret, struct err *err)
{
    char path[LAB_PATH_MAX];
    lab_path(lab, "topology.yaml", path);
    if (access(path, R_OK) < 0)
        return err_set(err, -ENOENT, "no lab is up (%s: %s); start one with 'skerry lab up'", path,
                       strerror(errno));
    return topology_load(path, ret, err);
}

int lab_privileges(struct err *err)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
    const uint32_t wanted = 1U << CAP_NET_ADMIN | 1U << CAP_SYS_ADMIN;
    if (syscall(SYS_capget, &head, data) == 0 && (data[0].effective & wanted) == wanted)
        return 0;
    return err_set(err, -EPERM, "the lab makes network namespaces: run it as root");
}

int lab_links(const struct lab *lab, int ready_fd, struct err *err)
{
    char path[LAB_PATH_MAX];
    static struct topology topo; // too large for a stack
    int r = lab_topology(lab, &topo, err);
    lab_path(lab, "wan.sock", path);
    return r < 0 ? r : wan_run(&topo, lab->name, path, ready_fd, err);
}
