// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Block devices, read side: requests of physical segments, completed in work context. */
#include "base/base.h"
#include "base/list.h"

enum { BLOCK_SECTOR = 512, BLOCK_SEGS_MAX = 32 };

struct block_seg {
    uint64_t phys;
    uint32_t bytes; // a multiple of BLOCK_SECTOR
};

struct block_req {
    uint64_t offset; // bytes from the start of the device, a multiple of BLOCK_SECTOR
    struct block_seg segs[BLOCK_SEGS_MAX];
    unsigned seg_count;
    bool more; // another request follows at once: the device need not be told yet
    /* Work context. status 0 or -EIO. The request and its memory are the caller's again. */
    void (*done)(struct block_req *req, int status);
    void *ctx;        // the caller's
    // The driver's while submitted.
    struct list link;
    unsigned segs_queued, chains; // segments given to the device; chains of them under way
    int status;
};

struct block_dev {
    uint64_t bytes; // capacity
    void (*submit)(struct block_dev *dev, struct block_req *req);
    void *driver;
};

/* Queue a request; never fails at once (errors come through done). Any task or work context. */
NONNULL static inline void block_submit(struct block_dev *dev, struct block_req *req)
{
    dev->submit(dev, req);
}

/* Submit and sleep until done: 0 or -EIO. Task context. */
NONNULL MUST_CHECK int block_read(struct block_dev *dev, struct block_req *req);

/* Finds and starts all virtio devices named in boot_params.mmio; block devices in order. */
void virtio_probe(void);
struct block_dev *block_dev_get(unsigned index); // NULL when there is none

/* Network up: stack, address (static or DHCP, which goes on in the background), /etc/resolv.conf
 * data. Called once by main after virtio_probe. */
void socket_init(void);

/* Before power-off, after the program's last instruction: connections are ended properly and what
 * was sent gets its time to arrive (two seconds at most). Nothing else runs meanwhile. */
void socket_finish(void);
