// SPDX-License-Identifier: Apache-2.0
#include "kernel/vfs/ldisc.h"

#include "base/mem.h"

enum {                // marks of a key in the ring
    MARK_END = 0x100, // a line ends behind it
    MARK_EOF = 0x200, // no key: end of file
};
enum { ISTRIP = 040, INLCR = 0100, IGNCR = 0200, ICRNL = 0400, IUTF8 = 040000 };
enum { OPOST = 1, ONLCR = 4, OCRNL = 010 };
enum {
    ISIG = 1,
    ECHO = 010,
    ECHOE = 020,
    ECHOK = 040,
    ECHONL = 0100,
    NOFLSH = 0200,
    ECHOCTL = 01000,
    ECHOKE = 04000,
    IEXTEN = 0100000,
};
enum {
    CC_INTR,
    CC_QUIT,
    CC_ERASE,
    CC_KILL,
    CC_EOF,
    CC_START = 8,
    CC_STOP = 9,
    CC_SUSP = 10,
    CC_EOL = 11,
    CC_WERASE = 14,
    CC_LNEXT = 15,
    CC_EOL2 = 16,
};
enum { SIGINT = 2, SIGQUIT = 3, SIGTSTP = 20 };

void ldisc_init(struct ldisc *l)
{
    // Linux tty_std_termios.
    static const struct termios std = {
        .iflag = ICRNL | IFLAG_IXON,
        .oflag = OPOST | ONLCR,
        .cflag = 0277, // B38400 CS8 CREAD
        .lflag = ISIG | LFLAG_ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
        .cc = {3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0},
    };
    memset(l, 0, sizeof(*l));
    l->t = std;
}

static bool lflag(const struct ldisc *l, uint32_t flag)
{
    return (l->t.lflag & flag) != 0;
}

static bool is_cc(const struct ldisc *l, unsigned which, uint8_t key)
{
    return key != 0 && l->t.cc[which] == key; // 0: _POSIX_VDISABLE
}

// --- what the terminal shows ---

static size_t out_room(const struct ldisc *l)
{
    return TTY_OUT - (l->out_head - l->out_tail);
}

static void out_push(struct ldisc *l, uint8_t c)
{
    if (out_room(l) > 0)
        l->out[l->out_head++ % TTY_OUT] = c;
}

/* A byte after output processing: false when there is no room for it. */
static bool out_byte(struct ldisc *l, uint8_t c)
{
    bool post = (l->t.oflag & OPOST) != 0, pair = post && c == '\n' && (l->t.oflag & ONLCR);
    if (out_room(l) < (pair ? 2u : 1u))
        return false;
    if (pair)
        out_push(l, '\r');
    out_push(l, post && c == '\r' && (l->t.oflag & OCRNL) ? '\n' : c);
    return true;
}

size_t ldisc_write(struct ldisc *l, const uint8_t *from, size_t n)
{
    size_t done = 0;
    while (done < n && !l->stopped && out_byte(l, from[done]))
        done++;
    return done;
}

size_t ldisc_shown(struct ldisc *l, uint8_t *to, size_t max)
{
    size_t n = 0;
    while (n < max && l->out_tail != l->out_head)
        to[n++] = l->out[l->out_tail++ % TTY_OUT];
    return n;
}

static bool is_control(const struct ldisc *l, uint8_t key)
{
    return lflag(l, ECHOCTL) && (key < 32 || key == 127) && key != '\t' && key != '\n';
}

static void echo(struct ldisc *l, uint8_t key)
{
    if (!lflag(l, ECHO) && !(key == '\n' && lflag(l, ECHONL) && lflag(l, LFLAG_ICANON)))
        return;
    if (is_control(l, key)) {
        out_push(l, '^');
        out_push(l, key ^ 0100);
    } else {
        (void)out_byte(l, key);
    }
}

// --- keys ---

static size_t typed(const struct ldisc *l) // keys of the line that is not complete
{
    return l->in_head - l->in_ready;
}

bool ldisc_key_room(const struct ldisc *l)
{
    // The last place is for the end of a line, so that a line always can be ended.
    return lflag(l, LFLAG_ICANON) || l->in_head - l->in_tail < TTY_IN - 1;
}

static void in_push(struct ldisc *l, uint16_t key)
{
    if (l->in_head - l->in_tail < TTY_IN)
        l->in[l->in_head++ % TTY_IN] = key;
}

static void line_end(struct ldisc *l, uint16_t key)
{
    unsigned before = l->in_head;
    in_push(l, key);
    if (l->in_head == before)
        return;
    l->in_ready = l->in_head;
    l->lines++;
}

static void show_erased(struct ldisc *l, uint8_t key)
{
    if (!lflag(l, ECHO))
        return;
    for (unsigned width = is_control(l, key) ? 2 : 1; width > 0; width--) {
        out_push(l, '\b');
        out_push(l, ' ');
        out_push(l, '\b');
    }
}

/* Take the last key of the line back; of a UTF-8 character all bytes. */
static void erase_one(struct ldisc *l)
{
    uint8_t key;
    do {
        key = (uint8_t)l->in[--l->in_head % TTY_IN];
    } while ((l->t.iflag & IUTF8) && (key & 0xc0) == 0x80 && typed(l) > 0);
    if (lflag(l, ECHOE))
        show_erased(l, key);
    else
        echo(l, l->t.cc[CC_ERASE]);
}

static uint8_t last_key(const struct ldisc *l)
{
    return (uint8_t)l->in[(l->in_head - 1) % TTY_IN];
}

