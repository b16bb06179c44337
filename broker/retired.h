/*
 * retired: memory of metadata that nobody can read any more, freed in turns.
 *
 * What a publication leaves behind is freed when no reader can hold it (io/epoch.h), mostly at
 * once. But a virtual host that goes may leave a million things, and a whole state that was
 * replaced even more: seconds, in which the control thread would neither lead nor answer. Such are
 * freed some in a turn; a state is taken apart on another thread before. On the control thread; its
 * loop may have ended when it is freed, which frees all.
 */
#ifndef WARREN_RETIRED_H
#define WARREN_RETIRED_H

#include "cluster/meta.h"
#include "io/epoch.h"
#include "io/loop.h"

struct retired;

struct retired *retired_new(struct loop *loop, struct epoch *epoch);

/* From now on all that comes is freed at once: the loop ends. */
void retired_stop(struct retired *r);

/* The epoch has freed all it had. */
void retired_free(struct retired **r);

/* Of what takes long: how much was retired and is not freed yet. */
size_t retired_waits(const struct retired *r);

/* What meta_setup calls, with the struct retired. */
void retired_thing(void *retired, void *ptr, void (*free_fn)(void *ptr));
void retired_garbage(void *retired, struct meta_garbage *garbage);
void retired_state(void *retired, struct meta *state);

#endif
