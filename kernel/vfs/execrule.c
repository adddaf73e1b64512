// SPDX-License-Identifier: Apache-2.0
/* Only what the image holds is ever executed. A regular file is one of three: untouched, executed
 * (or mapped executable) or written; the first use settles it until the machine ends. So neither a
 * file that was made or changed at run time can become code, nor can code that runs be changed:
 * Linux's ETXTBSY, but for good. */
#include "base/errno.h"
#include "kernel/vfs/tree.h"

enum { UNTOUCHED, EXECUTED, WRITTEN };

static bool enforced; // immutable once the first program runs

void exec_rule_start(void)
{
    enforced = true;
}

/* Settle what the inode is for: what it is for now. */
static uint32_t settle(struct inode *inode, uint32_t use)
{
    uint32_t was = UNTOUCHED;
    if (__atomic_compare_exchange_n(&inode->use, &was, use, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        return use;
    return was;
}

int inode_claim_write(struct inode *inode)
{
    if (!enforced || !inode->has_lower || (inode->mode & S_FMT) != S_REG)
        return 0;
    return settle(inode, WRITTEN) == WRITTEN ? 0 : -ETXTBSY;
}

int file_claim_exec(const struct file *f)
{
    if (!enforced)
        return 0;
    if (f->inode == NULL || !f->inode->has_lower)
        return -EACCES;
    return settle(f->inode, EXECUTED) == EXECUTED ? 0 : -EACCES;
}