static void erase_word(struct ldisc *l)
{
    while (typed(l) > 0 && (last_key(l) == ' ' || last_key(l) == '\t'))
        erase_one(l);
    while (typed(l) > 0 && last_key(l) != ' ' && last_key(l) != '\t')
        erase_one(l);
}

static void erase_line(struct ldisc *l, uint8_t key)
{
    if (lflag(l, ECHOK) && lflag(l, ECHOKE) && lflag(l, ECHOE)) {
        while (typed(l) > 0)
            erase_one(l);
        return;
    }
    l->in_head = l->in_ready;
    echo(l, key);
    if (lflag(l, ECHOK))
        echo(l, '\n');
}

/* Keys with a meaning in canonical mode: true when it was one. */
static bool canonical(struct ldisc *l, uint8_t key)
{
    if (is_cc(l, CC_ERASE, key)) {
        if (typed(l) > 0)
            erase_one(l);
    } else if (is_cc(l, CC_KILL, key)) {
        erase_line(l, key);
    } else if (is_cc(l, CC_WERASE, key) && lflag(l, IEXTEN)) {
        erase_word(l);
    } else if (is_cc(l, CC_LNEXT, key) && lflag(l, IEXTEN)) {
        l->literal = true;
        if (lflag(l, ECHO) && lflag(l, ECHOCTL)) {
            out_push(l, '^');
            out_push(l, '\b');
        }
    } else if (is_cc(l, CC_EOF, key)) {
        line_end(l, MARK_EOF);
    } else if (key == '\n' || is_cc(l, CC_EOL, key) ||
               (is_cc(l, CC_EOL2, key) && lflag(l, IEXTEN))) {
        echo(l, key);
        line_end(l, key | MARK_END);
    } else {
        return false;
    }
    return true;
}

static int signal_of(const struct ldisc *l, uint8_t key)
{
    if (!lflag(l, ISIG))
        return 0;
    return is_cc(l, CC_INTR, key)   ? SIGINT
           : is_cc(l, CC_QUIT, key) ? SIGQUIT
           : is_cc(l, CC_SUSP, key) ? SIGTSTP
                                    : 0;
}

static void plain(struct ldisc *l, uint8_t key)
{
    bool canon = lflag(l, LFLAG_ICANON);
    if (l->in_head - l->in_tail >= TTY_IN - 1)
        return; // a line that is too long loses its end, as in Linux
    echo(l, key);
    in_push(l, key);
    if (!canon)
        l->in_ready = l->in_head;
}

int ldisc_key(struct ldisc *l, uint8_t key)
{
    if (l->literal) {
        l->literal = false;
        plain(l, key);
        return 0;
    }
    if (l->t.iflag & ISTRIP)
        key &= 0x7f;
    if ((l->t.iflag & IFLAG_IXON) && (is_cc(l, CC_START, key) || is_cc(l, CC_STOP, key))) {
        l->stopped = is_cc(l, CC_STOP, key);
        return 0;
    }
    int signo = signal_of(l, key);
    if (signo != 0) {
        if (!lflag(l, NOFLSH))
            ldisc_flush(l, true, true);
        l->stopped = false;
        echo(l, key);
        return signo;
    }
    if (key == '\r' && (l->t.iflag & IGNCR))
        return 0;
    if (key == '\r' && (l->t.iflag & ICRNL))
        key = '\n';
    else if (key == '\n' && (l->t.iflag & INLCR))
        key = '\r';
    if (!lflag(l, LFLAG_ICANON) || !canonical(l, key))
        plain(l, key);
    return 0;
}

// --- reading ---

size_t ldisc_readable(const struct ldisc *l)
{
    if (lflag(l, LFLAG_ICANON) && l->lines == 0)
        return 0;
    return l->in_ready - l->in_tail;
}

bool ldisc_read(struct ldisc *l, uint8_t *to, size_t max, size_t *ret)
{
    bool canon = lflag(l, LFLAG_ICANON);
    *ret = 0;
    if (ldisc_readable(l) == 0)
        return false;
    while (*ret < max && l->in_tail != l->in_ready) {
        uint16_t key = l->in[l->in_tail % TTY_IN];
        l->in_tail++;
        if (key & (MARK_END | MARK_EOF))
            l->lines--;
        if ((key & MARK_EOF) == 0)
            to[(*ret)++] = (uint8_t)key;
        if (canon && (key & (MARK_END | MARK_EOF)))
            break;
    }
    // A line that was read up to its end of file exactly: that is no end of file of its own.
    if (canon && *ret > 0 && *ret == max && l->in_tail != l->in_ready &&
        (l->in[l->in_tail % TTY_IN] & MARK_EOF)) {
        l->in_tail++;
        l->lines--;
    }
    return true;
}

void ldisc_flush(struct ldisc *l, bool in, bool out)
{
    if (in) {
        l->in_tail = l->in_ready = l->in_head;
        l->lines = 0;
    }
    if (out)
        l->out_tail = l->out_head;
}

void ldisc_set(struct ldisc *l, const struct termios *t)
{
    bool was = lflag(l, LFLAG_ICANON), now = (t->lflag & LFLAG_ICANON) != 0;
    l->t = *t;
    if (was != now)
        l->in_ready = l->in_head;
    if (!was && now && l->in_head != l->in_tail && l->lines == 0) {
        // What was typed raw is a line now: Linux n_tty_set_termios.
        l->in[(l->in_head - 1) % TTY_IN] |= MARK_END;
        l->lines = 1;
    }
    if ((t->iflag & IFLAG_IXON) == 0)
        l->stopped = false;
}
