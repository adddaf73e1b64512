// SPDX-License-Identifier: Apache-2.0
/* The functions of net/tcp.h: what a socket's owner calls. */
#include "net/tcp_internal.h"

int tcp_open(struct net_stack *n, struct tcp **ret)
{
    if (n->count.tcps >= n->cfg.tcp_max)
        return -ENOBUFS;
    struct tcp *t = tcp_new(n);
    if (t == NULL)
        return -ENOMEM;
    *ret = t;
    return 0;
}

int tcp_bind(struct tcp *t, struct net_addr local)
{
    if (t->state != TCP_CLOSED || t->bound_port)
        return -EINVAL;
    if (local.ip != 0 && !ip_is_loopback(local.ip) && !ip_is_own(t->n, local.ip))
        return -EADDRNOTAVAIL;
    int r = 0;
    if (local.port == 0)
        r = port_choose_bind(t, &local);
    else if (port_conflicts(t, local))
        r = -EADDRINUSE;
    if (r < 0)
        return r;
    t->flow.local_ip = local.ip;
    t->flow.local_port = local.port;
    t->bound_port = true;
    t->bound_ip = local.ip != 0;
    port_hold(t->n, &t->flow);
    return 0;
}

int tcp_listen(struct tcp *t, uint32_t backlog)
{
    if (t->state == TCP_LISTEN) {
        t->backlog = MAX(backlog, 1u);
        return 0;
    }
    if (t->state != TCP_CLOSED || t->ever)
        return -EINVAL;
    if (!t->bound_port) {
        int r = tcp_bind(t, (struct net_addr){0});
        if (r < 0)
            return r;
    } else if (port_conflicts(t, tcp_addr_local(t))) {
        return -EADDRINUSE; // another socket with REUSEADDR listens already
    }
    t->backlog = MAX(backlog, 1u);
    t->rx_shut = t->tx_shut = false;
    tcp_set_state(t, TCP_LISTEN);
    list_push_front(&t->n->listeners[t->flow.local_port % LISTEN_BUCKETS], &t->listen_node);
    return 0;
}

// ---- connecting

static int connect_addresses(struct tcp *t, struct net_addr peer)
{
    struct net_stack *n = t->n;
    int r = ip_route(n, peer.ip, &t->route);
    if (r < 0)
        return r;
    if (t->route.kind == ROUTE_BROADCAST)
        return -ENETUNREACH;
    struct net_addr local = {t->bound_ip ? t->flow.local_ip : t->route.src, t->flow.local_port};
    if (ip_is_loopback(local.ip) && t->route.kind != ROUTE_LOOP)
        return -EINVAL;
    if (!t->bound_port) {
        port_release(&t->flow);
        r = port_choose_connect(t, local, peer, &local.port);
    } else if (flow_find(n, local, peer) != NULL) {
        r = -EADDRNOTAVAIL;
    }
    if (r < 0)
        return r;
    t->flow.local_ip = local.ip;
    t->flow.local_port = local.port;
    t->flow.peer_ip = peer.ip;
    t->flow.peer_port = peer.port;
    if (!t->bound_port)
        port_hold(n, &t->flow);
    return 0;
}

static void connect_numbers(struct tcp *t)
{
    struct net_stack *n = t->n;
    t->iss = tcp_iss(n, tcp_addr_local(t), tcp_addr_peer(t));
    t->snd_una = t->snd_nxt = t->write_seq = t->snd_sml = t->high_seq = t->iss;
    t->stamp_offset = tcp_stamp_offset(n, t->flow.local_ip, t->flow.peer_ip);
    t->mtu = ip_mtu(n, t->flow.peer_ip, &t->route);
    t->stamps = t->sack = false;
    t->ts_recent = 0;
    t->rcv_wscale = tcp_wscale_for(n, t->rcvbuf);
    t->rcv_nxt = t->rcv_acked = t->rcv_adv = 0;
    t->snd_wnd = 1; // lets the SYN through
    t->cwnd = TCP_INIT_CWND;
    t->ssthresh = INT32_MAX;
    t->ca = CA_OPEN;
    t->retries = t->backoff = 0;
    t->total_retrans = 0;
    t->rto = TCP_RTO_INITIAL;
    t->error = t->soft_error = 0;
    t->rx_shut = t->tx_shut = t->fin_seen = t->fin_done = false;
    tcp_mss_set(t);
}

