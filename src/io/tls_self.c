/* A key and a certificate that live as long as the process: for peers that prove who they are by
 * other means, over the session that these make. */
#include "base/check.h"
#include "io/random.h"
#include "io/tls_internal.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#define BEGAN_S (-24 * 3600L)           /* clocks differ */
#define ENDS_S  (50 * 366 * 24 * 3600L) /* longer than any process */

static bool fill(X509 *cert, EVP_PKEY *key)
{
    static const unsigned char name[] = "warren";
    X509_NAME *subject = X509_get_subject_name(cert);
    return X509_set_version(cert, X509_VERSION_3) == 1 &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), random_u64() >> 1) == 1 &&
           X509_gmtime_adj(X509_getm_notBefore(cert), BEGAN_S) != NULL &&
           X509_gmtime_adj(X509_getm_notAfter(cert), ENDS_S) != NULL &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, name, -1, -1, 0) == 1 &&
           X509_set_issuer_name(cert, subject) == 1 && X509_set_pubkey(cert, key) == 1 &&
           X509_sign(cert, key, EVP_sha256()) > 0;
}

bool tls_use_own(SSL_CTX *ssl, struct err *err)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    bool ok = key != NULL && cert != NULL && fill(cert, key) &&
              SSL_CTX_use_certificate(ssl, cert) == 1 && SSL_CTX_use_PrivateKey(ssl, key) == 1;
    X509_free(cert);
    EVP_PKEY_free(key);
    return ok || tls_err_set(err, ERR_TLS, "cannot make a key and a certificate");
}
