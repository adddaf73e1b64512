// SPDX-License-Identifier: Apache-2.0
/* Is a file a kernel that QEMU's -kernel can start? Said before QEMU is, which would only say that
 * it could not. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/fd.h"
#include "provider/local/host.h"

enum { SEGMENTS_MAX = 64, NOTE_PHYS32_ENTRY = 18 }; // XEN_ELFNOTE_PHYS32_ENTRY

struct piece {
    uint32_t type;
    uint64_t offset, bytes;
};

static bool read_at(int fd, void *to, size_t len, uint64_t at)
{
    return at <= INT64_MAX - len && pread(fd, to, len, (off_t)at) == (ssize_t)len;
}

/* One program header of either class. */
static bool read_piece(int fd, const Elf64_Ehdr *h, unsigned index, struct piece *ret)
{
    Elf64_Phdr p;
    Elf32_Phdr q;
    Elf32_Ehdr small;
    if (h->e_ident[EI_CLASS] == ELFCLASS64) {
        if (!read_at(fd, &p, sizeof(p), h->e_phoff + index * sizeof(p)))
            return false;
        *ret = (struct piece){p.p_type, p.p_offset, p.p_filesz};
        return true;
    }
    memcpy(&small, h, sizeof(small));
    if (!read_at(fd, &q, sizeof(q), (uint64_t)small.e_phoff + index * sizeof(q)))
        return false;
    *ret = (struct piece){q.p_type, q.p_offset, q.p_filesz};
    return true;
}

/* Does a segment of notes begin with the PVH entry? */
static bool is_pvh(int fd, const struct piece *p)
{
    struct {
        Elf32_Nhdr head;
        char name[4];
    } note;
    return p->type == PT_NOTE && p->bytes >= sizeof(note) &&
           read_at(fd, &note, sizeof(note), p->offset) && note.head.n_type == NOTE_PHYS32_ENTRY &&
           memcmp(note.name, "Xen", sizeof(note.name)) == 0;
}

/* NULL: it is one. */
static const char *why_not(int fd, uint64_t file_bytes)
{
    Elf64_Ehdr h = {.e_ident = {0}};
    ssize_t n = pread(fd, &h, sizeof(h), 0);
    if (n < EI_NIDENT || memcmp(h.e_ident, ELFMAG, SELFMAG) != 0)
        return "not an ELF file";
    if (n < (ssize_t)sizeof(h))
        return "damaged: it ends in its header";
    bool large = h.e_ident[EI_CLASS] == ELFCLASS64;
    Elf32_Ehdr small;
    memcpy(&small, &h, sizeof(small));
    unsigned count = large ? h.e_phnum : small.e_phnum;
    if (h.e_machine != EM_X86_64 && h.e_machine != EM_386)
        return "built for another processor than x86-64";
    if (count == 0 || count > SEGMENTS_MAX)
        return "damaged: no program headers, or too many";
    bool pvh = false;
    for (unsigned i = 0; i < count; i++) {
        struct piece p;
        if (!read_piece(fd, &h, i, &p) || p.bytes > file_bytes ||
            (p.bytes > 0 && p.offset > file_bytes - p.bytes))
            return "damaged: it is shorter than it says of itself";
        pvh = pvh || is_pvh(fd, &p);
    }
    return pvh ? NULL : "a program, not a kernel (it has no PVH entry)";
}

int local_check_kernel(const char *path, struct err *e)
{
    int r = local_check_file("kernel", path, e);
    if (r < 0)
        return r;
    struct stat st;
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set(e, -errno, "kernel %s: %s", path, strerror(errno));
    const char *why = why_not(fd, (uint64_t)st.st_size);
    return why == NULL ? 0
                       : err_set(e, -ENOEXEC,
                                 "kernel %s: %s: install or build it again, or name another with "
                                 "--kernel or SKERRY_KERNEL",
                                 path, why);
}
