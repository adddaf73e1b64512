// SPDX-License-Identifier: Apache-2.0
#include "kernel/drivers/pci.h"

enum {
    VENDOR_VIRTIO = 0x1af4,
    DEVICE_TRANSITIONAL = 0x1000, // virtio 1.2, 4.1.2
    DEVICE_MODERN = 0x1040,
    DEVICE_END = 0x1080,
    STATUS_CAPS = 1 << 4,
    HEADER_MULTI = 0x80,
    CAPS_FIRST = 0x40, // behind the header
    CAP_MSIX = 0x11,
    CAP_VENDOR = 0x09,
    CAP_BYTES = 16, // of struct virtio_pci_cap, 4.1.4
    CFG_COMMON = 1,
    CFG_NOTIFY = 2,
    CFG_DEVICE = 4,
    COMMON_BYTES = 56, // 4.1.4.3, up to queue_device
    NOTIFY_BYTES = 2,
    BAR_PORTS = 1,
    BAR_TYPE = 6,
    BAR_WIDE = 4,
};

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get32(const uint8_t *p)
{
    return get16(p) | (uint32_t)get16(p + 2) << 16;
}

/* One virtio structure. The first of a kind is the one to use (4.1.4.1). */
static void parse_virtio_cap(const uint8_t *cap, unsigned room, struct pci_virtio *r)
{
    unsigned bytes = cap[2];
    if (bytes < CAP_BYTES || bytes > room || cap[4] >= PCI_BARS)
        return;
    struct pci_region where = {.bar = cap[4], .offset = get32(cap + 8), .bytes = get32(cap + 12)};
    if (cap[3] == CFG_COMMON && r->common.bytes == 0 && where.bytes >= COMMON_BYTES) {
        r->common = where;
    } else if (cap[3] == CFG_NOTIFY && r->notify.bytes == 0 && where.bytes >= NOTIFY_BYTES &&
               bytes >= CAP_BYTES + 4) {
        r->notify = where;
        r->notify_multiplier = get32(cap + CAP_BYTES);
    } else if (cap[3] == CFG_DEVICE && r->device.bytes == 0) {
        r->device = where;
    }
}

static void parse_msix(const uint8_t *cap, unsigned at, struct pci_virtio *r)
{
    uint32_t table = get32(cap + 4);
    if (r->msix != 0 || (table & 7) >= PCI_BARS)
        return;
    r->msix = (uint8_t)at;
    r->msix_vectors = (uint16_t)((get16(cap + MSIX_CONTROL) & 0x7ff) + 1);
    r->msix_table = (struct pci_region){.bar = table & 7,
                                        .offset = table & ~7u,
                                        .bytes = (uint32_t)r->msix_vectors * MSIX_ENTRY_BYTES};
}

/* False: the list leaves its place or has no end. */
static bool parse_caps(const uint8_t *config, struct pci_virtio *r)
{
    enum { MSIX_BYTES = 12 };
    unsigned at = config[PCI_CAPS] & ~3u;
    for (unsigned i = 0; at != 0; i++) {
        if (at < CAPS_FIRST || i == PCI_CAPS_MAX)
            return false;
        unsigned room = PCI_CONFIG_BYTES - at;
        const uint8_t *cap = config + at;
        if (cap[0] == CAP_VENDOR && room >= CAP_BYTES)
            parse_virtio_cap(cap, room, r);
        else if (cap[0] == CAP_MSIX && room >= MSIX_BYTES)
            parse_msix(cap, at, r);
        at = cap[1] & ~3u;
    }
    return true;
}

int pci_virtio_parse(const uint8_t config[static PCI_CONFIG_BYTES], struct pci_virtio *ret)
{
    unsigned device = get16(config + PCI_DEVICE);
    if (get16(config + PCI_VENDOR) != VENDOR_VIRTIO || device < DEVICE_TRANSITIONAL ||
        device >= DEVICE_END)
        return -ENODEV;
    *ret = (struct pci_virtio){.id = device >= DEVICE_MODERN ? device - DEVICE_MODERN
                                                             : get16(config + PCI_SUBSYSTEM)};
    if ((config[PCI_HEADER] & ~HEADER_MULTI) != 0 || !(get16(config + PCI_STATUS) & STATUS_CAPS) ||
        !parse_caps(config, ret))
        return -EINVAL;
    uint32_t m = ret->notify_multiplier;
    if (ret->common.bytes == 0 || ret->notify.bytes == 0 || ret->msix == 0 || (m & (m - 1)) != 0 ||
        m == 1)
        return -EINVAL;
    return 0;
}

int pci_bar_decode(const uint32_t found[static 2], const uint32_t sized[static 2],
                   struct pci_bar *ret)
{
    if ((found[0] & BAR_PORTS) || (sized[0] & ~0xfu) == 0)
        return -EINVAL;
    bool wide = (found[0] & BAR_TYPE) == BAR_WIDE;
    uint64_t mask = sized[0] & ~0xfu, address = found[0] & ~0xfu;
    if (wide) {
        mask |= (uint64_t)sized[1] << 32;
        address |= (uint64_t)found[1] << 32;
    } else {
        mask |= 0xffffffffull << 32;
    }
    uint64_t bytes = ~mask + 1;
    if (bytes == 0 || (bytes & (bytes - 1)) != 0 || bytes > PCI_BAR_BYTES_MAX)
        return -EINVAL;
    *ret = (struct pci_bar){.address = address & mask, .bytes = bytes, .wide = wide};
    return 0;
}

bool pci_region_in(const struct pci_region *r, uint64_t bar_bytes, uint32_t align)
{
    return r->offset <= bar_bytes && r->bytes <= bar_bytes - r->offset &&
           (r->offset & (align - 1)) == 0;
}
