/*
 * conf_hint: what somebody probably meant, for complaints. Internal to src/conf.
 */
#ifndef WARREN_CONF_HINT_H
#define WARREN_CONF_HINT_H

#include "conf/conf.h"

/*
 * A line that is neither [section] nor key = value, most often pasted from an haproxy.cfg
 * (`timeout connect 5s`): append what its form is here (`write "timeout-connect = 5s"`).
 */
void conf_hint_form(const struct conf_schema *schema, struct slice line, struct text *out);

/* For a word that is not known: the nearest key of that section, or kind of section (NULL), that
 * differs by a slip; NULL when none is near. */
const char *conf_hint_key(const struct conf_schema *schema, const char *section, const char *key);

/* The first other kind of section that has this very key; NULL when none has. */
const char *conf_hint_home(const struct conf_schema *schema, const char *section, const char *key);
const char *conf_hint_section(const struct conf_schema *schema, const char *kind);

#endif
