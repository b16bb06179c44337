#include "conf/conf.h"

#include "expect.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A small program of its own: one section that is always there, one kind with names. */
enum colour { COLOUR_RED, COLOUR_GREEN };

struct house {
    bool open;
    uint64_t rooms;
    uint64_t wait_ms;
    uint64_t space_bytes;
    struct conf_share share;
    enum colour colour;
    const char *motto;
    struct conf_list guests;
    struct conf_list rules;
    struct conf_address door;
    struct conf_addresses windows;
    const char *secret;
    size_t closed_count;
};

struct tenant {
    const char *name;
    const char *where;
    uint64_t age;
    size_t pet_count;
    const char *last_pet;
    const char *last_where;
};

#define TENANTS_MAX 4

struct town {
    struct house house;
    struct tenant tenants[TENANTS_MAX];
    size_t tenant_count;
};

static void *open_tenant(void *root, const struct conf_value *name, struct err *err)
{
    struct town *t = root;
    if (t->tenant_count == TENANTS_MAX) {
        err_set(err, ERR_CONFIG, "more than %d tenants", TENANTS_MAX);
        return NULL;
    }
    struct tenant *it = &t->tenants[t->tenant_count++];
    it->name = name->text;
    it->where = name->where;
    return it;
}

static bool close_house(void *root, void *instance, struct err *err)
{
    struct town *t = root;
    cr_assert(instance == &t->house);
    t->house.closed_count++;
    if (t->house.rooms == 13)
        return err_set(err, ERR_CONFIG, "thirteen rooms bring bad luck");
    return true;
}

static bool set_pet(void *instance, const struct conf_value *v, struct err *err)
{
    struct tenant *t = instance;
    if (v->words.count != 2)
        return err_set(err, ERR_CONFIG, "a pet is a name and a kind");
    t->pet_count++;
    t->last_pet = v->words.items[0];
    t->last_where = v->where;
    return true;
}

static bool set_only_pet(void *instance, const struct conf_value *v, struct err *err)
{
    struct tenant *t = instance;
    if (v->text[0] == '\0')
        return err_set(err, ERR_CONFIG, "a pet has a name");
    t->last_pet = v->text;
    return true;
}

#define HOUSE(member) .section = "house", .offset = CONF_FIELD(struct house, member)

static const struct conf_section sections[] = {
    { .kind = "house", .offset = CONF_FIELD(struct town, house), .close = close_house },
    { .kind = "tenant",
      .named = true,
      .open = open_tenant,
      .help = "Who lives there.",
      .example_name = "ann",
      .example = "server = rex dog\n" },
};

static const struct conf_directive directives[] = {
    { HOUSE(open), .key = "open", .type = CONF_BOOL, .fallback = "on" },
    { HOUSE(rooms), .key = "rooms", .type = CONF_U64, .fallback = "5", .min = 2, .max = 20,
      .zero = "auto", .help = "How many rooms there are." },
    { HOUSE(wait_ms), .key = "timeout-wait", .type = CONF_DURATION, .fallback = "2s" },
    { HOUSE(space_bytes), .key = "space", .type = CONF_SIZE, .fallback = "64k", .max = 1 << 20 },
    { HOUSE(share), .key = "share", .type = CONF_SHARE, .fallback = "40%", .min = 1024 },
    { HOUSE(colour), .key = "colour", .type = CONF_CHOICE, .choices = "red|green",
      .fallback = "green" },
    { HOUSE(motto), .key = "motto", .type = CONF_STRING, .zero = "none", .shown = "the usual" },
    { HOUSE(guests), .key = "guests", .type = CONF_LIST, .fallback = "a, b", .zero = "none" },
    { HOUSE(rules), .key = "rule", .type = CONF_WORDS, .flags = CONF_MANY },
    { HOUSE(door), .key = "bind", .type = CONF_ADDRESS, .fallback = ":5672", .zero = "none" },
    { HOUSE(windows), .key = "windows", .type = CONF_ADDRESSES, .zero = "none" },
    { HOUSE(secret), .key = "secret", .type = CONF_CHOICE, .choices = "x", .flags = CONF_SECRET },
    { .section = "tenant",
      .key = "age",
      .type = CONF_U64,
      .fallback = "30",
      .offset = CONF_FIELD(struct tenant, age) },
    { .section = "tenant",
      .key = "server",
      .type = CONF_WORDS,
      .flags = CONF_MANY,
      .set = set_pet },
    { .section = "tenant", .key = "only-pet", .type = CONF_STRING, .set = set_only_pet },
};

