// SPDX-License-Identifier: Apache-2.0
/* A QEMU TCG plugin that counts executed guest instructions into a shared file, split into kernel
 * (address in the upper half) and program. Counting is inlined into translated code per block.
 *
 * usage: -plugin libcount_plugin.so,out=PATH   PATH becomes two little-endian 64-bit counters:
 * kernel, program. QEMU's plugin interface version 1 (docs/devel/tcg-plugins); its header is in no
 * Debian binary package, so the few declarations that are used stand here. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
typedef uint64_t qemu_plugin_id_t;
enum { PLUGIN_INLINE_ADD_U64 = 0 };

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                           void (*cb)(qemu_plugin_id_t id,
                                                      struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int op, void *ptr,
                                              uint64_t immediate);
int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv);

EXPORT extern const int qemu_plugin_version;
EXPORT const int qemu_plugin_version = 1;

enum { COUNT_KERNEL, COUNT_PROGRAM, COUNTS };
static uint64_t *counters; // shared with the reader

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    bool kernel = qemu_plugin_tb_vaddr(tb) >> 63 != 0;
    qemu_plugin_register_vcpu_tb_exec_inline(tb, PLUGIN_INLINE_ADD_U64,
                                             &counters[kernel ? COUNT_KERNEL : COUNT_PROGRAM],
                                             qemu_plugin_tb_n_insns(tb));
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    (void)info;
    if (argc != 1 || strncmp(argv[0], "out=", 4) != 0) {
        fprintf(stderr, "count_plugin: one argument: out=PATH\n");
        return -1;
    }
    int fd = open(argv[0] + 4, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, COUNTS * sizeof(*counters)) < 0) {
        perror(argv[0] + 4);
        return -1;
    }
    void *p = mmap(NULL, COUNTS * sizeof(*counters), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p == MAP_FAILED) {
        perror("mmap");
        return -1;
    }
    counters = p;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
