// SPDX-License-Identifier: Apache-2.0
#include "provider/local/qemu.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- the spec

bool instance_id_is_right(const char *id)
{
    size_t len = strlen(id);
    return len > 0 && len < INSTANCE_ID_MAX &&
           strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

static int check_net(const struct instance_net *n, struct err *e)
{
    static const uint8_t none[4];
    if (n->forwards_n > INSTANCE_FORWARDS_MAX || n->dns_n > INSTANCE_DNS_MAX)
        return err_set(e, -EINVAL, "instance: too many port forwards or name servers");
    for (uint32_t i = 0; i < n->forwards_n; i++)
        if (n->forwards[i].host_port == 0 || n->forwards[i].guest_port == 0)
            return err_set(e, -EINVAL, "instance: port 0 cannot be forwarded");
    if (n->kind != INSTANCE_NET_BRIDGE)
        return 0;
    if (n->bridge == NULL || n->bridge[0] == '\0')
        return err_set(e, -EINVAL, "instance: no bridge is named");
    if (!n->dhcp &&
        (memcmp(n->address, none, sizeof(none)) == 0 || n->prefix_len == 0 || n->prefix_len > 32))
        return err_set(e, -EINVAL, "instance: neither DHCP nor an address");
    return (n->mac[0] & 1) != 0 ? err_set(e, -EINVAL, "instance: a multicast MAC address") : 0;
}

int instance_spec_check(const struct instance_spec *s, struct err *e)
{
    if (s->id == NULL || !instance_id_is_right(s->id))
        return err_set(e, -EINVAL, "instance id '%.80s': must be 1 to %d of a-z, 0-9 and '-'",
                       s->id != NULL ? s->id : "", INSTANCE_ID_MAX - 1);
    if (s->image_path == NULL)
        return err_set(e, -EINVAL, "instance '%s': no image", s->id);
    if (s->memory_bytes < INSTANCE_MEMORY_MIN || s->memory_bytes > INSTANCE_MEMORY_MAX ||
        s->memory_bytes % (1 << 20) != 0)
        return err_set(e, -EINVAL, "instance '%s': memory must be whole MiB, from %llu to %llu",
                       s->id, INSTANCE_MEMORY_MIN >> 20, INSTANCE_MEMORY_MAX >> 20);
    if (s->cpus == 0 || s->cpus > INSTANCE_CPUS_MAX)
        return err_set(e, -EINVAL, "instance '%s': CPUs must be 1 to %d", s->id, INSTANCE_CPUS_MAX);
    if (s->args_n > INSTANCE_ARGS_MAX || s->env_n > INSTANCE_ENVS_MAX)
        return err_set(e, -E2BIG, "instance '%s': more than %d arguments or %d variables", s->id,
                       INSTANCE_ARGS_MAX, INSTANCE_ENVS_MAX);
    for (uint32_t i = 0; i < s->env_n; i++)
        if (s->env[i][0] == '=' || strchr(s->env[i], '=') == NULL)
            return err_set(e, -EINVAL, "instance '%s': environment '%s': must be NAME=VALUE", s->id,
                           s->env[i]);
    return check_net(&s->net, e);
}

void instance_mac(const struct instance_spec *spec, uint8_t ret[static 6])
{
    static const uint8_t none[6];
    memcpy(ret, spec->net.mac, 6);
    if (memcmp(ret, none, 6) != 0)
        return;
    uint64_t hash = 0xcbf29ce484222325; // FNV-1a, 64 bits
    for (const char *p = spec->id; *p != '\0'; p++)
        hash = (hash ^ (uint8_t)*p) * 0x100000001b3;
    memcpy(ret, &hash, 6);
    ret[0] = (uint8_t)((ret[0] & 0xfc) | 2); // one station, locally administered
}

// ---- the kernel's command line

struct line {
    char text[BOOT_CMDLINE_MAX];
    size_t len;
    bool full;
};

static void line_char(struct line *l, char c)
{
    if (l->len + 1 >= sizeof(l->text))
        l->full = true;
    else
        l->text[l->len++] = c;
    l->text[l->len] = '\0';
}

static void line_add(struct line *l, const char *format, ...) PRINTF_LIKE(2, 3);
static void line_add(struct line *l, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    ASSERT(n >= 0 && (size_t)n < sizeof(text));
    for (int i = 0; i < n; i++)
        line_char(l, text[i]);
}

/* " WORD=" and the value with %XX for what would not survive (abi/boot.h). */
static void line_value(struct line *l, const char *word, const char *value)
{
    line_add(l, " %s=", word);
    for (const char *p = value; *p != '\0'; p++) {
        if ((uint8_t)*p <= ' ' || *p == '%' || *p == 0x7f)
            line_add(l, "%%%02X", (uint8_t)*p);
        else
            line_char(l, *p);
    }
}

static void line_address(struct line *l, const char *before, const uint8_t a[4])
{
    line_add(l, "%s%u.%u.%u.%u", before, a[0], a[1], a[2], a[3]);
}

static void line_net(struct line *l, const struct instance_net *n)
{
    static const uint8_t none[4];
    if (n->kind == INSTANCE_NET_USER) // QEMU's own network, of fixed addresses
        line_add(l, " skerry.ip=10.0.2.15/24,10.0.2.2 skerry.dns=10.0.2.3");
    if (n->kind != INSTANCE_NET_BRIDGE)
        return;
    if (n->dhcp) {
        line_add(l, " skerry.ip=dhcp");
    } else {
        line_address(l, " skerry.ip=", n->address);
        line_add(l, "/%u", n->prefix_len);
        if (memcmp(n->gateway, none, sizeof(none)) != 0)
            line_address(l, ",", n->gateway);
    }
    for (uint32_t i = 0; i < n->dns_n; i++)
        line_address(l, i == 0 ? " skerry.dns=" : ",", n->dns[i]);
}

static int make_line(const struct qemu_request *q, struct line *l, struct err *e)
{
    const struct instance_spec *s = q->spec;
    line_add(l, "skerry.host=%s skerry.epoch=%llu.%09u", s->id,
             (unsigned long long)q->epoch_seconds, q->epoch_nanos);
    if (q->tsc_khz != 0)
        line_add(l, " skerry.tsc_khz=%u", q->tsc_khz);
    if (s->cpus > 1)
        line_add(l, " skerry.smp=%u", s->cpus);
    line_net(l, &s->net);
    if (s->trace)
        line_add(l, " skerry.trace");
    if (s->written_exec)
        line_add(l, " skerry.allow_written_exec");
    if (s->no_anonymous_exec)
        line_add(l, " skerry.deny_anonymous_exec");
    if (s->gdb_port != 0)
        line_add(l, " skerry.nokaslr"); // symbols are where the file says
    for (uint32_t i = 0; i < s->env_n; i++)
        line_value(l, "skerry.env", s->env[i]);
    for (uint32_t i = 0; i < s->args_n; i++)
        line_value(l, "skerry.arg", s->args[i]);
    // QEMU puts " virtio_mmio.device=512@0xfeb00e00:12" behind it for each of three devices.
    enum { QEMU_ADDS = 3 * 48 };
    if (l->full || l->len + QEMU_ADDS >= BOOT_CMDLINE_MAX)
        return err_set(e, -E2BIG,
                       "instance '%s': arguments and environment are too long for the kernel's "
                       "command line: put them into the image",
                       s->id);
    return 0;
}

// ---- QEMU's words

static void word(struct qemu_command *c, const char *format, ...) PRINTF_LIKE(2, 3);
static void word(struct qemu_command *c, const char *format, ...)
{
    size_t room = sizeof(c->text) - c->text_len;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(c->text + c->text_len, room, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= room || c->words_n == QEMU_WORDS_MAX) {
        c->full = true;
        return;
    }
    c->words[c->words_n++] = c->text + c->text_len;
    c->words[c->words_n] = NULL;
    c->text_len += (size_t)n + 1;
}

static void pair(struct qemu_command *c, const char *option, const char *value)
{
    word(c, "%s", option);
    word(c, "%s", value);
}

static void machine_words(const struct qemu_request *q, struct qemu_command *c)
{
    word(c, "%s", q->program);
    pair(c, "-M", "microvm,acpi=off,pit=off,pic=off,rtc=off,auto-kernel-cmdline=on");
    pair(c, "-accel", q->kvm ? "kvm" : q->spec->cpus > 1 ? "tcg,thread=multi" : "tcg");
    // Not every KVM can set what "max" then promises in IA32_ARCH_CAPABILITIES.
    pair(c, "-cpu", q->kvm ? "max,arch-capabilities=off" : "max");
    word(c, "-m");
    word(c, "%lluM", (unsigned long long)(q->spec->memory_bytes >> 20));
    word(c, "-smp");
    word(c, "%u", q->spec->cpus);
    word(c, "-nodefaults");
    word(c, "-no-user-config");
    word(c, "-no-reboot");
    pair(c, "-display", "none");
    // The guest is foreign: QEMU needs no other program, no other user and no old system call.
    pair(c, "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    pair(c, "-global", "virtio-mmio.force-legacy=false");
    if (q->spec->gdb_port != 0) {
        word(c, "-S");
        word(c, "-gdb");
        word(c, "tcp:127.0.0.1:%u", q->spec->gdb_port);
    }
    if (q->pid_file != NULL)
        pair(c, "-pidfile", q->pid_file);
}

static void channel_words(const struct qemu_request *q, struct qemu_command *c)
{
    word(c, "-chardev");
    word(c, "%s,id=console", q->console);
    pair(c, "-serial", "chardev:console");
    word(c, "-chardev");
    word(c, "file,id=status,path=%s", q->status);
    word(c, "-device");
    word(c, "isa-debugcon,iobase=%#x,chardev=status", BOOT_STATUS_PORT);
    word(c, "-device");
    word(c, "isa-debug-exit,iobase=%#x,iosize=1", BOOT_POWEROFF_PORT);
}

static int disk_words(const struct qemu_request *q, struct qemu_command *c, struct err *e)
{
    // Images never change, so they need no lock; JSON carries any byte of a path but those that
    // are no UTF-8.
    json_auto_t *node = json_pack("{s:s, s:s, s:b, s:{s:s, s:s, s:s}}", "driver", "raw",
                                  "node-name", "root", "read-only", 1, "file", "driver", "file",
                                  "filename", q->spec->image_path, "locking", "off");
    char *text = node != NULL ? json_dumps(node, JSON_COMPACT) : NULL;
    if (text == NULL)
        return err_set(e, -EINVAL, "%s: the path of an image must be UTF-8", q->spec->image_path);
    pair(c, "-blockdev", text);
    free(text);
    pair(c, "-device", "virtio-blk-device,drive=root");
    return 0;
}

static void forward_words(const struct instance_net *n, char *text, size_t max)
{
    size_t len = strlen(text);
    for (uint32_t i = 0; i < n->forwards_n && len < max; i++) {
        const struct instance_forward *f = &n->forwards[i];
        int m = snprintf(text + len, max - len, ",hostfwd=%s:%u.%u.%u.%u:%u-:%u",
                         f->udp ? "udp" : "tcp", f->host_address[0], f->host_address[1],
                         f->host_address[2], f->host_address[3], f->host_port, f->guest_port);
        len += (size_t)m;
    }
}

static void net_words(const struct qemu_request *q, struct qemu_command *c)
{
    const struct instance_net *n = &q->spec->net;
    char text[1024] = "user,id=net,ipv6=off";
    uint8_t mac[6];
    if (n->kind == INSTANCE_NET_NONE)
        return;
    if (n->kind == INSTANCE_NET_USER)
        forward_words(n, text, sizeof(text));
    else
        snprintf(text, sizeof(text), "tap,id=net,fd=%d", q->tap_fd);
    instance_mac(q->spec, mac);
    pair(c, "-netdev", text);
    word(c, "-device");
    word(c, "virtio-net-device,netdev=net,mac=%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
         mac[2], mac[3], mac[4], mac[5]);
}

int qemu_command_make(const struct qemu_request *q, struct qemu_command *ret, struct err *e)
{
    struct line line = {.len = 0};
    ret->words_n = 0;
    ret->text_len = 0;
    ret->full = false;
    int r = make_line(q, &line, e);
    if (r < 0)
        return r;
    machine_words(q, ret);
    channel_words(q, ret);
    r = disk_words(q, ret, e);
    if (r < 0)
        return r;
    net_words(q, ret);
    pair(ret, "-device", "virtio-rng-device");
    pair(ret, "-kernel", q->kernel_path);
    pair(ret, "-append", line.text);
    return ret->full
               ? err_set(e, -E2BIG, "instance '%s': QEMU's command line is too long", q->spec->id)
               : 0;
}
