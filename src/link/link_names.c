/* The words for what link.h counts. */
#include "base/check.h"
#include "link/link.h"

const char *link_class_text(enum link_class c)
{
    switch (c) {
#define X(name, octet, text, clusters)                                                             \
    case LINK_##name:                                                                              \
        return text;
        LINK_CLASSES(X)
#undef X
    case LINK_CLASS_END:
        break;
    }
    UNREACHABLE("link class");
}

bool link_class_carries_messages(enum link_class c)
{
    return c == LINK_BULK || c == LINK_MIRROR;
}

bool link_class_is_of_nodes(enum link_class c)
{
    switch (c) {
    case LINK_CONTROL:
    case LINK_BULK:
    case LINK_ASK:
    case LINK_MIRROR:
        return true;
    case LINK_FEED:
    case LINK_CTL:
    case LINK_CLASS_END:
        return false;
    }
    UNREACHABLE("link class");
}

const char *link_refusal_text(enum link_refusal r, bool by_peer)
{
    switch (r) {
#define X(name, ours, theirs)                                                                      \
    case LINK_REFUSED_##name:                                                                      \
        return by_peer ? (theirs) : (ours);
        LINK_REFUSALS(X)
#undef X
    case LINK_REFUSED_COUNT:
        break;
    }
    UNREACHABLE("link refusal");
}

const char *link_loss_text(enum link_loss w)
{
    switch (w) {
#define X(name, text)                                                                              \
    case LINK_LOST_##name:                                                                         \
        return text;
        LINK_LOSSES(X)
#undef X
    }
    UNREACHABLE("link loss");
}
