// SPDX-License-Identifier: Apache-2.0
/* Socket options and TCP_INFO. */
#include "net/tcp_internal.h"

static bool in_range(int64_t value, int64_t low, int64_t high)
{
    return value >= low && value <= high;
}

static int set_max_seg(struct tcp *t, int64_t value)
{
    if (value != 0 && !in_range(value, TCP_MSS_MIN, 32767))
        return -EINVAL;
    if (t->state != TCP_CLOSED && t->state != TCP_LISTEN)
        return -EISCONN;
    t->max_seg = (uint16_t)value;
    return 0;
}

static void set_cork(struct tcp *t, bool on)
{
    t->cork = on;
    if (!on) {
        t->more = false;
        if (t->tx_next != NULL)
            tcp_output(t);
    }
}

static void set_quickack(struct tcp *t, bool on)
{
    t->pingpong = !on;
    t->quickacks = on ? TCP_QUICKACKS : 0;
    if (on && t->ack_delayed)
        tcp_ack_send(t);
}

static void set_keepalive(struct tcp *t, bool on)
{
    t->keepalive = on;
    t->keep_probes = 0;
    if (on)
        tcp_keepalive_start(t);
}

static int set_buffer(uint32_t *buf, bool *fixed, int64_t value, uint32_t most)
{
    if (value < 0)
        return -EINVAL;
    *buf = (uint32_t)MIN(MAX(value, (int64_t)4096), (int64_t)most);
    *fixed = true;
    return 0;
}

/* A number within bounds into a 32-bit field. */
static int set_u32(uint32_t *field, int64_t value, int64_t low, int64_t high)
{
    if (!in_range(value, low, high))
        return -EINVAL;
    *field = (uint32_t)value;
    return 0;
}

static int set_u8(uint8_t *field, int64_t value, int64_t low, int64_t high)
{
    if (!in_range(value, low, high))
        return -EINVAL;
    *field = (uint8_t)value;
    return 0;
}

static int opt_set(struct tcp *t, enum tcp_opt opt, int64_t value)
{
    int r = 0;
    switch (opt) {
    case TCP_OPT_NODELAY:
        t->nodelay = value != 0;
        if (t->nodelay && t->tx_next != NULL)
            tcp_output(t);
        return 0;
    case TCP_OPT_CORK:
        set_cork(t, value != 0);
        return 0;
    case TCP_OPT_QUICKACK:
        set_quickack(t, value != 0);
        return 0;
    case TCP_OPT_KEEPALIVE:
        set_keepalive(t, value != 0);
        return 0;
    case TCP_OPT_KEEPIDLE:
        r = set_u32(&t->keep_idle, value, 1, 32767);
        tcp_keepalive_start(t);
        return r;
    case TCP_OPT_KEEPINTVL:
        return set_u32(&t->keep_interval, value, 1, 32767);
    case TCP_OPT_KEEPCNT:
        return set_u8(&t->keep_count, value, 1, 127);
    case TCP_OPT_USER_TIMEOUT:
        return set_u32(&t->user_timeout, value, 0, INT32_MAX);
    case TCP_OPT_SYNCNT:
        return set_u8(&t->syn_count, value, 1, 127);
    case TCP_OPT_DEFER_ACCEPT:
        return set_u32(&t->defer_accept, value, 0, 32767);
    case TCP_OPT_MAXSEG:
        return set_max_seg(t, value);
    case TCP_OPT_RCVBUF:
        return set_buffer(&t->rcvbuf, &t->rcvbuf_fixed, value, t->n->cfg.rcvbuf_max);
    case TCP_OPT_SNDBUF:
        return set_buffer(&t->sndbuf, &t->sndbuf_fixed, value, t->n->cfg.sndbuf_max);
    case TCP_OPT_REUSEADDR:
        t->reuse = value != 0;
        return 0;
    case TCP_OPT_LINGER:
        if (!in_range(value, -1, 32767))
            return -EINVAL;
        t->linger = (int32_t)value;
        return 0;
    case TCP_OPT_TTL:
        return set_u8(&t->ttl, value, 1, 255);
    case TCP_OPT_TOS:
        return set_u8(&t->tos, value, 0, 255);
    case TCP_OPT_NOTSENT_LOWAT:
        return set_u32(&t->notsent_lowat, value, 0, UINT32_MAX);
    }
    return -ENOPROTOOPT;
}

