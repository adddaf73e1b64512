// SPDX-License-Identifier: Apache-2.0
/* Options of TCP sockets. */
#include "base/mem.h"
#include "kernel/socket/inet.h"
#include "kernel/socket/stack.h"
#include "kernel/socket/tcp_sock.h"
#include "net/tcp.h"

enum opt_kind { OPT_NUMBER, OPT_BOOL };

/* Options that are one number both here and in net/. */
static const struct {
    int level, name;
    enum tcp_opt opt;
    enum opt_kind kind;
} tcp_options[] = {
    {SOL_SOCKET, SO_REUSEADDR, TCP_OPT_REUSEADDR, OPT_BOOL},
    {SOL_SOCKET, SO_KEEPALIVE, TCP_OPT_KEEPALIVE, OPT_BOOL},
    {SOL_TCP, OPT_TCP_NODELAY, TCP_OPT_NODELAY, OPT_BOOL},
    {SOL_TCP, OPT_TCP_CORK, TCP_OPT_CORK, OPT_BOOL},
    {SOL_TCP, OPT_TCP_QUICKACK, TCP_OPT_QUICKACK, OPT_BOOL},
    {SOL_TCP, OPT_TCP_MAXSEG, TCP_OPT_MAXSEG, OPT_NUMBER},
    {SOL_TCP, OPT_TCP_KEEPIDLE, TCP_OPT_KEEPIDLE, OPT_NUMBER},
    {SOL_TCP, OPT_TCP_KEEPINTVL, TCP_OPT_KEEPINTVL, OPT_NUMBER},
    {SOL_TCP, OPT_TCP_KEEPCNT, TCP_OPT_KEEPCNT, OPT_NUMBER},
    {SOL_TCP, OPT_TCP_SYNCNT, TCP_OPT_SYNCNT, OPT_NUMBER},
    {SOL_TCP, OPT_TCP_DEFER_ACCEPT, TCP_OPT_DEFER_ACCEPT, OPT_NUMBER},
    {SOL_TCP, OPT_TCP_USER_TIMEOUT, TCP_OPT_USER_TIMEOUT, OPT_NUMBER},
    {SOL_TCP, OPT_TCP_NOTSENT_LOWAT, TCP_OPT_NOTSENT_LOWAT, OPT_NUMBER},
    {SOL_IP, OPT_IP_TTL, TCP_OPT_TTL, OPT_NUMBER},
    {SOL_IP, OPT_IP_TOS, TCP_OPT_TOS, OPT_NUMBER},
};
static const char congestion[16] = "reno"; // what net/ does: RFC 5681 with SACK

struct linger_opt {
    int onoff, seconds;
};

static struct tcp_sock *of(struct sock *s)
{
    return (struct tcp_sock *)(void *)s;
}

static int set(struct tcp_sock *ts, enum tcp_opt opt, int64_t v)
{
    uint64_t now;
    stack_enter(&now);
    int r = tcp_opt_set(ts->t, opt, v, now);
    stack_leave();
    return r;
}

static int64_t get(struct tcp_sock *ts, enum tcp_opt opt)
{
    uint64_t now;
    stack_enter(&now);
    int64_t v = tcp_opt_get(ts->t, opt);
    stack_leave();
    return v;
}

static int linger_set(struct tcp_sock *ts, const struct sock_opt *o)
{
    struct linger_opt l;
    if (o->len < sizeof(l))
        return -EINVAL;
    memcpy(&l, o->bytes, sizeof(l));
    int64_t seconds = l.seconds < 0 ? INT32_MAX : l.seconds; // Linux reads it as unsigned
    return set(ts, TCP_OPT_LINGER, l.onoff ? seconds : -1);
}

static int linger_get(struct tcp_sock *ts, struct sock_opt *ret)
{
    int64_t v = get(ts, TCP_OPT_LINGER);
    struct linger_opt l = {.onoff = v >= 0, .seconds = v >= 0 ? (int)v : 0};
    memcpy(ret->bytes, &l, sizeof(l));
    ret->len = sizeof(l);
    return 0;
}

