// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What a PCI function's configuration space says about a virtio device (virtio 1.2, 4.1.4), as a
 * pure piece over a copy of its bytes. Nothing in it is believed: every offset is checked against
 * the space, every region against its BAR. */
#include "base/base.h"
#include "base/errno.h"

enum {
    PCI_CONFIG_BYTES = 256,
    PCI_BARS = 6,
    PCI_CAPS_MAX = 48, // of 4 bytes at least, behind the header
    PCI_BAR_BYTES_MAX = 64 << 20,
};

enum { // PCI Local Bus 3.0, 6.1
    PCI_VENDOR = 0x00,
    PCI_DEVICE = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_HEADER = 0x0e,
    PCI_BAR = 0x10,
    PCI_SUBSYSTEM = 0x2e,
    PCI_CAPS = 0x34,
};

enum { // PCI_COMMAND
    PCI_COMMAND_MEMORY = 1 << 1,
    PCI_COMMAND_MASTER = 1 << 2,
    PCI_COMMAND_NO_INTX = 1 << 10,
};

enum { // of the MSI-X capability, 6.8.2
    MSIX_CONTROL = 2,
    MSIX_ENABLE = 1 << 15,
    MSIX_ENTRY_BYTES = 16,
};

struct pci_region {
    uint8_t bar; // 0..PCI_BARS - 1
    uint32_t offset, bytes;
};

struct pci_virtio {
    uint32_t id;                      // VIRTIO_ID_*
    struct pci_region common, notify; // at least as long as the structure
    struct pci_region device;         // bytes 0: there is none
    uint32_t notify_multiplier;       // 0, or a power of two
    uint8_t msix;                     // offset of the capability
    uint16_t msix_vectors;            // 1..2048
    struct pci_region msix_table;
};

/* 0; -ENODEV: no virtio device; -EINVAL: damaged, or without what we need (a modern interface and
 * MSI-X). */
NONNULL MUST_CHECK int pci_virtio_parse(const uint8_t config[static PCI_CONFIG_BYTES],
                                        struct pci_virtio *ret);

struct pci_bar {
    uint64_t address; // 0: the firmware gave it none
    uint64_t bytes;   // a power of two, at most PCI_BAR_BYTES_MAX
    bool wide;        // takes the next register too
};

/* A BAR from its register (and the next), as found and as they read after ones were written. 0;
 * -EINVAL: ports, not there, larger than we map, or not a size. */
NONNULL MUST_CHECK int pci_bar_decode(const uint32_t found[static 2],
                                      const uint32_t sized[static 2], struct pci_bar *ret);

/* Whether the region lies in a BAR of so many bytes, aligned to `align` (a power of two). */
NONNULL bool pci_region_in(const struct pci_region *r, uint64_t bar_bytes, uint32_t align);