static const struct conf_schema schema = { sections, ARRAY_COUNT(sections), directives,
                                           ARRAY_COUNT(directives) };

static struct town town;
static struct conf_store *store;
static struct err err;

static void begin(void)
{
    store = conf_store_new();
}

static void end(void)
{
    conf_store_free(&store);
}

TestSuite(conf, .init = begin, .fini = end);

static bool load_with(const char *text, const struct conf_override *over, size_t count)
{
    town = (struct town){ 0 };
    err = (struct err){ 0 };
    return conf_load_text(&schema, "t.conf", slice_str(text), over, count, &town, store, &err);
}

static void load(const char *text)
{
    cr_assert(load_with(text, NULL, 0), "%s: %s", text, err.text);
}

static void refuses(const char *text, const char *complaint)
{
    cr_expect(not(load_with(text, NULL, 0)), "%s was accepted", text);
    expect_text(err.text, complaint);
    cr_expect(eq(int, err.code, ERR_CONFIG));
}

Test(conf, takes_defaults_from_an_empty_file)
{
    load("");
    const struct house *h = &town.house;
    cr_expect(h->open);
    cr_expect(eq(u64, h->rooms, 5));
    cr_expect(eq(u64, h->wait_ms, 2000));
    cr_expect(eq(u64, h->space_bytes, 65536));
    cr_expect(h->share.is_fraction);
    cr_expect(ieee_ulp_eq(dbl, h->share.fraction, 0.4, 4));
    cr_expect(eq(int, (int)h->colour, COLOUR_GREEN));
    cr_expect(h->motto == NULL);
    cr_expect(eq(sz, h->guests.count, 2));
    cr_expect(eq(sz, h->rules.count, 0));
    cr_expect(eq(int, h->door.port, 5672));
    expect_text(h->door.host, "");
    cr_expect(eq(sz, h->windows.count, 0));
    cr_expect(eq(sz, h->closed_count, 1));
    cr_expect(eq(sz, town.tenant_count, 0));
}

Test(conf, reads_each_type)
{
    load("\xEF\xBB\xBF# a comment\r\n"
         "; another = one\r\n"
         "   \t\r\n"
         "\t[house] ; with a comment\r\n"
         "  open = off\r\n"
         "rooms=7\r\n"
         "timeout-wait = 500ms ; comment\r\n"
         "space = \"1M\"\r\n"
         "share = 2k\r\n"
         "colour = red\r\n"
         "motto = \"my home ; my \\\"castle\\\" # \\\\\" ; comment\r\n"
         "guests = x y,\"a, b\" , z\r\n"
         "rule = no  smoking\r\n"
         "rule = \"no dogs\"\r\n"
         "bind = [::1]:99\r\n"
         "windows = a:1, *:2, /run/w.sock\r\n");
    const struct house *h = &town.house;
    cr_expect(not(h->open));
    cr_expect(eq(u64, h->rooms, 7));
    cr_expect(eq(u64, h->wait_ms, 500));
    cr_expect(eq(u64, h->space_bytes, 1 << 20));
    cr_expect(not(h->share.is_fraction));
    cr_expect(eq(u64, h->share.bytes, 2048));
    cr_expect(eq(int, (int)h->colour, COLOUR_RED));
    expect_text(h->motto, "my home ; my \"castle\" # \\");
    cr_assert(eq(sz, h->guests.count, 3));
    expect_text(h->guests.items[0], "x y");
    expect_text(h->guests.items[1], "a, b");
    expect_text(h->guests.items[2], "z");
    cr_assert(eq(sz, h->rules.count, 3));
    expect_text(h->rules.items[1], "smoking");
    expect_text(h->rules.items[2], "no dogs");
    expect_text(h->door.host, "::1");
    cr_expect(eq(int, h->door.port, 99));
    cr_assert(eq(sz, h->windows.count, 3));
    cr_expect(eq(int, (int)h->windows.items[2].kind, CONF_ADDRESS_UNIX));
    expect_text(h->windows.items[2].path, "/run/w.sock");
}

