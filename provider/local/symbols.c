// SPDX-License-Identifier: Apache-2.0
#include "provider/local/symbols.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/file.h"

enum { FILE_MAX = 64 << 20 };

struct symbols {
    char *file;
    size_t len;
    size_t table, count; // offset of the symbols in the file, how many
    size_t names, names_len;
};

void symbols_free(struct symbols *s)
{
    if (s == NULL)
        return;
    free(s->file);
    free(s);
}

void symbols_freep(struct symbols **s)
{
    symbols_free(*s);
}

static bool inside(const struct symbols *s, uint64_t offset, uint64_t bytes)
{
    return offset <= s->len && bytes <= s->len - offset;
}

/* The header of section `index`; false: not in the file. */
static bool section(const struct symbols *s, const Elf64_Ehdr *eh, uint64_t index, Elf64_Shdr *ret)
{
    uint64_t at = eh->e_shoff + index * sizeof(*ret);
    if (index >= eh->e_shnum || at < eh->e_shoff || !inside(s, at, sizeof(*ret)))
        return false;
    memcpy(ret, s->file + at, sizeof(*ret));
    return ret->sh_type == SHT_NOBITS || inside(s, ret->sh_offset, ret->sh_size);
}

static int find_table(struct symbols *s)
{
    Elf64_Ehdr eh;
    if (s->len < sizeof(eh))
        return -ENOEXEC;
    memcpy(&eh, s->file, sizeof(eh));
    if (memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0 || eh.e_ident[EI_CLASS] != ELFCLASS64 ||
        eh.e_machine != EM_X86_64 || (eh.e_shnum > 0 && eh.e_shentsize != sizeof(Elf64_Shdr)))
        return -ENOEXEC;
    for (unsigned i = 0; i < eh.e_shnum; i++) {
        Elf64_Shdr table, names;
        if (!section(s, &eh, i, &table))
            return -ENOEXEC;
        if (table.sh_type != SHT_SYMTAB)
            continue;
        if (!section(s, &eh, table.sh_link, &names) || names.sh_type != SHT_STRTAB)
            return -ENOEXEC;
        s->table = table.sh_offset;
        s->count = table.sh_size / sizeof(Elf64_Sym);
        s->names = names.sh_offset;
        s->names_len = names.sh_size;
        return 0;
    }
    return -ENOENT;
}

int symbols_open(const char *path, struct symbols **ret, struct err *e)
{
    CLEANUP(symbols_freep) struct symbols *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    int r = file_read(path, FILE_MAX, &s->file, &s->len, e);
    if (r < 0)
        return r;
    r = find_table(s);
    if (r < 0)
        return err_set(e, r, "%s: %s", path,
                       r == -ENOENT ? "has no symbols" : "is no whole ELF file of x86-64");
    *ret = TAKE(s);
    return 0;
}

bool symbols_name(const struct symbols *s, uint64_t address, char ret[SYMBOL_NAME_MAX])
{
    Elf64_Sym best = {0};
    for (size_t i = 0; i < s->count; i++) {
        Elf64_Sym y;
        memcpy(&y, s->file + s->table + i * sizeof(y), sizeof(y));
        unsigned type = ELF64_ST_TYPE(y.st_info);
        if ((type != STT_FUNC && type != STT_NOTYPE) || y.st_shndx == SHN_UNDEF ||
            y.st_shndx >= SHN_LORESERVE || y.st_name >= s->names_len || y.st_value > address)
            continue;
        if (y.st_value > best.st_value || (y.st_value == best.st_value && type == STT_FUNC))
            best = y;
    }
    if (best.st_name == 0 || (best.st_size > 0 && address - best.st_value > best.st_size))
        return false;
    const char *name = s->file + s->names + best.st_name;
    int len = (int)MIN(strnlen(name, s->names_len - best.st_name), (size_t)SYMBOL_NAME_MAX - 24);
    snprintf(ret, SYMBOL_NAME_MAX, "%.*s+0x%llx", len, name,
             (unsigned long long)(address - best.st_value));
    return true;
}
