/* io/tls: several certificates behind one port. */
#include "io/tls.h"
#include "tls_kit.h"

#include <stdio.h>
#include <sys/stat.h>

static char folder[KIT_PATH_MAX];

static void set_up(void)
{
    kit_folder_make(folder);
    kit_pki_make(folder);
}

static void tear_down(void)
{
    kit_folder_remove(folder);
}

TestSuite(tls_names, .init = set_up, .fini = tear_down, .timeout = 60);

static void count_term(const struct tls_term *term, void *arg)
{
    (void)term;
    (*(unsigned *)arg)++;
}

/* A certificate for that name and its key, in one file. */
static void make_bundle(const char *leaf, const char *san)
{
    char pem[KIT_PATH_MAX], key[KIT_PATH_MAX], both[KIT_PATH_MAX], name[64], line[256];
    FILE *out = fopen(kit_path(both, folder, leaf), "w");
    cr_assert(out != NULL);
    snprintf(name, sizeof name, "of-%s", leaf);
    kit_cert_make(folder, name,
                  &(struct kit_cert_plan){ .name = "server", .san = san, .issuer = "ca" });
    snprintf(line, sizeof line, "of-%s.pem", leaf);
    kit_path(pem, folder, line);
    snprintf(line, sizeof line, "of-%s.key", leaf);
    kit_path(key, folder, line);
    const char *parts[] = { pem, key };
    for (unsigned i = 0; i < 2; i++) {
        FILE *in = fopen(parts[i], "r");
        cr_assert(in != NULL);
        while (fgets(line, sizeof line, in) != NULL)
            fputs(line, out);
        fclose(in);
    }
    fclose(out);
}

/* Each client verifies the name that it asks for: it was shown the certificate for it. */
Test(tls_names, shows_the_certificate_for_the_name_that_is_asked_for)
{
    char first[KIT_PATH_MAX], second[KIT_PATH_MAX], third[KIT_PATH_MAX];
    make_bundle("first.bundle", "DNS:first.example");
    make_bundle("second.bundle", "DNS:second.example,DNS:*.wild.example");
    make_bundle("third.bundle", "DNS:third.example");
    const char *more[] = { kit_path(second, folder, "second.bundle"),
                           kit_path(third, folder, "third.bundle") };
    struct tls_options o = { .cert_file = kit_path(first, folder, "first.bundle"),
                             .more_certs = more,
                             .more_cert_count = 2 };
    static const char *const good[] = { "first.example", "second.example", "a.wild.example",
                                        "third.example" };
    struct tls_ctx *client = kit_tls_client(folder);
    for (int strict = 0; strict < 2; strict++) {
        struct err err;
        o.strict_sni = strict == 1;
        struct tls_ctx *server = tls_server_ctx_new(&o, &err);
        cr_assert(server != NULL, "%s", err.text);
        for (unsigned i = 0; i < sizeof good / sizeof good[0]; i++)
            cr_expect(shakes(client, server, good[i], &err), "%s: %s", good[i], err.text);
        cr_expect(not(shakes(client, server, "other.example", &err)));
        expect_error(&err, strict == 1 ? "unrecognized name" : "hostname mismatch");
        unsigned own = 0;
        tls_ctx_terms(server, TLS_OWN, count_term, &own);
        cr_expect(eq(uint, own, 3));
        tls_ctx_unref(&server);
    }
    tls_ctx_unref(&client);
}

Test(tls_names, takes_all_certificates_of_a_folder)
{
    char path[KIT_PATH_MAX], sub[KIT_PATH_MAX];
    struct err err;
    make_bundle("b.bundle", "DNS:b.example");
    make_bundle("a.bundle", "DNS:a.example");
    cr_assert(mkdir(kit_path(sub, folder, "certs"), 0700) == 0);
    struct tls_options o = { .cert_file = sub };
    cr_assert(tls_server_ctx_new(&o, &err) == NULL);
    expect_error(&err, "there is no file *.pem");
    for (const char *leaf = "ab"; *leaf != '\0'; leaf++) {
        char from[KIT_PATH_MAX], name[32];
        snprintf(name, sizeof name, "%c.bundle", *leaf);
        kit_path(from, folder, name);
        snprintf(name, sizeof name, "%c.pem", *leaf);
        cr_assert(rename(from, kit_path(path, sub, name)) == 0);
    }
    struct tls_ctx *server = tls_server_ctx_new(&o, &err), *client = kit_tls_client(folder);
    cr_assert(server != NULL, "%s", err.text);
    cr_expect(shakes(client, server, "a.example", &err));
    cr_expect(shakes(client, server, "b.example", &err));
    tls_ctx_unref(&client);
    tls_ctx_unref(&server);
}