Test(conf, knows_words_for_nothing)
{
    load("[house]\ntimeout-wait = 0\n"); /* the one time that needs no unit */
    cr_expect(eq(u64, town.house.wait_ms, 0));
    load("[house]\nrooms = auto\nguests = none\nbind = none\nwindows = none\nmotto = none\n");
    cr_expect(eq(u64, town.house.rooms, 0));
    cr_expect(eq(sz, town.house.guests.count, 0));
    cr_expect(eq(int, (int)town.house.door.kind, CONF_ADDRESS_NONE));
    cr_expect(town.house.motto == NULL);
}

Test(conf, makes_an_instance_for_each_name)
{
    load("[tenant a]\nonly-pet = \"tom cat\"\n");
    expect_text(town.tenants[0].last_pet, "tom cat");
    load("[tenant b]\nserver = rex dog\n  server = tom cat\n[tenant a]\nage = 4\n[house]\n");
    cr_assert(eq(sz, town.tenant_count, 2));
    expect_text(town.tenants[0].name, "b");
    expect_text(town.tenants[0].where, "t.conf:1");
    cr_expect(eq(u64, town.tenants[0].age, 30));
    cr_expect(eq(sz, town.tenants[0].pet_count, 2));
    expect_text(town.tenants[0].last_pet, "tom");
    expect_text(town.tenants[0].last_where, "t.conf:3");
    cr_expect(eq(u64, town.tenants[1].age, 4));
}

/* Values of every length around the places where inih would break a line, each with what inih
 * would act upon at the break. */
Test(conf, carries_long_values_whole)
{
    static const char fill[] = "a ;#b \t[c]=:";
    for (size_t n = 1; n < 1200; n += n < 150 || n > 420 ? 7 : 1) {
        char value[1300] = "";
        for (size_t i = 0; i < n; i++)
            value[i] = fill[(i + n) % (sizeof fill - 1)];
        char text[1400];
        snprintf(text, sizeof text, "[house]\nmotto = \"%s\"\nrooms = 3\n", value);
        load(text);
        expect_text(town.house.motto, value);
        cr_expect(eq(u64, town.house.rooms, 3));
    }
}

Test(conf, complains_with_file_and_line)
{
    refuses("[house]\n\nroomz = 1\n", "t.conf:3: there is no roomz in [house]; rooms is meant?");
    refuses("[house]\nx = 1\n", "t.conf:2: there is no x in [house]");
    refuses("[house]\nage = 3\n", "t.conf:2: there is no age in [house]; it belongs into [tenant]");
    refuses("[hose]\n", "t.conf:1: there is no section [hose]; [house] is meant?");
    refuses("[zoo]\n", "t.conf:1: there is no section [zoo]");
    refuses("\n[house]\n[house]\n", "t.conf:3: section [house] is given twice, first in line 2");
    refuses("[tenant a]\n[tenant b]\n[tenant  a ]\n",
            "t.conf:3: section [tenant a] is given twice, first in line 1");
    refuses("[tenant]\n", "t.conf:1: this section needs a name: [tenant NAME]");
    refuses("[house x]\n", "t.conf:1: this section has no name: [house]");
    refuses("[house]\nrooms = 3\nopen = on\nrooms = 3\n",
            "t.conf:4: rooms is given twice, first in line 2");
    refuses("rooms = 3\n", "t.conf:1: rooms stands before the first [section]");
    refuses("[house\n", "t.conf:1: a section is written [kind] or [kind name]; the ] is missing");
    refuses("[house] x\n", "t.conf:1: nothing but a comment may follow the ] of a section");
    refuses("[]\n", "t.conf:1: a section is written [kind] or [kind name], in letters, digits "
                    "and \"-_.:\"");
    refuses("[house]\nrooms =\n",
            "t.conf:2: rooms has no value; leave the line out for the default");
    refuses("[house]\nrooms = ; five\n",
            "t.conf:2: rooms has no value; leave the line out for the default");
    refuses("[house]\nmotto = \"a\n",
            "t.conf:2: motto: a quote is not closed; inside quotes a quote is written \\\"");
    refuses("[house]\nrooms = 3 # three\n",
            "t.conf:2: rooms: a comment after a value starts with \" ;\", and a # that belongs "
            "to the value is put in quotes");
    refuses("[house]\nmotto = a\x01z\n", "t.conf:2: the line holds a control character");
    refuses("[house]\nrooms = 13\n", "t.conf:1: [house]: thirteen rooms bring bad luck");
    refuses("[tenant a]\n[tenant b]\n[tenant c]\n[tenant d]\n[tenant e]\n",
            "t.conf:5: more than 4 tenants");
    refuses("[tenant a]\nserver = rex\n", "t.conf:2: server: a pet is a name and a kind");
}

