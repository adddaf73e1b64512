// SPDX-License-Identifier: Apache-2.0
/* The DHCP client: a few messages, with transaction number and address made right so that the
 * fuzzer reaches the options. Records: length u16 little-endian | options... */
#include <string.h>

#include "net/dhcp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
    uint8_t out[DHCP_MESSAGE_MAX], in[240 + 1024];
    size_t out_len;
    uint32_t to;
    struct dhcp d;
    uint64_t now = NET_NS_PER_S;
    dhcp_init(&d, mac, 7, now);
    for (unsigned i = 0; i < 16 && size >= 2; i++) {
        size_t len = (size_t)(data[0] | data[1] << 8) % 1024;
        data += 2;
        size -= 2;
        len = len < size ? len : size;
        (void)dhcp_step(&d, now, out, &out_len, &to);
        memset(in, 0, 240);
        memcpy(in, (uint8_t[]){2, 1, 6, 0}, 4);
        memcpy(in + 4, out_len > 0 ? out + 4 : in, 4);
        memcpy(in + 16, data, len < 4 ? len : 4); // yiaddr
        memcpy(in + 28, mac, 6);
        memcpy(in + 236, (uint8_t[]){0x63, 0x82, 0x53, 0x63}, 4);
        memcpy(in + 240, data, len);
        enum dhcp_news news = dhcp_input(&d, in, 240 + len, now);
        if (news == DHCP_GOT || news == DHCP_RENEWED)
            ASSERT(d.state == DHCP_BOUND && d.lease.ip != 0 && d.lease.prefix_len <= 32 &&
                   d.lease.dns_len <= DHCP_DNS_MAX && d.lease.renew_at <= d.lease.expires_at);
        (void)dhcp_input(&d, data, len, now); // raw
        data += len;
        size -= len;
        now = d.next_at > now && d.next_at != NET_NEVER ? d.next_at : now + NET_NS_PER_S;
    }
    return 0;
}
