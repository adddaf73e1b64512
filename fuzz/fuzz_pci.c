// SPDX-License-Identifier: Apache-2.0
/* Any configuration space: what is accepted is within the bounds that the header promises. */
#include "base/mem.h"
#include "kernel/drivers/pci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_region(const struct pci_region *r)
{
    ASSERT(r->bar < PCI_BARS);
    if (pci_region_in(r, PCI_BAR_BYTES_MAX, 4))
        ASSERT((uint64_t)r->offset + r->bytes <= PCI_BAR_BYTES_MAX && r->offset % 4 == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t config[PCI_CONFIG_BYTES] = {0};
    struct pci_virtio v;
    uint32_t words[4] = {0};
    struct pci_bar bar;

    memcpy(config, data, size < sizeof(config) ? size : sizeof(config));
    if (pci_virtio_parse(config, &v) == 0) {
        ASSERT(v.msix >= 0x40 && v.msix <= PCI_CONFIG_BYTES - 12);
        ASSERT(v.msix_vectors >= 1 && v.msix_vectors <= 2048);
        ASSERT(v.common.bytes >= 56 && v.notify.bytes >= 2 && v.notify_multiplier != 1);
        check_region(&v.common);
        check_region(&v.notify);
        check_region(&v.device);
        check_region(&v.msix_table);
    }
    memcpy(words, config + PCI_BAR, sizeof(words));
    if (pci_bar_decode(&words[0], &words[2], &bar) == 0)
        ASSERT(bar.bytes >= 16 && bar.bytes <= PCI_BAR_BYTES_MAX && bar.address % bar.bytes == 0);
    return 0;
}
