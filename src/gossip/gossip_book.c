#include "gossip/gossip_book.h"

#include "base/check.h"
#include "base/idmap.h"
#include "base/mem.h"
#include "base/text.h"

struct page {
    struct gossip_book *book;
    uint64_t id;
    bool is_stated, is_found, is_seen;
    struct gossip_place stated; /* the host may be empty */
    struct sock_addr found;     /* of it */
    struct sock_addr seen;
    struct resolve *looking;
};

struct gossip_book {
    struct loop *loop;
    struct idmap pages;
};

/* ---- places -----------------------------------------------------------------------------------
 */

static bool port_read(struct slice digits, uint16_t *out)
{
    uint32_t port = 0;
    if (digits.len == 0 || digits.len > 5)
        return false;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.ptr[i] < '0' || digits.ptr[i] > '9')
            return false;
        port = port * 10 + (uint32_t)(digits.ptr[i] - '0');
    }
    *out = (uint16_t)port;
    return port != 0 && port <= UINT16_MAX;
}

bool gossip_place_read(struct slice text, struct gossip_place *out)
{
    size_t colon = text.len;
    while (colon != 0 && text.ptr[colon - 1] != ':')
        colon--;
    if (colon == 0)
        return false;
    struct slice host = slice_head(text, colon - 1);
    if (host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']')
        host = slice_of(host.ptr + 1, host.len - 2);
    if (host.len >= GOSSIP_HOST_MAX || (host.len != 0 && memchr(host.ptr, 0, host.len) != NULL))
        return false;
    memset(out, 0, sizeof *out);
    if (host.len != 0)
        memcpy(out->host, host.ptr, host.len);
    return port_read(slice_from(text, colon), &out->port);
}

/* ---- pages ------------------------------------------------------------------------------------
 */

struct gossip_book *gossip_book_new(struct loop *loop)
{
    struct gossip_book *b = mem_zalloc(sizeof *b);
    b->loop = loop;
    idmap_init(&b->pages);
    return b;
}

static struct page *page_of(struct gossip_book *b, uint64_t id)
{
    struct page *p = idmap_get(&b->pages, id);
    if (p == NULL) {
        p = mem_zalloc(sizeof *p);
        p->book = b;
        p->id = id;
        idmap_put(&b->pages, id, p);
    }
    return p;
}

void gossip_book_forget(struct gossip_book *b, uint64_t id)
{
    struct page *p = idmap_take(&b->pages, id);
    if (p == NULL)
        return;
    resolve_cancel(&p->looking);
    mem_free(p);
}

void gossip_book_free(struct gossip_book **b)
{
    if (*b == NULL)
        return;
    for (struct page *p; (p = idmap_first(&(*b)->pages)) != NULL;)
        gossip_book_forget(*b, p->id);
    idmap_fini(&(*b)->pages);
    mem_free(*b);
    *b = NULL;
}

static void on_found(const struct resolve_answer *a, const struct err *why, void *arg)
{
    struct page *p = arg;
    (void)why; /* then where it was seen must do */
    p->looking = NULL;
    p->is_found = a->count != 0;
    if (p->is_found)
        p->found = a->addrs[0];
}

void gossip_book_stated(struct gossip_book *b, uint64_t id, struct slice place)
{
    struct gossip_place now;
    if (!gossip_place_read(place, &now))
        return;
    struct page *p = page_of(b, id);
    if (p->is_stated && p->stated.port == now.port && strcmp(p->stated.host, now.host) == 0 &&
        (p->is_found || p->looking != NULL || now.host[0] == '\0'))
        return;
    resolve_cancel(&p->looking);
    p->is_stated = true;
    p->is_found = false;
    p->stated = now;
    if (now.host[0] != '\0')
        p->looking = resolve_start(b->loop, now.host, now.port, on_found, p);
}

void gossip_book_seen(struct gossip_book *b, uint64_t id, const struct sock_addr *at)
{
    struct page *p = page_of(b, id);
    if (sock_addr_octets(at).len == 0)
        return;
    p->is_seen = true;
    p->seen = *at;
}

bool gossip_book_packets(const struct gossip_book *b, uint64_t id, struct sock_addr *out)
{
    const struct page *p = idmap_get(&b->pages, id);
    if (p == NULL || (!p->is_found && !p->is_seen))
        return false;
    *out = p->is_found ? p->found : p->seen;
    if (!p->is_found && p->is_stated)
        sock_addr_set_port(out, p->stated.port);
    return true;
}

bool gossip_book_place(const struct gossip_book *b, uint64_t id, struct gossip_place *out)
{
    const struct page *p = idmap_get(&b->pages, id);
    if (p == NULL || !p->is_stated || (p->stated.host[0] == '\0' && !p->is_seen))
        return false;
    *out = p->stated;
    if (out->host[0] != '\0')
        return true;
    char where[SOCK_ADDR_TEXT_MAX];
    struct text t = text_over(out->host, sizeof out->host);
    text_str(&t, sock_addr_host(&p->seen, where));
    return true;
}
