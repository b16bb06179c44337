/* Several certificates behind one port: which one a client is shown, by the name that it asks for
 * (SNI, RFC 6066, 3), and the files that they are read from. */
#include "base/check.h"
#include "base/mem.h"
#include "base/text.h"
#include "io/tls_internal.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- files ----------------------------------------------------------------------------------- */

static bool add_file(struct tls_files *f, const char *path, struct err *err)
{
    if (f->count == TLS_CERTS_MAX)
        return err_set(err, ERR_LIMIT, "more than %u certificates in one place: %s", TLS_CERTS_MAX,
                       path);
    f->paths[f->count++] = mem_strdup(path);
    return true;
}

static bool is_pem(const char *name)
{
    size_t n = strlen(name);
    return name[0] != '.' && n > 4 && strcmp(name + n - 4, ".pem") == 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool add_found(struct tls_files *f, const char *folder, const char *name, struct err *err)
{
    struct text full;
    text_init(&full, 2 * PATH_MAX);
    text_put(&full, "%s/%s", folder, name);
    bool ok = add_file(f, full.ptr, err);
    text_fini(&full);
    return ok;
}

static bool add_folder(struct tls_files *f, const char *path, struct err *err)
{
    unsigned first = f->count;
    DIR *dir = opendir(path);
    bool ok = true;
    if (dir == NULL)
        return err_set(err, ERR_IO, "certificates in %s: %s", path, strerror(errno));
    for (struct dirent *d; ok && (d = readdir(dir)) != NULL;)
        ok = !is_pem(d->d_name) || add_found(f, path, d->d_name, err);
    closedir(dir);
    if (ok && f->count == first)
        return err_set(err, ERR_CONFIG, "certificates in %s: there is no file *.pem", path);
    qsort(f->paths + first, f->count - first, sizeof f->paths[0], by_name);
    return ok;
}

/* What cannot be looked at is a file: reading it says what is wrong. */
static bool add_place(struct tls_files *f, const char *path, struct err *err)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return add_folder(f, path, err);
    return add_file(f, path, err);
}

bool tls_files_find(struct tls_files *f, const struct tls_options *o, struct err *err)
{
    f->count = 0;
    bool ok = o->cert_file == NULL || add_place(f, o->cert_file, err);
    for (size_t i = 0; i < o->more_cert_count && ok; i++)
        ok = add_place(f, o->more_certs[i], err);
    return ok;
}

void tls_files_free(struct tls_files *f)
{
    for (unsigned i = 0; i < f->count; i++)
        mem_free(f->paths[i]);
    f->count = 0;
}

/* ---- names ----------------------------------------------------------------------------------- */

static bool is_for(const struct tls_ctx *ctx, const char *name)
{
    X509 *cert = SSL_CTX_get0_certificate(ctx->ssl);
    return cert != NULL && X509_check_host(cert, name, 0, 0, NULL) == 1;
}

/* The first certificate is for all that no other one is for, unless names are strict. */
static int on_name(SSL *ssl, int *alert, void *arg)
{
    const struct tls_ctx *ctx = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (name != NULL && is_for(ctx, name))
        return SSL_TLSEXT_ERR_OK;
    for (unsigned i = 0; i < ctx->other_count && name != NULL; i++) {
        if (is_for(ctx->others[i], name)) {
            CHECK(SSL_set_SSL_CTX(ssl, ctx->others[i]->ssl) != NULL);
            return SSL_TLSEXT_ERR_OK;
        }
    }
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return ctx->strict_sni ? SSL_TLSEXT_ERR_ALERT_FATAL : SSL_TLSEXT_ERR_NOACK;
}

void tls_choose_by_name(struct tls_ctx *ctx)
{
    SSL_CTX_set_tlsext_servername_callback(ctx->ssl, on_name);
    SSL_CTX_set_tlsext_servername_arg(ctx->ssl, ctx);
}