int tcp_connect(struct tcp *t, struct net_addr peer, uint64_t now)
{
    struct net_stack *n = t->n;
    if (t->state == TCP_SYN_SENT || t->state == TCP_SYN_RECEIVED)
        return -EALREADY;
    if (t->state != TCP_CLOSED || t->ever)
        return -EISCONN;
    if (peer.port == 0)
        return -EINVAL;
    if (peer.ip == 0)
        peer.ip = NET_IP_LOOPBACK; // as on Linux
    net_enter(n, now);
    int r = connect_addresses(t, peer);
    if (r == 0) {
        connect_numbers(t);
        r = tcp_syn_queue(t);
        if (r < 0 && !t->bound_port)
            port_release(&t->flow);
    }
    if (r == 0) {
        flow_insert(n, &t->flow);
        tcp_set_state(t, TCP_SYN_SENT);
        n->count.tcp_active_opens++;
        tcp_output(t);
        r = -EINPROGRESS;
    }
    net_leave(n);
    return r;
}

int tcp_accept(struct tcp *listener, struct tcp **ret, uint64_t now)
{
    (void)now;
    if (listener->state != TCP_LISTEN)
        return -EINVAL;
    struct list *node = list_pop_front(&listener->accept_queue);
    if (node == NULL)
        return -EAGAIN;
    struct tcp *t = LIST_ENTRY(node, struct tcp, accept_node);
    t->parent = NULL;
    listener->accept_len--;
    *ret = t;
    return 0;
}

// ---- readiness

static uint32_t tx_mem_max(const struct tcp *t)
{
    return 2 * MIN(t->sndbuf, 1u << 30) + (16 << 10);
}

/* Linux sk_stream_is_writeable(): room for half as much again as is queued. */
static bool has_room(const struct tcp *t)
{
    uint64_t queued = t->write_seq - t->snd_una;
    if (t->want_out && t->deadline[TIMER_MISC] != NET_NEVER)
        return false; // waits for memory
    if (t->notsent_lowat != 0 && t->write_seq - t->snd_nxt >= t->notsent_lowat)
        return false;
    return queued * 3 <= (uint64_t)t->sndbuf * 2 &&
           (uint64_t)t->tx_mem * 3 <= (uint64_t)tx_mem_max(t) * 2;
}

uint32_t tcp_poll(const struct tcp *t)
{
    uint32_t ready = 0;
    if (t->state == TCP_LISTEN)
        return t->accept_len > 0 ? (uint32_t)NET_IN : 0;
    if (t->error != 0)
        ready |= NET_ERR;
    if (t->state == TCP_CLOSED || (t->rx_shut && t->tx_shut))
        ready |= NET_HUP;
    if (t->rx_shut)
        ready |= NET_IN | NET_RDHUP;
    if (t->state == TCP_SYN_SENT || t->state == TCP_SYN_RECEIVED)
        return ready;
    if (t->rx_queued > 0)
        ready |= NET_IN;
    if (t->tx_shut || t->state == TCP_CLOSED || has_room(t))
        ready |= NET_OUT;
    return ready;
}

int tcp_take_error(struct tcp *t)
{
    return TAKE(t->error);
}

// ---- reading

int64_t tcp_rx_span(struct tcp *t, uint64_t skip, const uint8_t **ret_p)
{
    for (struct pkt *p = skip < t->rx_queued ? t->rx_first : NULL; p != NULL; p = p->next) {
        if (skip < p->len) {
            *ret_p = p->data + skip;
            return (int64_t)(p->len - skip);
        }
        skip -= p->len;
    }
    if (t->error != 0)
        return -TAKE(t->error);
    if (t->rx_shut)
        return t->ever ? 0 : -ENOTCONN;
    if (t->state == TCP_LISTEN || t->state == TCP_CLOSED)
        return -ENOTCONN;
    return -EAGAIN;
}

/* Let the buffer grow to twice what is read in a round trip, so that the window never limits a
 * sender that we keep up with. */
static void tune_rcvbuf(struct tcp *t)
{
    uint64_t rtt = (t->rcv_rtt_us != 0 ? t->rcv_rtt_us : MAX(t->srtt8 / 8, 1000u)) * 1000ull;
    if (t->n->now - t->tune_at < rtt)
        return;
    uint32_t copied = t->copied_seq - t->tune_copied;
    if (copied > t->tune_space && !t->rcvbuf_fixed) {
        // Room for the growth that a slow start brings while the news travels.
        uint64_t want = 2ull * copied + 2ull * (copied - t->tune_space) + 16ull * t->rcv_mss;
        uint32_t most = t->n->cfg.rcvbuf_max;
        if (want > t->rcvbuf)
            t->rcvbuf = (uint32_t)MIN(want, (uint64_t)MAX(most, t->rcvbuf));
        t->tune_space = copied;
    }
    t->tune_at = t->n->now;
    t->tune_copied = t->copied_seq;
}

static void rx_consume(struct tcp *t, uint64_t n)
{
    ASSERT(n <= t->rx_queued);
    t->rx_queued -= (uint32_t)n;
    t->copied_seq += (uint32_t)n;
    while (n > 0) {
        struct pkt *p = t->rx_first;
        if (n < p->len) {
            pkt_pull(p, (uint32_t)n);
            return;
        }
        n -= p->len;
        t->rx_first = p->next;
        if (t->rx_first == NULL)
            t->rx_last = NULL;
        t->rx_mem -= p->size;
        t->n->count.mem -= p->size;
        pkt_put(p);
    }
}