int tcp_opt_set(struct tcp *t, enum tcp_opt opt, int64_t value, uint64_t now)
{
    net_enter(t->n, now);
    int r = opt_set(t, opt, value);
    net_leave(t->n);
    return r;
}

int64_t tcp_opt_get(const struct tcp *t, enum tcp_opt opt)
{
    switch (opt) {
    case TCP_OPT_NODELAY:
        return t->nodelay;
    case TCP_OPT_CORK:
        return t->cork;
    case TCP_OPT_QUICKACK:
        return !t->pingpong;
    case TCP_OPT_KEEPALIVE:
        return t->keepalive;
    case TCP_OPT_KEEPIDLE:
        return t->keep_idle;
    case TCP_OPT_KEEPINTVL:
        return t->keep_interval;
    case TCP_OPT_KEEPCNT:
        return t->keep_count;
    case TCP_OPT_USER_TIMEOUT:
        return t->user_timeout;
    case TCP_OPT_SYNCNT:
        return t->syn_count;
    case TCP_OPT_DEFER_ACCEPT:
        return t->defer_accept;
    case TCP_OPT_MAXSEG:
        return t->mss != 0 ? t->mss : TCP_MSS_DEFAULT;
    case TCP_OPT_RCVBUF:
        return t->rcvbuf;
    case TCP_OPT_SNDBUF:
        return t->sndbuf;
    case TCP_OPT_REUSEADDR:
        return t->reuse;
    case TCP_OPT_LINGER:
        return t->linger;
    case TCP_OPT_TTL:
        return t->ttl;
    case TCP_OPT_TOS:
        return t->tos;
    case TCP_OPT_NOTSENT_LOWAT:
        return t->notsent_lowat;
    }
    return -ENOPROTOOPT;
}

static uint32_t ms_since(uint64_t then, uint64_t now)
{
    return then == 0 || now < then ? 0 : (uint32_t)((now - then) / NET_NS_PER_MS);
}

void tcp_info(const struct tcp *t, struct tcp_info_data *ret, uint64_t now)
{
    *ret = (struct tcp_info_data){
        .state = t->state,
        .ca_state = t->ca,
        .retransmits = t->retries,
        .probes = (uint8_t)(t->probes + t->keep_probes),
        .backoff = t->backoff,
        .snd_wscale = t->snd_wscale,
        .rcv_wscale = t->rcv_wscale,
        .timestamps = t->stamps,
        .sack = t->sack,
        .wscale = t->wscale,
        .rto_us = (uint32_t)(tcp_rto_now(t) / 1000),
        .ato_us = (uint32_t)(TCP_DELACK / 1000),
        .rtt_us = t->srtt8 / 8,
        .rttvar_us = t->rttvar4 / 4,
        .min_rtt_us = t->min_rtt_us,
        .snd_mss = t->mss,
        .rcv_mss = t->rcv_mss,
        .advmss = t->n->cfg.mtu - 40u,
        .pmtu = t->mtu,
        .unacked = t->packets_out,
        .sacked = t->sacked_out,
        .lost = t->lost_out,
        .retrans = t->retrans_out,
        .last_data_sent_ms = ms_since(t->sent_at, now),
        .last_data_recv_ms = ms_since(t->rcv_at, now),
        .last_ack_recv_ms = ms_since(t->any_rcv_at, now),
        .snd_ssthresh = t->ssthresh,
        .snd_cwnd = t->cwnd,
        .rcv_space = t->rcvbuf,
        .rcv_wnd = tcp_wnd_now(t),
        .snd_wnd = t->snd_wnd,
        .total_retrans = t->total_retrans,
        .notsent_bytes = t->write_seq - t->snd_nxt,
        .bytes_acked = t->bytes_acked,
        .bytes_received = t->bytes_received,
        .segs_out = t->segs_out,
        .segs_in = t->segs_in,
        .accept_queue = t->accept_len,
        .accept_queue_max = t->backlog,
    };
}
