// SPDX-License-Identifier: Apache-2.0
#include "base/fmt.h"

#include "base/mem.h"

struct out {
    char *buf;
    size_t max, len;
};

struct spec {
    bool left, zero, alt, plus, space;
    int width, precision; // precision -1: not given
    int length;           // bytes of the argument: 1, 2, 4 or 8
    char conversion;
};

enum { DIGITS_MAX = 24 }; // 64 bits in octal need 22

static void put(struct out *o, char c)
{
    if (o->len + 1 < o->max)
        o->buf[o->len] = c;
    o->len++;
}

static void pad(struct out *o, char c, int n)
{
    for (; n > 0; n--)
        put(o, c);
}

static void put_field(struct out *o, const struct spec *s, const char *text, size_t len)
{
    int fill = s->width > (int)len ? s->width - (int)len : 0;
    if (!s->left)
        pad(o, ' ', fill);
    for (size_t i = 0; i < len; i++)
        put(o, text[i]);
    if (s->left)
        pad(o, ' ', fill);
}

static void put_number(struct out *o, const struct spec *s, uint64_t v, bool negative)
{
    bool decimal = s->conversion == 'd' || s->conversion == 'u';
    unsigned base = decimal ? 10 : s->conversion == 'o' ? 8 : 16;
    const char *digits = s->conversion == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    char text[DIGITS_MAX];
    int n = 0;
    bool zero_value = v == 0;
    for (; v != 0; v /= base)
        text[n++] = digits[v % base];
    int min = s->precision >= 0 ? s->precision : 1;
    const char *prefix = "";
    if (negative)
        prefix = "-";
    else if (s->plus && s->conversion == 'd')
        prefix = "+";
    else if (s->space && s->conversion == 'd')
        prefix = " ";
    else if (s->alt && base == 16 && !zero_value)
        prefix = s->conversion == 'X' ? "0X" : "0x";
    else if (s->alt && base == 8 && n >= min)
        prefix = "0";
    int zeros = n < min ? min - n : 0;
    int total = (int)strlen(prefix) + zeros + n;
    if (s->zero && !s->left && s->precision < 0 && s->width > total) {
        zeros += s->width - total;
        total = s->width;
    }
    if (!s->left)
        pad(o, ' ', s->width - total);
    for (; *prefix != '\0'; prefix++)
        put(o, *prefix);
    pad(o, '0', zeros);
    while (n > 0)
        put(o, text[--n]);
    if (s->left)
        pad(o, ' ', s->width - total);
}

static const char *parse_int(const char *p, int *ret, va_list *args)
{
    if (*p == '*') {
        *ret = va_arg(*args, int);
        return p + 1;
    }
    int v = 0;
    for (; *p >= '0' && *p <= '9'; p++)
        v = v * 10 + (*p - '0');
    *ret = v;
    return p;
}

static const char *parse_flags(const char *p, struct spec *s)
{
    for (;; p++) {
        switch (*p) {
        case '-':
            s->left = true;
            break;
        case '0':
            s->zero = true;
            break;
        case '#':
            s->alt = true;
            break;
        case '+':
            s->plus = true;
            break;
        case ' ':
            s->space = true;
            break;
        default:
            return p;
        }
    }
}

static const char *parse_length(const char *p, struct spec *s)
{
    s->length = sizeof(int);
    if (*p == 'h') {
        s->length = p[1] == 'h' ? 1 : 2;
        return p + (s->length == 1 ? 2 : 1);
    }
    if (*p == 'l') {
        s->length = 8;
        return p + (p[1] == 'l' ? 2 : 1);
    }
    if (*p == 'z' || *p == 'j' || *p == 't') {
        s->length = 8;
        return p + 1;
    }
    return p;
}

static const char *parse_spec(const char *p, struct spec *s, va_list *args)
{
    *s = (struct spec){.precision = -1};
    p = parse_flags(p, s);
    p = parse_int(p, &s->width, args);
    if (s->width < 0) {
        s->left = true;
        s->width = -s->width;
    }
    if (*p == '.')
        p = parse_int(p + 1, &s->precision, args);
    p = parse_length(p, s);
    s->conversion = *p == 'i' ? 'd' : *p;
    return p + 1;
}

static uint64_t unsigned_arg(const struct spec *s, va_list *args)
{
    if (s->length == 8)
        return va_arg(*args, uint64_t);
    uint32_t v = va_arg(*args, uint32_t);
    return s->length == 1 ? (uint8_t)v : s->length == 2 ? (uint16_t)v : v;
}

static int64_t signed_arg(const struct spec *s, va_list *args)
{
    if (s->length == 8)
        return va_arg(*args, int64_t);
    int32_t v = va_arg(*args, int32_t);
    return s->length == 1 ? (int8_t)v : s->length == 2 ? (int16_t)v : v;
}

static void put_string(struct out *o, const struct spec *s, const char *text)
{
    if (text == NULL)
        text = "(null)";
    put_field(o, s, text, s->precision >= 0 ? strnlen(text, (size_t)s->precision) : strlen(text));
}

static void convert(struct out *o, struct spec *s, va_list *args)
{
    switch (s->conversion) {
    case 'd': {
        int64_t v = signed_arg(s, args);
        put_number(o, s, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, v < 0);
        return;
    }
    case 'u':
    case 'x':
    case 'X':
    case 'o':
        put_number(o, s, unsigned_arg(s, args), false);
        return;
    case 'p':
        s->alt = true;
        s->conversion = 'x';
        put_number(o, s, (uint64_t)(uintptr_t)va_arg(*args, void *), false);
        return;
    case 'c': {
        char c = (char)va_arg(*args, int);
        put_field(o, s, &c, 1);
        return;
    }
    case 's':
        put_string(o, s, va_arg(*args, const char *));
        return;
    case '%':
        put(o, '%');
        return;
    default:
        ASSERT(!"known conversion");
    }
}

size_t fmt_v(char *buf, size_t max, const char *format, va_list args)
{
    struct out o = {.buf = buf, .max = max};
    va_list ap; // a copy that helpers can take the address of
    va_copy(ap, args);
    for (const char *p = format; *p != '\0';) {
        if (*p != '%') {
            put(&o, *p++);
            continue;
        }
        struct spec s;
        p = parse_spec(p + 1, &s, &ap);
        convert(&o, &s, &ap);
    }
    va_end(ap);
    if (max > 0)
        buf[o.len < max ? o.len : max - 1] = '\0';
    return o.len;
}

size_t fmt(char *buf, size_t max, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t n = fmt_v(buf, max, format, args);
    va_end(args);
    return n;
}