void tcp_rx_done(struct tcp *t, uint64_t n, uint64_t now)
{
    if (n == 0)
        return;
    net_enter(t->n, now);
    rx_consume(t, n);
    if (t->state == TCP_ESTABLISHED || t->state == TCP_FIN_WAIT_1 || t->state == TCP_FIN_WAIT_2) {
        tune_rcvbuf(t);
        // Tell of the room when it has doubled; smaller news ride on the next ACK.
        uint32_t offered = tcp_wnd_now(t), window = tcp_rx_window(t);
        if (window > offered && window >= 2 * offered)
            tcp_ack_send(t);
    }
    net_leave(t->n);
}

uint64_t tcp_rx_ready(const struct tcp *t)
{
    return t->rx_queued;
}

int64_t tcp_recv(struct tcp *t, void *to, size_t len, uint32_t flags, uint64_t now)
{
    size_t got = 0;
    while (got < len) {
        const uint8_t *p;
        int64_t n = got < t->rx_queued || got == 0 ? tcp_rx_span(t, got, &p) : 0;
        if (n <= 0) {
            if (got == 0)
                return n;
            break;
        }
        size_t part = MIN((size_t)n, len - got);
        memcpy((uint8_t *)to + got, p, part);
        got += part;
    }
    if ((flags & TCP_PEEK) == 0)
        tcp_rx_done(t, got, now);
    return (int64_t)got;
}

// ---- writing

static bool tail_takes_more(const struct tcp *t)
{
    const struct pkt *tail = t->tx.tail;
    return tail != NULL && t->tx_next != NULL && tail->len < t->mss && pkt_tailroom(tail) > 0 &&
           (tail->u.tx.tcp_flags & (TCP_SYN | TCP_FIN)) == 0 && pkt_alone(tail);
}

static int64_t tx_wait_memory(struct tcp *t)
{
    t->want_out = true;
    tcp_deadline(t, TIMER_MISC, t->n->now + TCP_MEMORY_RETRY);
    return -ENOMEM;
}

int64_t tcp_tx_span(struct tcp *t, uint64_t want, uint8_t **ret_p)
{
    ASSERT(want > 0 && t->tx_open == NULL);
    if (t->error != 0)
        return -TAKE(t->error);
    if (t->tx_shut)
        return -EPIPE;
    if (t->state == TCP_SYN_SENT || t->state == TCP_SYN_RECEIVED)
        return -EAGAIN;
    if (t->state != TCP_ESTABLISHED && t->state != TCP_CLOSE_WAIT)
        return -EPIPE; // Linux: not ENOTCONN
    if (t->write_seq - t->snd_una >= t->sndbuf || t->tx_mem >= tx_mem_max(t)) {
        t->want_out = true;
        return -EAGAIN;
    }
    if (tail_takes_more(t)) {
        struct pkt *tail = t->tx.tail;
        *ret_p = tail->data + tail->len;
        uint64_t room = MIN(pkt_tailroom(tail), t->mss - tail->len);
        return (int64_t)MIN(want, room);
    }
    if (!net_mem_fits(t->n, PKT_SIZE_DEFAULT))
        return tx_wait_memory(t);
    struct pkt *p = net_pkt_new(t->n, t->mss);
    if (p == NULL)
        return tx_wait_memory(t);
    t->tx_open = p;
    *ret_p = p->data;
    return (int64_t)MIN(want, (uint64_t)t->mss);
}

void tcp_tx_done(struct tcp *t, uint32_t n)
{
    struct pkt *p = TAKE(t->tx_open);
    if (n == 0) {
        pkt_put(p);
        return;
    }
    if (p == NULL) {
        struct pkt *tail = t->tx.tail;
        ASSERT(tail != NULL && n <= pkt_tailroom(tail));
        tail->len += n;
        tail->u.tx.end += n;
        t->write_seq += n;
        return;
    }
    ASSERT(n <= pkt_tailroom(p));
    p->len = n;
    p->u.tx.seq = t->write_seq;
    p->u.tx.end = t->write_seq + n;
    p->u.tx.marks = p->u.tx.sends = p->u.tx.tcp_flags = 0;
    tcp_queue_append(t, p);
}

void tcp_tx_push(struct tcp *t, bool more, uint64_t now)
{
    net_enter(t->n, now);
    t->more = more;
    if (t->tx_next != NULL)
        tcp_output(t);
    net_leave(t->n);
}

uint64_t tcp_tx_queued(const struct tcp *t)
{
    return t->write_seq - t->snd_una;
}

