#include "health.h"

#include "base/check.h"

static unsigned score_max(const struct health_conf *conf)
{
    return conf->rise + conf->fall - 1;
}

static void check_conf(const struct health_conf *conf)
{
    CHECK(conf->rise >= 1);
    CHECK(conf->fall >= 1);
}

void health_init(struct health *h, const struct health_conf *conf)
{
    check_conf(conf);
    h->score = conf->rise;
}

bool health_is_up(const struct health *h, const struct health_conf *conf)
{
    return h->score >= conf->rise;
}

static void pass(struct health *h, const struct health_conf *conf)
{
    if (h->score < score_max(conf))
        h->score++;
    if (health_is_up(h, conf)) /* one success wipes out the failures before it */
        h->score = score_max(conf);
}

static void fail(struct health *h, const struct health_conf *conf)
{
    if (h->score > conf->rise)
        h->score--;
    else
        h->score = 0;
}

static uint64_t next_after_ms(const struct health *h, const struct health_conf *conf)
{
    if (h->score == score_max(conf))
        return conf->inter_ms;
    if (h->score == 0)
        return conf->downinter_ms;
    return conf->fastinter_ms;
}

void health_step(struct health *h, const struct health_conf *conf, enum health_event event,
                 struct health_effects *out)
{
    check_conf(conf);
    CHECK(h->score <= score_max(conf));

    bool was_up = health_is_up(h, conf);
    switch (event) {
    case HEALTH_PASSED:
        pass(h, conf);
        break;
    case HEALTH_FAILED:
        fail(h, conf);
        break;
    }
    bool up = health_is_up(h, conf);

    out->change = up == was_up ? HEALTH_SAME : up ? HEALTH_WENT_UP : HEALTH_WENT_DOWN;
    out->next_after_ms = next_after_ms(h, conf);
}

bool health_is_moving(const struct health *h, const struct health_conf *conf, unsigned *step,
                      unsigned *of)
{
    if (h->score == 0 || h->score == score_max(conf))
        return false;
    bool up = health_is_up(h, conf);
    *step = up ? h->score - conf->rise + 1 : h->score;
    *of = up ? conf->fall : conf->rise;
    return true;
}

void health_adapt(struct health *h, const struct health_conf *from, const struct health_conf *to)
{
    check_conf(to);
    bool settled = h->score == 0 || h->score == score_max(from);
    if (health_is_up(h, from))
        h->score = settled ? score_max(to) : to->rise;
    else
        h->score = 0;
}
