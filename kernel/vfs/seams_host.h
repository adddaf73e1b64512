// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The kernel's seams on the host, for unit tests: memory is malloc's, user memory is the test's
 * own, tasks are threads, time is virtual (it moves when a task sleeps with a deadline or a test
 * says so). */
#include "base/base.h"
#include "kernel/drivers/block.h"

void host_init(void);                  // a process with a descriptor table and a working directory
void host_advance(uint64_t ns);        // let time pass: runs timers
void host_signal(bool pending);        // a signal waits for the calling task
int host_signals_sent(int signo);      // how often; counts from 0 again
void host_fail_alloc(unsigned after);  // let the allocation after so many fail; 0: none
size_t host_live(void);                // allocations and pages not given back
size_t host_shrink(size_t pages);      // memory is short
size_t host_console(const char **ret); // what was written to the console
void host_type(const char *text);      // typed on the console
/* A file as a disk. */
NONNULL int host_disk_open(const char *path, struct block_dev *ret);
NONNULL void host_disk_fail(struct block_dev *d, bool fail); // reads end with -EIO
/* Change a byte of the disk: what it was. */
NONNULL uint8_t host_disk_poke(struct block_dev *d, uint64_t at, uint8_t byte);