static int buf_set(struct tcp_sock *ts, int name, int v)
{
    bool rcv = name == SO_RCVBUF || name == SO_RCVBUFFORCE;
    int64_t size = inet_buf_clamp(v, name == SO_SNDBUFFORCE || name == SO_RCVBUFFORCE);
    int r = set(ts, rcv ? TCP_OPT_RCVBUF : TCP_OPT_SNDBUF, size);
    if (r == 0)
        __atomic_store_n(rcv ? &ts->rcvbuf : &ts->sndbuf, (int32_t)size * 2, __ATOMIC_RELAXED);
    return r;
}

static int congestion_set(const struct sock_opt *o)
{
    char name[sizeof(congestion)] = {0};
    memcpy(name, o->bytes, MIN((size_t)o->len, sizeof(name) - 1));
    return strcmp(name, congestion) == 0 ? 0 : -ENOENT;
}

/* DF is on every packet: what asks for that is granted, all else is not. */
static int mtu_discover_set(const struct sock_opt *o)
{
    int v;
    int r = opt_ip_value(o, &v);
    if (r < 0)
        return r;
    if (v < 0 || v > 5)
        return -EINVAL;
    return v == PMTUDISC_WANT || v == PMTUDISC_DO ? 0 : -ENOPROTOOPT;
}

static int number_set(struct tcp_sock *ts, size_t row, const struct sock_opt *o)
{
    int v;
    if (tcp_options[row].level == SOL_IP) {
        int r = opt_ip_value(o, &v);
        if (r < 0)
            return r;
        if (tcp_options[row].opt == TCP_OPT_TTL && v == -1)
            v = 64; // back to the default
        if (tcp_options[row].opt == TCP_OPT_TOS)
            v &= 0xff & ~3; // the two low bits are ECN's (Linux __ip_sock_set_tos)
    } else {
        v = opt_int(o);
    }
    return set(ts, tcp_options[row].opt, tcp_options[row].kind == OPT_BOOL ? v != 0 : v);
}

int tcp_sock_opt_set(struct sock *s, int level, int name, const struct sock_opt *o)
{
    struct tcp_sock *ts = of(s);
    if (level == SOL_TCP && name == OPT_TCP_CONGESTION)
        return o->len < 1 ? -EINVAL : congestion_set(o);
    if (level == SOL_TCP && o->len < sizeof(int))
        return -EINVAL;
    if (level == SOL_IP && name == OPT_IP_MTU_DISCOVER)
        return mtu_discover_set(o);
    if (level == SOL_SOCKET && name == SO_LINGER)
        return linger_set(ts, o);
    if (level == SOL_SOCKET && (name == SO_SNDBUF || name == SO_RCVBUF || name == SO_SNDBUFFORCE ||
                                name == SO_RCVBUFFORCE))
        return buf_set(ts, name, opt_int(o));
    for (size_t i = 0; i < ARRAY_LEN(tcp_options); i++) {
        if (tcp_options[i].level == level && tcp_options[i].name == name)
            return number_set(ts, i, o);
    }
    return -ENOPROTOOPT;
}

// ---- TCP_INFO ----

struct tcp_info_linux { // Linux 6.1 include/uapi/linux/tcp.h
    uint8_t state, ca_state, retransmits, probes, backoff, options, wscales, flags;
    uint32_t rto, ato, snd_mss, rcv_mss;
    uint32_t unacked, sacked, lost, retrans, fackets;
    uint32_t last_data_sent, last_ack_sent, last_data_recv, last_ack_recv;
    uint32_t pmtu, rcv_ssthresh, rtt, rttvar, snd_ssthresh, snd_cwnd, advmss, reordering;
    uint32_t rcv_rtt, rcv_space, total_retrans;
    uint64_t pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
    uint32_t segs_out, segs_in, notsent_bytes, min_rtt, data_segs_in, data_segs_out;
    uint64_t delivery_rate, busy_time, rwnd_limited, sndbuf_limited;
    uint32_t delivered, delivered_ce;
    uint64_t bytes_sent, bytes_retrans;
    uint32_t dsack_dups, reord_seen, rcv_ooopack, snd_wnd;
};
_Static_assert(sizeof(struct tcp_info_linux) == 232, "Linux 6.1");
enum { INFO_TIMESTAMPS = 1, INFO_SACK = 2, INFO_WSCALE = 4, REORDERING = 3 };

