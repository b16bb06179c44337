/*
 * io_kit: what the tests of src/io share: a folder that goes with the test, certificates made at
 * run time, socket pairs, and running a loop until something has become true.
 */
#ifndef WARREN_TESTS_IO_KIT_H
#define WARREN_TESTS_IO_KIT_H

#include "io/loop.h"
#include "io/tls.h"

#include <stdbool.h>
#include <stddef.h>

#define KIT_PATH_MAX 256

/* ---- folders and files ---------------------------------------------------------------------- */

/* A new empty folder; kit_folder_remove takes it away with all that is in it. */
const char *kit_folder_make(char room[KIT_PATH_MAX]);
void kit_folder_remove(const char *folder);
/* "FOLDER/NAME" in the room. */
const char *kit_path(char room[KIT_PATH_MAX], const char *folder, const char *name);
void kit_file_write(const char *path, const void *bytes, size_t len, unsigned mode);

/* ---- sockets -------------------------------------------------------------------------------- */

/* Two connected ends, non-blocking; small: with the smallest buffers the system gives. */
void kit_socket_pair(int ends[2], bool is_small);
/* Two connected ends of a TCP connection over loopback, non-blocking. */
void kit_tcp_pair(int ends[2]);
/* All of it, or the test fails; waits as long as it takes. */
void kit_send(int fd, const void *bytes, size_t len);
/* Read until `len` octets came or the peer closed; how many came. */
size_t kit_recv(int fd, void *into, size_t len);

/* ---- loops ---------------------------------------------------------------------------------- */

struct loop *kit_loop_new(void);

typedef bool (*kit_cond)(void *arg);

/* Run the loop on this thread until `cond` holds; it is asked every millisecond. */
void kit_until(struct loop *loop, kit_cond cond, void *arg);
void kit_until_set(struct loop *loop, const bool *flag);
void kit_until_count(struct loop *loop, const size_t *count, size_t least);
/* Let the loop turn `turns` times: for what must not happen. */
void kit_turns(struct loop *loop, unsigned turns);

/* ---- certificates --------------------------------------------------------------------------- */

struct kit_cert_plan {
    const char *name;   /* common name */
    const char *san;    /* such as "DNS:localhost,IP:127.0.0.1"; NULL: none */
    const char *issuer; /* base name of the issuer's files in the folder; NULL: self-signed */
    bool is_ca;
    bool is_expired;
};

/* Write FOLDER/BASE.pem (certificate) and FOLDER/BASE.key. */
void kit_cert_make(const char *folder, const char *base, const struct kit_cert_plan *plan);

/* ca, server (localhost, 127.0.0.1), client and other-ca with stranger, all in the folder. */
void kit_pki_make(const char *folder);

struct tls_ctx *kit_tls_server(const char *folder, bool verify_client);
struct tls_ctx *kit_tls_client(const char *folder);

#endif