Test(conf, complains_of_bad_values)
{
    refuses("[house]\nopen = maybe\n", "t.conf:2: open: \"maybe\" is not on or off");
    refuses("[house]\nrooms = many\n", "t.conf:2: rooms: \"many\" is not a number (or \"auto\")");
    refuses("[house]\nrooms = 1\n", "t.conf:2: rooms: 1 is too little, the least is 2");
    refuses("[house]\nrooms = 21\n", "t.conf:2: rooms: 21 is too much, the most is 20");
    refuses("[house]\ntimeout-wait = 2 s\n",
            "t.conf:2: timeout-wait: \"2 s\" is not a time with its unit, such as 500ms, 2s or 1m");
    refuses(
        "[house]\ntimeout-wait = 2000\n",
        "t.conf:2: timeout-wait: \"2000\" is not a time with its unit, such as 500ms, 2s or 1m");
    refuses("[house]\nspace = 2M\n", "t.conf:2: space: 2M is too much, the most is 1048576 octets");
    refuses("[house]\nshare = 140%\n", "t.conf:2: share: \"140%\" is not a share such as 40% or "
                                       "0.4, or a size such as 2G");
    refuses("[house]\nshare = 1\n", "t.conf:2: share: 1 is too little, the least is 1024 octets");
    refuses("[house]\ncolour = blue\n", "t.conf:2: colour: \"blue\" is not one of red|green");
    refuses("[house]\ncolour = re\n", "t.conf:2: colour: \"re\" is not one of red|green");
    refuses("[house]\nguests = a,,b\n", "t.conf:2: guests: an item between commas is empty");
    refuses("[house]\nguests = a,\n", "t.conf:2: guests: an item between commas is empty");
    refuses("[house]\nsecret = hush\n", "t.conf:2: secret: this value is not one of x");
    refuses("[house]\nmotto = a\n\n[house]", "t.conf:4: section [house] is given twice, first in "
                                             "line 1");
}

Test(conf, complains_of_bad_lists_and_quotes)
{
    refuses("[house]\nwindows = a:1, b\n",
            "t.conf:2: windows: a port is missing: host:port, :port or [v6]:port");
    refuses("[house]\nwindows = a:1,\n", "t.conf:2: windows: an item between commas is empty");
    refuses("[house]\nbind = a\n",
            "t.conf:2: bind: a port is missing: host:port, :port or [v6]:port");
    refuses("[tenant a]\nonly-pet = \"\"\n", "t.conf:2: only-pet: a pet has a name");
    const struct conf_override quotes[] = { { "house", "rooms", "\"3", "option -x" },
                                            { "house", "motto", "\"3", "option -x" },
                                            { "house", "bind", "\"3", "option -x" } };
    for (size_t i = 0; i < ARRAY_COUNT(quotes); i++) {
        cr_expect(not(load_with("", &quotes[i], 1)));
        cr_expect(strstr(err.text, "a quote is not closed") != NULL, "%s", err.text);
    }
}

/* What is wrong with a section that the file does not have has no line. */
Test(conf, complains_of_an_absent_section)
{
    const struct conf_override over = { "house", "rooms", "13", "option -r" };
    cr_assert(not(load_with("", &over, 1)));
    expect_text(err.text, "[house]: thirteen rooms bring bad luck");
}

Test(conf, shows_the_form_of_a_pasted_line)
{
    const char *const pasted[][2] = {
        { "[house]\nbind *:5672", ":2: here it is written: bind = *:5672" },
        { "[house]\n    bind :5672 ssl crt=/x", ":2: here it is written: bind = :5672 ssl crt=/x" },
        { "server r1 10.0.0.1:5672 check",
          ":1: here it is written: server = r1 10.0.0.1:5672 check" },
        { "timeout wait 5s", ":1: here it is written: timeout-wait = 5s" },
        { "timeout wait = 5s", ":1: here it is written: timeout-wait = 5s" },
        { "rooms: 5", ":1: here it is written: rooms = 5" },
        { "rooms", ":1: here it is written: rooms = VALUE" },
        { "tenant amqp", ":1: a section is written [tenant amqp]" },
        { "tenant", ":1: a section is written [tenant NAME]" },
        { "house", ":1: a section is written [house]" },
    };
    for (size_t i = 0; i < ARRAY_COUNT(pasted); i++) {
        char want[256];
        const char *line = strchr(pasted[i][1] + 1, ':');
        snprintf(want, sizeof want,
                 "t.conf%.*s: this is neither \"key = value\" nor \"[section]\";%s",
                 (int)(line - pasted[i][1]), pasted[i][1], line + 1);
        refuses(pasted[i][0], want);
    }
    refuses("retries 3",
            "t.conf:1: this is neither \"key = value\" nor \"[section]\"; nor is there "
            "a directive \"retries 3\"");
    refuses("= 3", "t.conf:1: this is neither \"key = value\" nor \"[section]\"; nor is there a "
                   "directive \"= 3\"");
}