int64_t tcp_send(struct tcp *t, const void *from, size_t len, uint32_t flags, uint64_t now)
{
    size_t put = 0;
    while (put < len) {
        uint8_t *p;
        int64_t n = tcp_tx_span(t, len - put, &p);
        if (n < 0) {
            if (put == 0)
                return n;
            break;
        }
        memcpy(p, (const uint8_t *)from + put, (size_t)n);
        tcp_tx_done(t, (uint32_t)n);
        put += (size_t)n;
    }
    tcp_tx_push(t, flags & TCP_MORE, now);
    return (int64_t)put;
}

// ---- ending

static void shut_write(struct tcp *t)
{
    if (t->tx_shut)
        return;
    t->tx_shut = true;
    if (t->state == TCP_ESTABLISHED)
        tcp_set_state(t, TCP_FIN_WAIT_1);
    else if (t->state == TCP_CLOSE_WAIT)
        tcp_set_state(t, TCP_LAST_ACK);
    pkt_put(TAKE(t->tx_open));
    t->drained_owed = true;
    if (tcp_fin_queue(t)) {
        tcp_output(t);
    } else {
        t->fin_wanted = true;
        tcp_deadline(t, TIMER_MISC, t->n->now + TCP_MEMORY_RETRY);
    }
}

int tcp_shutdown(struct tcp *t, int how, uint64_t now)
{
    struct net_stack *n = t->n;
    if (how < TCP_SHUT_RD || how > TCP_SHUT_RDWR)
        return -EINVAL;
    if (t->state == TCP_CLOSED)
        return -ENOTCONN;
    net_enter(n, now);
    if (t->state == TCP_LISTEN) {
        if (how != TCP_SHUT_WR) {
            tcp_listener_stop(t); // a fresh socket again, as on Linux
            tcp_event(t, NET_OUT | NET_HUP);
        }
    } else if (t->state == TCP_SYN_SENT) {
        tcp_done(t, 0);
    } else {
        if (how != TCP_SHUT_WR)
            t->rx_shut = true;
        if (how != TCP_SHUT_RD)
            shut_write(t);
        if (t->state != TCP_CLOSED)
            tcp_event(t, tcp_poll(t));
    }
    net_leave(n);
    return 0;
}

static void close_politely(struct tcp *t)
{
    t->orphan = true;
    t->keepalive = false;
    shut_write(t);
    if (t->state == TCP_FIN_WAIT_2)
        tcp_deadline(t, TIMER_KEEP, t->n->now + TCP_FIN_WAIT_LEN);
}

static void close_any(struct tcp *t, bool abort)
{
    t->sock.user = NULL;
    if (t->state == TCP_LISTEN) {
        tcp_listener_stop(t);
        tcp_release(t);
    } else if (t->state == TCP_CLOSED) {
        tcp_release(t);
    } else if (t->state == TCP_SYN_SENT) {
        t->orphan = true;
        tcp_done(t, 0);
    } else if (abort || t->linger == 0 || t->rx_queued > 0 || t->state == TCP_SYN_RECEIVED) {
        t->orphan = true;
        tcp_reset(t, 0);
    } else {
        close_politely(t);
    }
}

void tcp_close(struct tcp *t, uint64_t now)
{
    struct net_stack *n = t->n;
    net_enter(n, now);
    close_any(t, false);
    net_leave(n);
}

void tcp_abort(struct tcp *t, uint64_t now)
{
    struct net_stack *n = t->n;
    net_enter(n, now);
    close_any(t, true);
    net_leave(n);
}

uint32_t tcp_finish_all(struct net_stack *n, uint64_t now)
{
    uint32_t unsent = 0;
    net_enter(n, now);
    LIST_FOR_EACH_SAFE (node, &n->tcps) {
        struct tcp *t = LIST_ENTRY(node, struct tcp, all_node);
        if (t->state == TCP_CLOSED || t->state == TCP_LISTEN || t->state == TCP_SYN_SENT)
            continue;
        if (!t->tx_shut && (t->linger == 0 || t->rx_queued > 0))
            tcp_reset(t, 0);
        else
            shut_write(t);
        unsent += t->state != TCP_CLOSED && tcp_tx_queued(t) > 0;
    }
    net_leave(n);
    return unsent;
}

// ---- names

void tcp_local(const struct tcp *t, struct net_addr *ret)
{
    *ret = tcp_addr_local(t);
}

int tcp_peer(const struct tcp *t, struct net_addr *ret)
{
    if (t->state == TCP_CLOSED || t->state == TCP_LISTEN || t->state == TCP_SYN_SENT)
        return -ENOTCONN;
    *ret = tcp_addr_peer(t);
    return 0;
}

enum tcp_state tcp_state(const struct tcp *t)
{
    return (enum tcp_state)t->state;
}