static int info_get(struct tcp_sock *ts, struct sock_opt *ret)
{
    struct tcp_info_data d;
    uint64_t now;
    stack_enter(&now);
    tcp_info(ts->t, &d, now);
    stack_leave();
    bool listener = d.state == TCP_LISTEN;
    struct tcp_info_linux i = {
        .state = d.state,
        .ca_state = d.ca_state,
        .retransmits = d.retransmits,
        .probes = d.probes,
        .backoff = d.backoff,
        .options = (uint8_t)((d.timestamps ? INFO_TIMESTAMPS : 0) | (d.sack ? INFO_SACK : 0) |
                             (d.wscale ? INFO_WSCALE : 0)),
        .wscales = (uint8_t)((d.snd_wscale & 15) | d.rcv_wscale << 4),
        .rto = d.rto_us,
        .ato = d.ato_us,
        .snd_mss = d.snd_mss,
        .rcv_mss = d.rcv_mss,
        .unacked = listener ? d.accept_queue : d.unacked,
        .sacked = listener ? d.accept_queue_max : d.sacked,
        .lost = d.lost,
        .retrans = d.retrans,
        .last_data_sent = d.last_data_sent_ms,
        .last_data_recv = d.last_data_recv_ms,
        .last_ack_recv = d.last_ack_recv_ms,
        .pmtu = d.pmtu,
        .rcv_ssthresh = d.rcv_wnd,
        .rtt = d.rtt_us,
        .rttvar = d.rttvar_us,
        .snd_ssthresh = d.snd_ssthresh,
        .snd_cwnd = d.snd_cwnd,
        .advmss = d.advmss,
        .reordering = REORDERING,
        .rcv_space = d.rcv_space,
        .total_retrans = d.total_retrans,
        .bytes_acked = d.bytes_acked,
        .bytes_received = d.bytes_received,
        .segs_out = (uint32_t)d.segs_out,
        .segs_in = (uint32_t)d.segs_in,
        .notsent_bytes = d.notsent_bytes,
        .min_rtt = d.min_rtt_us,
        .snd_wnd = d.snd_wnd,
    };
    memcpy(ret->bytes, &i, sizeof(i));
    ret->len = sizeof(i);
    return 0;
}

static int error_get(struct tcp_sock *ts, struct sock_opt *ret)
{
    uint64_t now;
    stack_enter(&now);
    int error = tcp_take_error(ts->t);
    stack_leave();
    return opt_put_int(ret, error);
}

static int buf_get(struct tcp_sock *ts, int name, struct sock_opt *ret)
{
    bool rcv = name == SO_RCVBUF;
    int32_t shown = __atomic_load_n(rcv ? &ts->rcvbuf : &ts->sndbuf, __ATOMIC_RELAXED);
    return opt_put_int(ret, shown != 0 ? shown : get(ts, rcv ? TCP_OPT_RCVBUF : TCP_OPT_SNDBUF));
}

static int socket_level_get(struct tcp_sock *ts, int name, struct sock_opt *ret)
{
    switch (name) {
    case SO_ERROR:
        return error_get(ts, ret);
    case SO_ACCEPTCONN:
        return opt_put_int(ret, tcp_state(ts->t) == TCP_LISTEN);
    case SO_LINGER:
        return linger_get(ts, ret);
    case SO_SNDBUF:
    case SO_RCVBUF:
        return buf_get(ts, name, ret);
    default:
        return -ENOPROTOOPT;
    }
}

int tcp_sock_opt_get(struct sock *s, int level, int name, struct sock_opt *ret)
{
    struct tcp_sock *ts = of(s);
    if (level == SOL_TCP && name == OPT_TCP_INFO)
        return info_get(ts, ret);
    if (level == SOL_TCP && name == OPT_TCP_CONGESTION) {
        memcpy(ret->bytes, congestion, sizeof(congestion));
        ret->len = sizeof(congestion);
        return 0;
    }
    if (level == SOL_IP && name == OPT_IP_MTU_DISCOVER)
        return opt_put_int(ret, PMTUDISC_WANT);
    for (size_t i = 0; i < ARRAY_LEN(tcp_options); i++) {
        if (tcp_options[i].level == level && tcp_options[i].name == name)
            return opt_put_int(ret, get(ts, tcp_options[i].opt));
    }
    if (level == SOL_SOCKET)
        return socket_level_get(ts, name, ret);
    return level == SOL_TCP || level == SOL_IP ? -ENOPROTOOPT : -EOPNOTSUPP; // as Linux
}