Test(conf, bounds_names)
{
    char text[256];
    snprintf(text, sizeof text, "[%050d]\n", 1);
    refuses(text, "t.conf:1: the name of a section has more than 49 octets");
    snprintf(text, sizeof text, "[tenant %049d]\n[tenant %048d2]\n", 1, 0);
    load(text); /* differ in the last octet only, which inih would have cut */
    cr_expect(eq(sz, town.tenant_count, 2));
    snprintf(text, sizeof text, "[house]\n%050d = 1\n", 1);
    refuses(text, "t.conf:2: a key has more than 49 octets");
}

Test(conf, bounds_the_number_of_sections)
{
    struct text all;
    text_init(&all, 65536);
    for (unsigned i = 0; i < CONF_SECTIONS_MAX; i++)
        text_put(&all, "[x%u]\n", i);
    refuses(all.ptr, "t.conf:1: there is no section [x0]");
    text_put(&all, "[x]\n");
    refuses(all.ptr, "t.conf:1001: there are more than 1000 sections");
    text_fini(&all);
}

Test(conf, lets_overrides_win)
{
    const struct conf_override over[] = {
        { "house", "rooms", "6", "option -r" },
        { "house", "rule", "b ; c", "environment X" },
        { "house", "rooms", "8", "option -r" },
        { "house", "guests", "none", "option -g" },
    };
    const char *text = "[house]\nrooms = 3\nrule = a\n";
    cr_assert(load_with(text, over, ARRAY_COUNT(over)), "%s", err.text);
    cr_expect(eq(u64, town.house.rooms, 8));
    cr_expect(eq(sz, town.house.rules.count, 3));
    expect_text(town.house.rules.items[0], "b");
    cr_expect(eq(sz, town.house.guests.count, 0));

    const struct conf_override bad = { "house", "rooms", "x", "option -r" };
    cr_assert(not(load_with(text, &bad, 1)));
    expect_text(err.text, "option -r: rooms: \"x\" is not a number (or \"auto\")");
}

static void note_name(const char *name, void *arg)
{
    struct text *all = arg;
    text_put(all, "%s ", name);
}

Test(conf, reads_the_environment)
{
    char env_room[][64] = { "WARREN_HOUSE_ROOMS=9",
                            "WARREN_HOUSE_TIMEOUT_WAIT=1m",
                            "WARREN_HOUSE_ROMS=9",
                            "WARREN_RUN_DIR=/x",
                            "WARREN_TENANT_AGE=3",
                            "WARREN_HOUSE_ROOMSX=3",
                            "HOME=/root" };
    char *env[ARRAY_COUNT(env_room) + 1] = { NULL };
    for (size_t i = 0; i < ARRAY_COUNT(env_room); i++)
        env[i] = env_room[i];
    size_t count;
    struct conf_override *over = conf_env(&schema, "WARREN_", env, store, &count);
    cr_assert(eq(sz, count, 2));
    cr_assert(load_with("[house]\nrooms = 3\n", over, count), "%s", err.text);
    cr_expect(eq(u64, town.house.rooms, 9));
    cr_expect(eq(u64, town.house.wait_ms, 60000));
    expect_text(over[0].from, "environment WARREN_HOUSE_ROOMS");

    char room[256];
    struct text unknown = text_over(room, sizeof room);
    conf_env_unknown(&schema, "WARREN_", env, note_name, &unknown);
    expect_text(room, "WARREN_HOUSE_ROMS WARREN_HOUSE_ROOMSX ");
    cr_expect(conf_env(&schema, "WARREN_", NULL, store, &count) != NULL);
    cr_expect(eq(sz, count, 0));
}

