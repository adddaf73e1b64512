// SPDX-License-Identifier: Apache-2.0
/* Files of memory without a name, and the seals that say what may no longer be done to one. Linux
 * 6.1 mm/memfd.c, mm/shmem.c.
 *
 * They lie in a filesystem that is mounted nowhere, as Linux's shm_mnt. Who changes a file looks at
 * its seals with inode->lock held (memfs_file.c). */
#include "base/errno.h"
#include "kernel/vfs/open.h"

static struct super *memory_super; // immutable after vfs_init

int memory_files_init(uint64_t pages)
{
    memory_super = super_new(&memfs_tmp_ops, "tmpfs", pages);
    return memory_super != NULL ? super_root(memory_super, 0777) : -ENOMEM;
}

int vfs_memory_file(const char *name, uint64_t bytes, struct file **ret)
{
    const struct node_make what = {.mode = S_REG | 0777};
    struct dentry *made;
    mutex_lock(&memory_super->lock);
    int r = memfs_nameless(memory_super->root, &what, name, false, &made);
    mutex_unlock(&memory_super->lock);
    if (r < 0)
        return r;
    r = bytes > 0 ? memfs_truncate(made->inode, bytes) : 0;
    if (r == 0)
        r = open_dentry(made, FILE_RDWR | OPEN_LARGEFILE, ret);
    dentry_put(made);
    return r;
}

/* Only a tmpfs knows seals, and a file has none to give but F_SEAL_SEAL unless it came from
 * memfd_create. */
static bool can_have_seals(const struct file *f)
{
    return f->inode != NULL && (f->inode->mode & S_FMT) == S_REG &&
           f->inode->sb->ops->magic == memfs_tmp_ops.magic;
}

void file_allow_seals(struct file *f)
{
    f->inode->seals = 0;
}

uint32_t file_seals(const struct file *f)
{
    return can_have_seals(f) ? __atomic_load_n(&f->inode->seals, __ATOMIC_ACQUIRE) : 0;
}

int64_t file_get_seals(const struct file *f)
{
    return can_have_seals(f) ? (int64_t)file_seals(f) : -EINVAL;
}

/* No mapping that may be written is there, and none comes any more. Linux mapping_deny_writable. */
static int deny_writable(struct inode *inode)
{
    int32_t none = 0;
    return __atomic_compare_exchange_n(&inode->writable_maps, &none, -1, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE)
               ? 0
               : -EBUSY;
}

int64_t file_add_seals(struct file *f, uint64_t seals)
{
    struct inode *inode = f->inode;
    int r = 0;
    if (seals > UINT32_MAX)
        return -EINVAL;
    if (!file_writable(f))
        return -EPERM;
    if ((seals & ~(uint64_t)SEAL_ALL) || !can_have_seals(f))
        return -EINVAL;
    mutex_lock(&inode->lock);
    if (inode->seals & SEAL_SEAL)
        r = -EPERM;
    else if ((seals & SEAL_WRITE) && !(inode->seals & SEAL_WRITE))
        r = deny_writable(inode);
    if (r == 0)
        __atomic_store_n(&inode->seals, inode->seals | (uint32_t)seals, __ATOMIC_RELEASE);
    mutex_unlock(&inode->lock);
    return r;
}

int file_map_shared(const struct file *f)
{
    if (f->inode == NULL || !file_writable(f))
        return 0;
    int32_t maps = __atomic_load_n(&f->inode->writable_maps, __ATOMIC_RELAXED);
    do {
        if (maps < 0)
            return -EPERM;
    } while (!__atomic_compare_exchange_n(&f->inode->writable_maps, &maps, maps + 1, true,
                                          __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    return 0;
}

void file_unmap_shared(const struct file *f)
{
    if (f->inode != NULL && file_writable(f))
        __atomic_fetch_sub(&f->inode->writable_maps, 1, __ATOMIC_RELEASE);
}
