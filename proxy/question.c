#include "question.h"

#include "amqp/amqp_method.h"

bool question_waits(uint32_t id, struct slice fields)
{
    struct wire w = wire_over(fields);
    struct amqp_method m;
    switch (id) {
#define NOWAIT(NAME, name)                                                                         \
    case AMQP_##NAME:                                                                              \
        amqp_##name##_read(&w, &m.name);                                                           \
        return !m.name.nowait;
        NOWAIT(EXCHANGE_DECLARE, exchange_declare)
        NOWAIT(EXCHANGE_DELETE, exchange_delete)
        NOWAIT(EXCHANGE_BIND, exchange_bind)
        NOWAIT(EXCHANGE_UNBIND, exchange_unbind)
        NOWAIT(QUEUE_DECLARE, queue_declare)
        NOWAIT(QUEUE_BIND, queue_bind)
        NOWAIT(QUEUE_PURGE, queue_purge)
        NOWAIT(QUEUE_DELETE, queue_delete)
        NOWAIT(BASIC_CONSUME, basic_consume)
        NOWAIT(BASIC_CANCEL, basic_cancel)
        NOWAIT(CONFIRM_SELECT, confirm_select)
#undef NOWAIT
    case AMQP_QUEUE_UNBIND:
    case AMQP_BASIC_QOS:
    case AMQP_BASIC_GET:
    case AMQP_BASIC_RECOVER:
    case AMQP_BASIC_CREDIT:
    case AMQP_ACCESS_REQUEST:
    case AMQP_TX_SELECT:
    case AMQP_TX_COMMIT:
    case AMQP_TX_ROLLBACK:
    case AMQP_CHANNEL_FLOW:
        return true;
    default:
        return false;
    }
}

bool question_is_answer(uint32_t id)
{
    switch (id) {
#define X(QUESTION, ANSWER) case AMQP_##ANSWER:
        /* Two answers have two questions only in GET, so no answer stands here twice. */
        AMQP_ANSWERS(X)
#undef X
        return true;
    default:
        return false;
    }
}