Test(conf, says_why_a_file_cannot_be_read)
{
    cr_assert(not(conf_load(&schema, "/nonexistent/x.conf", NULL, 0, &town, store, &err)));
    expect_text(err.text, "/nonexistent/x.conf: cannot be opened: No such file or directory");
    cr_assert(not(conf_load(&schema, "/", NULL, 0, &town, store, &err)));
    expect_text(err.text, "/: cannot be read: Is a directory");
    cr_assert(conf_load(&schema, NULL, NULL, 0, &town, store, &err), "%s", err.text);
}

static void write_file(const char *path, size_t octets)
{
    FILE *f = fopen(path, "w");
    cr_assert(f != NULL);
    for (size_t i = 0; i < octets; i++)
        fputc('\n', f);
    cr_assert(fclose(f) == 0);
}

Test(conf, bounds_the_file)
{
    char path[] = "/tmp/test_conf_XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
    write_file(path, CONF_FILE_MAX_BYTES);
    cr_expect(conf_load(&schema, path, NULL, 0, &town, store, &err));
    write_file(path, CONF_FILE_MAX_BYTES + 1);
    cr_expect(not(conf_load(&schema, path, NULL, 0, &town, store, &err)));
    cr_expect(strstr(err.text, "is larger than 1048576 octets") != NULL);
    unlink(path);
}

/* What conf_describe prints is a file that loads, and with the marks taken off it still does and
 * means the same. */
Test(conf, describes_itself_as_a_sample)
{
    struct text out;
    text_init(&out, 65536);
    conf_describe(&schema, &out);
    cr_expect(strstr(out.ptr, "[house]\n\n# (on or off)\n#open = on\n") != NULL, "%s", out.ptr);
    cr_expect(strstr(out.ptr,
                     "# How many rooms there are.\n# (a number from 2 to 20, or \"auto\")\n"
                     "#rooms = 5\n") != NULL);
    cr_expect(strstr(out.ptr, "#motto = the usual\n") != NULL);
    cr_expect(strstr(out.ptr, "\n\n# Who lives there.\n[tenant ann]\nserver = rex dog\n") != NULL);
    load(out.ptr);
    cr_expect(eq(sz, town.tenants[0].pet_count, 1));
    text_fini(&out);
}

struct pet {
    bool tame;
    uint64_t wait_ms;
    const char *name;
    uint64_t weight;
};

static const struct conf_directive pet_rows[] = {
    { .key = "tame", .type = CONF_FLAG, .offset = CONF_FIELD(struct pet, tame) },
    { .key = "wait", .type = CONF_DURATION, .offset = CONF_FIELD(struct pet, wait_ms) },
    { .key = "name", .type = CONF_STRING, .offset = CONF_FIELD(struct pet, name) },
    { .key = "weight", .type = CONF_U64, .max = 256, .offset = CONF_FIELD(struct pet, weight) },
};

static bool pet_of(const char *text, struct pet *pet)
{
    struct conf_list words;
    cr_assert(conf_words(slice_str(text), store, &words, &err));
    return conf_options(pet_rows, ARRAY_COUNT(pet_rows), &words, 1, pet, store, &err);
}

Test(conf, reads_options_between_blanks)
{
    struct pet pet = { .tame = true };
    cr_assert(pet_of("rex no-tame wait 2s name \"a \\\" b\" weight 256", &pet), "%s", err.text);
    cr_expect(not(pet.tame));
    cr_expect(eq(u64, pet.wait_ms, 2000));
    expect_text(pet.name, "a \" b");
    cr_expect(eq(u64, pet.weight, 256));
    cr_assert(pet_of("rex tame", &pet));
    cr_expect(pet.tame);
    cr_expect(pet_of("rex", &pet));
}

Test(conf, refuses_bad_options)
{
    const char *const bad[][2] = {
        { "rex fast", "there is no option \"fast\" here" },
        { "rex wait", "wait needs a value" },
        { "rex wait 1s wait 2s", "wait is given twice" },
        { "rex tame no-tame", "tame is given twice" },
        { "rex no-wait 1s", "there is no option \"no-wait\" here" },
        { "rex wait x", "wait: \"x\" is not a time with its unit, such as 500ms, 2s or 1m" },
        { "rex weight 257", "weight: 257 is too much, the most is 256" },
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct pet pet = { 0 };
        cr_expect(not(pet_of(bad[i][0], &pet)));
        expect_text(err.text, bad[i][1]);
    }
}
