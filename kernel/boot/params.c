// SPDX-License-Identifier: Apache-2.0
#include "kernel/boot/params.h"

#include "base/errno.h"
#include "base/mem.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* %XX in place. False when a % is followed by anything else, or stands for NUL. */
static bool decode(char *word)
{
    char *to = word;
    for (const char *from = word; *from != '\0'; from++) {
        if (*from != '%') {
            *to++ = *from;
            continue;
        }
        int high = hex_digit(from[1]), low = high >= 0 ? hex_digit(from[2]) : -1;
        if (low < 0 || high * 16 + low == 0)
            return false;
        *to++ = (char)(high * 16 + low);
        from += 2;
    }
    *to = '\0';
    return true;
}

/* A number at *p, moved behind it. base 10, or 16 when it starts with 0x. False: none, or too big.
 */
static bool number(const char **p, uint64_t max, uint64_t *ret)
{
    const char *at = *p;
    uint64_t v = 0, base = 10;
    if (at[0] == '0' && at[1] == 'x') {
        base = 16;
        at += 2;
    }
    const char *first = at;
    for (int d; (d = hex_digit(*at)) >= 0 && (uint64_t)d < base; at++) {
        if (v > (max - (uint64_t)d) / base)
            return false;
        v = v * base + (uint64_t)d;
    }
    *ret = v;
    *p = at;
    return at != first;
}

static bool take(const char **p, char c)
{
    if (**p != c)
        return false;
    (*p)++;
    return true;
}

static bool ipv4(const char **p, uint32_t *ret)
{
    uint32_t address = 0;
    for (int i = 0; i < 4; i++) {
        uint64_t byte;
        if ((i > 0 && !take(p, '.')) || !number(p, 255, &byte))
            return false;
        address = address << 8 | (uint32_t)byte;
    }
    *ret = address;
    return true;
}

/* dhcp | A.B.C.D/LEN[,GATEWAY] */
static bool parse_ip(char *value, struct boot_params *r)
{
    const char *p = value;
    uint64_t len;
    if (strcmp(value, "dhcp") == 0) {
        r->dhcp = true;
        return true;
    }
    r->dhcp = false;
    if (!ipv4(&p, &r->ip) || !take(&p, '/') || !number(&p, 32, &len))
        return false;
    r->prefix_len = (unsigned)len;
    if (take(&p, ',') && !ipv4(&p, &r->gateway))
        return false;
    return *p == '\0';
}

static bool parse_dns(char *value, struct boot_params *r)
{
    const char *p = value;
    r->dns_count = 0;
    do {
        if (r->dns_count == PARAM_DNS_MAX || !ipv4(&p, &r->dns[r->dns_count]))
            return false;
        r->dns_count++;
    } while (take(&p, ','));
    return *p == '\0';
}

static bool parse_host(char *value, struct boot_params *r)
{
    size_t len = strlen(value);
    if (len == 0 || len >= sizeof(r->host))
        return false;
    memcpy(r->host, value, len + 1);
    return true;
}

static bool parse_epoch(char *value, struct boot_params *r)
{
    const char *p = value;
    uint64_t seconds, nanos = 0, digits = 0;
    if (!number(&p, UINT64_MAX / 1000000000 - 1, &seconds))
        return false;
    if (take(&p, '.')) {
        for (; *p >= '0' && *p <= '9' && digits < 9; p++, digits++)
            nanos = nanos * 10 + (uint64_t)(*p - '0');
        for (; digits < 9; digits++)
            nanos *= 10;
    }
    r->epoch_ns = seconds * 1000000000 + nanos;
    return *p == '\0';
}

static bool parse_tsc(char *value, struct boot_params *r)
{
    const char *p = value;
    return number(&p, 100 * 1000 * 1000, &r->tsc_khz) && r->tsc_khz >= 1000 && *p == '\0';
}

static bool parse_smp(char *value, struct boot_params *r)
{
    const char *p = value;
    uint64_t n;
    if (!number(&p, BOOT_CPUS_MAX, &n) || n == 0)
        return false;
    r->cpus = (unsigned)n;
    return *p == '\0';
}

static bool parse_env(char *value, struct boot_params *r)
{
    if (r->env_count == PARAM_ENVS_MAX || value[0] == '=' || strchr(value, '=') == NULL)
        return false;
    r->env[r->env_count++] = value;
    return true;
}

static bool parse_arg(char *value, struct boot_params *r)
{
    if (r->arg_count == PARAM_ARGS_MAX)
        return false;
    r->args[r->arg_count++] = value;
    return true;
}

static bool parse_trial(char *value, struct boot_params *r)
{
    r->trial = value;
    return true;
}

/* SIZE@ADDR:IRQ, where SIZE may end with K (Linux Documentation/admin-guide/kernel-parameters). */
static bool parse_mmio(char *value, struct boot_params *r)
{
    const char *p = value;
    struct param_mmio m;
    uint64_t gsi;
    if (r->mmio_count == PARAM_MMIO_MAX || !number(&p, 1 << 20, &m.bytes))
        return false;
    if (take(&p, 'K'))
        m.bytes *= 1024;
    if (!take(&p, '@') || !number(&p, UINT64_MAX - (2ull << 30), &m.address) || !take(&p, ':') ||
        !number(&p, 1023, &gsi))
        return false;
    m.gsi = (unsigned)gsi;
    r->mmio[r->mmio_count++] = m;
    return *p == '\0' || *p == ':'; // Linux allows an id behind
}

static const struct {
    const char *name;
    bool (*parse)(char *value, struct boot_params *r); // value behind the '='
} words[] = {
    {"skerry.ip=", parse_ip},
    {"skerry.dns=", parse_dns},
    {"skerry.host=", parse_host},
    {"skerry.epoch=", parse_epoch},
    {"skerry.tsc_khz=", parse_tsc},
    {"skerry.env=", parse_env},
    {"skerry.smp=", parse_smp},
    {"skerry.arg=", parse_arg},
    {"virtio_mmio.device=", parse_mmio},
    {"skerry.trial=", parse_trial},
};

static bool parse_word(char *word, struct boot_params *r)
{
    if (!decode(word))
        return strncmp(word, "skerry.", 7) != 0; // not ours: no matter
    if (strcmp(word, "skerry.trace") == 0) {
        r->trace = true;
        return true;
    }
    if (strcmp(word, "skerry.allow_written_exec") == 0) {
        r->written_exec = true;
        return true;
    }
    if (strcmp(word, "skerry.deny_anonymous_exec") == 0) {
        r->no_anonymous_exec = true;
        return true;
    }
    if (strcmp(word, "skerry.nokaslr") == 0)
        return true; // boot/place.c has heeded it
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        size_t len = strlen(words[i].name);
        if (strncmp(word, words[i].name, len) == 0)
            return words[i].parse(word + len, r);
    }
    return strncmp(word, "skerry.", 7) != 0;
}

int params_parse(char *line, struct boot_params *ret, const char **ret_bad)
{
    *ret = (struct boot_params){.dhcp = true, .cpus = 1, .host = "skerry"};
    while (*line != '\0') {
        while (*line == ' ')
            line++;
        char *word = line;
        while (*line != ' ' && *line != '\0')
            line++;
        bool last = *line == '\0';
        *line = '\0';
        if (word[0] != '\0' && !parse_word(word, ret)) {
            *ret_bad = word;
            return -EINVAL;
        }
        if (last)
            break;
        line++;
    }
    return 0;
}
