/* Users, and who may do what. */
#include "mgmt/warrenctl_print.h"

#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define PASSWORD_MAX 4096u

static json_t *of_user(const struct warrenctl *w)
{
    return json_pack("{s:s}", "user", w->args[0]);
}

static json_t *of_user_in_vhost(const struct warrenctl *w)
{
    return json_pack("{s:s, s:s}", "user", w->args[0], "vhost", w->vhost);
}

static int refuse_empty(const struct warrenctl *w)
{
    return warrenctl_fail_usage(w, EX_DATAERR, "Bad argument: user cannot be an empty string");
}

/* ---- passwords ---- */

static bool hide_typing(struct termios *was)
{
    if (tcgetattr(STDIN_FILENO, was) != 0)
        return false; /* it is not typed */
    struct termios quiet = *was;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    return tcsetattr(STDIN_FILENO, TCSANOW, &quiet) == 0;
}

/* The second argument, or the first line of standard input. NULL: there is none, and *status says
 * what to exit with. */
static const char *read_password(struct warrenctl *w, char room[PASSWORD_MAX], int *status)
{
    if (w->arg_count > 1)
        return w->args[1];
    *status = warrenctl_connect(w);
    if (*status != EX_OK)
        return NULL;
    warrenctl_say_banner(w);
    fputs("Password: ", stdout);
    fflush(stdout);
    struct termios was;
    bool hidden = hide_typing(&was);
    bool there = fgets(room, (int)PASSWORD_MAX, stdin) != NULL;
    if (hidden)
        tcsetattr(STDIN_FILENO, TCSANOW, &was);
    fputc('\n', stdout);
    size_t len = there ? strcspn(room, "\r\n") : 0;
    if (there && room[len] == '\0' && len == PASSWORD_MAX - 1) {
        *status = warrenctl_fail(w, EX_DATAERR, "a password has at most %zu octets here",
                                 (size_t)PASSWORD_MAX - 2);
        return NULL;
    }
    if (there) {
        room[len] = '\0';
        if (warrenctl_is_text(room))
            return room;
        *status = warrenctl_fail(w, EX_DATAERR, "the password is not encoded in UTF-8");
        return NULL;
    }
    *status = warrenctl_fail(w, EX_DATAERR, "Password is not provided via argument or stdin");
    return NULL;
}

static int with_password(struct warrenctl *w, const char *what)
{
    char room[PASSWORD_MAX];
    int status = EX_DATAERR;
    const char *password = read_password(w, room, &status);
    if (password == NULL)
        return status;
    json_t *args = of_user(w);
    json_object_set_new(args, "password", json_string(password));
    return warrenctl_do(w, what, args);
}

static int add_user(struct warrenctl *w)
{
    if (w->args[0][0] == '\0')
        return refuse_empty(w);
    warrenctl_banner(w, "Adding user \"%s\" ...", w->args[0]);
    int status = with_password(w, "add_user");
    if (status == EX_OK && warrenctl_is_chatty(w))
        printf("Done. Don't forget to grant the user permissions to some virtual hosts! See '%s "
               "help set_permissions' to learn more.\n",
               w->program);
    return status;
}

static int change_password(struct warrenctl *w)
{
    warrenctl_banner(w, "Changing password for user \"%s\" ...", w->args[0]);
    return with_password(w, "change_password");
}

static int clear_password(struct warrenctl *w)
{
    warrenctl_banner(w, "Clearing password for user \"%s\" ...", w->args[0]);
    return warrenctl_do(w, "change_password", of_user(w));
}

static int authenticate_user(struct warrenctl *w)
{
    warrenctl_banner(w, "Authenticating user \"%s\" ...", w->args[0]);
    int status = with_password(w, "authenticate_user");
    if (status == EX_OK && warrenctl_is_chatty(w))
        puts("Success");
    return status;
}

/* ---- users ---- */

static int delete_user(struct warrenctl *w)
{
    warrenctl_banner(w, "Deleting user \"%s\" ...", w->args[0]);
    return warrenctl_do(w, "delete_user", of_user(w));
}

static int list_users(struct warrenctl *w)
{
    static const char *const columns[] = { "user", "tags" };
    warrenctl_banner(w, "Listing users ...");
    return warrenctl_list_whole(w, "list_users", json_object(), columns, ARRAY_COUNT(columns));
}

static int set_user_tags(struct warrenctl *w)
{
    char shown[4096], tags[4096];
    struct text s = text_over(shown, sizeof shown), t = text_over(tags, sizeof tags);
    warrenctl_join(w->args + 1, w->arg_count - 1, ", ", &s);
    warrenctl_join(w->args + 1, w->arg_count - 1, ",", &t);
    if (t.cut)
        return warrenctl_fail(w, EX_DATAERR, "the tags are too long");
    warrenctl_banner(w, "Setting tags for user \"%s\" to [%s] ...", w->args[0], shown);
    json_t *args = of_user(w);
    json_object_set_new(args, "tags", json_string(tags));
    return warrenctl_do(w, "set_user_tags", args);
}

/* ---- permissions ---- */

static int set_permissions(struct warrenctl *w)
{
    warrenctl_banner(w, "Setting permissions for user \"%s\" in vhost \"%s\" ...", w->args[0],
                     w->vhost);
    json_t *args = of_user_in_vhost(w);
    json_object_set_new(args, "configure", json_string(w->args[1]));
    json_object_set_new(args, "write", json_string(w->args[2]));
    json_object_set_new(args, "read", json_string(w->args[3]));
    return warrenctl_do(w, "set_permissions", args);
}

static int clear_permissions(struct warrenctl *w)
{
    warrenctl_banner(w, "Clearing permissions for user \"%s\" in vhost \"%s\" ...", w->args[0],
                     w->vhost);
    return warrenctl_do(w, "clear_permissions", of_user_in_vhost(w));
}

static int list_permissions(struct warrenctl *w)
{
    static const char *const columns[] = { "user", "configure", "write", "read" };
    warrenctl_banner(w, "Listing permissions for vhost \"%s\" ...", w->vhost);
    return warrenctl_list_whole(w, "list_permissions", json_pack("{s:s}", "vhost", w->vhost),
                                columns, ARRAY_COUNT(columns));
}

static int list_user_permissions(struct warrenctl *w)
{
    static const char *const columns[] = { "vhost", "configure", "write", "read" };
    warrenctl_banner(w, "Listing permissions for user \"%s\" ...", w->args[0]);
    return warrenctl_list_whole(w, "list_user_permissions", of_user(w), columns,
                                ARRAY_COUNT(columns));
}

/* ---- topic permissions ---- */

static int set_topic_permissions(struct warrenctl *w)
{
    warrenctl_banner(w, "Setting topic permissions on \"%s\" for user \"%s\" in vhost \"%s\" ...",
                     w->args[1], w->args[0], w->vhost);
    json_t *args = of_user_in_vhost(w);
    json_object_set_new(args, "exchange", json_string(w->args[1]));
    json_object_set_new(args, "write", json_string(w->args[2]));
    json_object_set_new(args, "read", json_string(w->args[3]));
    return warrenctl_do(w, "set_topic_permissions", args);
}

static int clear_topic_permissions(struct warrenctl *w)
{
    json_t *args = of_user_in_vhost(w);
    if (w->arg_count > 1) {
        warrenctl_banner(w,
                         "Clearing topic permissions on \"%s\" for user \"%s\" in vhost \"%s\" ...",
                         w->args[1], w->args[0], w->vhost);
        json_object_set_new(args, "exchange", json_string(w->args[1]));
    } else {
        warrenctl_banner(w, "Clearing topic permissions for user \"%s\" in vhost \"%s\" ...",
                         w->args[0], w->vhost);
    }
    return warrenctl_do(w, "clear_topic_permissions", args);
}

static int list_topic_permissions(struct warrenctl *w)
{
    static const char *const columns[] = { "user", "exchange", "write", "read" };
    warrenctl_banner(w, "Listing topic permissions for vhost \"%s\" ...", w->vhost);
    return warrenctl_list_whole(w, "list_topic_permissions", json_pack("{s:s}", "vhost", w->vhost),
                                columns, ARRAY_COUNT(columns));
}

/* rabbitmqctl prints these without a header. */
static int list_user_topic_permissions(struct warrenctl *w)
{
    static const char *const columns[] = { "vhost", "exchange", "write", "read" };
    warrenctl_banner(w, "Listing topic permissions for user \"%s\" ...", w->args[0]);
    w->no_headers = true;
    return warrenctl_list_whole(w, "list_user_topic_permissions", of_user(w), columns,
                                ARRAY_COUNT(columns));
}

/* ---- limits ---- */

static int set_user_limits(struct warrenctl *w)
{
    int status;
    warrenctl_banner(w, "Setting user limits to \"%s\" for user \"%s\" ...", w->args[1],
                     w->args[0]);
    if (!warrenctl_check_json(w, w->args[1], &status))
        return status;
    json_t *args = of_user(w);
    json_object_set_new(args, "definition", json_string(w->args[1]));
    return warrenctl_do(w, "set_user_limits", args);
}

static int clear_user_limits(struct warrenctl *w)
{
    if (strcmp(w->args[1], "all") == 0)
        warrenctl_banner(w, "Clearing all limits for user \"%s\" ...", w->args[0]);
    else
        warrenctl_banner(w, "Clearing \"%s\" limit for user \"%s\" ...", w->args[1], w->args[0]);
    json_t *args = of_user(w);
    json_object_set_new(args, "limit", json_string(w->args[1]));
    return warrenctl_do(w, "clear_user_limits", args);
}

static int list_user_limits(struct warrenctl *w)
{
    static const char *const columns[] = { "user", "limits" };
    if (warrenctl_option(w, "global") != NULL) {
        warrenctl_banner(w, "Listing limits for all users ...");
        return warrenctl_list_whole(w, "list_user_limits", json_object(), columns,
                                    ARRAY_COUNT(columns));
    }
    const char *user = warrenctl_option(w, "user");
    warrenctl_banner(w, "Listing limits for user \"%s\" ...", user != NULL ? user : "guest");
    int status;
    json_t *o = warrenctl_ask(w, "list_user_limits",
                              json_pack("{s:s}", "user", user != NULL ? user : "guest"), &status);
    if (o == NULL)
        return status;
    warrenctl_print_json(o);
    json_decref(o);
    return EX_OK;
}

static const struct warrenctl_command rows[] = {
    { .name = "add_user",
      .group = WARRENCTL_USERS,
      .least = 1,
      .most = 2,
      .usage = "<username> <password>",
      .help = "Adds a user, who may do nothing until set_permissions says so",
      .details = "<password>\n\tif it is not given it is read from standard input; an empty one "
                 "means that this user cannot log in by password\n",
      .run = add_user },
    { .name = "authenticate_user",
      .group = WARRENCTL_USERS,
      .least = 1,
      .most = 2,
      .usage = "<username> <password>",
      .help = "Fails when this is not the user's password",
      .run = authenticate_user },
    { .name = "change_password",
      .group = WARRENCTL_USERS,
      .least = 1,
      .most = 2,
      .usage = "<username> <password>",
      .help = "Gives a user another password",
      .run = change_password },
    { .name = "clear_password",
      .group = WARRENCTL_USERS,
      .least = 1,
      .most = 1,
      .usage = "<username>",
      .help = "Takes a user's password away: no login by password is possible then",
      .flags = WARRENCTL_USER_TERM,
      .run = clear_password },
    { .name = "clear_permissions",
      .group = WARRENCTL_ACCESS,
      .least = 1,
      .most = 1,
      .usage = "[--vhost <vhost>] <username>",
      .help = "Takes a user's permissions in a virtual host away",
      .flags = WARRENCTL_USER_PLAIN | WARRENCTL_VHOST_PLAIN,
      .run = clear_permissions },
    { .name = "clear_topic_permissions",
      .group = WARRENCTL_ACCESS,
      .least = 1,
      .most = 2,
      .usage = "[--vhost <vhost>] <username> [<exchange>]",
      .help = "Takes a user's topic permissions away, for one exchange or all of a virtual host",
      .flags = WARRENCTL_USER_PLAIN | WARRENCTL_VHOST_PLAIN,
      .run = clear_topic_permissions },
    { .name = "clear_user_limits",
      .group = WARRENCTL_USERS,
      .least = 2,
      .most = 2,
      .usage = "<username> <limit_type> | all",
      .help = "Removes a user's limits",
      .flags = WARRENCTL_USER_TERM,
      .run = clear_user_limits },
    { .name = "delete_user",
      .group = WARRENCTL_USERS,
      .least = 1,
      .most = 1,
      .usage = "<username>",
      .help = "Removes a user; the clients of that name are closed",
      .run = delete_user },
    { .name = "list_permissions",
      .group = WARRENCTL_ACCESS,
      .usage = "[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]",
      .help = "Lists who may do what in a virtual host",
      .run = list_permissions },
    { .name = "list_topic_permissions",
      .group = WARRENCTL_ACCESS,
      .usage = "[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]",
      .help = "Lists the topic permissions of a virtual host",
      .run = list_topic_permissions },
    { .name = "list_user_limits",
      .group = WARRENCTL_USERS,
      .usage = "[--user <username>] [--global]",
      .help = "Lists the limits of users",
      .options = { "user=", "global" },
      .flags = WARRENCTL_USER_TERM,
      .run = list_user_limits },
    { .name = "list_user_permissions",
      .group = WARRENCTL_ACCESS,
      .least = 1,
      .most = 1,
      .usage = "[--no-table-headers] <username>",
      .help = "Lists what a user may do, in each virtual host",
      .flags = WARRENCTL_USER_TERM,
      .run = list_user_permissions },
    { .name = "list_user_topic_permissions",
      .group = WARRENCTL_ACCESS,
      .least = 1,
      .most = 1,
      .usage = "[--no-table-headers] <username> [--timeout <timeout>]",
      .help = "Lists a user's topic permissions, in each virtual host",
      .flags = WARRENCTL_USER_TERM,
      .run = list_user_topic_permissions },
    { .name = "list_users",
      .group = WARRENCTL_USERS,
      .usage = "[--no-table-headers] [--timeout <timeout>]",
      .help = "Lists the users and their tags",
      .run = list_users },
    { .name = "set_permissions",
      .group = WARRENCTL_ACCESS,
      .least = 4,
      .most = 4,
      .usage = "[--vhost <vhost>] <username> <conf> <write> <read>",
      .help = "Sets what a user may configure, write and read in a virtual host, by patterns of "
              "names",
      .details =
          "<conf>, <write>, <read>\n\tRegular expressions for the names of what the user may "
          "configure, write to and read from\n",
      .flags = WARRENCTL_USER_PLAIN | WARRENCTL_VHOST_PLAIN,
      .run = set_permissions },
    { .name = "set_topic_permissions",
      .group = WARRENCTL_ACCESS,
      .least = 4,
      .most = 4,
      .usage = "[--vhost <vhost>] <username> <exchange> <write> <read>",
      .help = "Sets the routing keys that a user may publish and bind with, by patterns",
      .flags = WARRENCTL_USER_PLAIN | WARRENCTL_VHOST_PLAIN,
      .run = set_topic_permissions },
    { .name = "set_user_limits",
      .group = WARRENCTL_USERS,
      .least = 2,
      .most = 2,
      .usage = "<username> <definition>",
      .help = "Sets how many connections and channels a user may have",
      .flags = WARRENCTL_USER_TERM,
      .run = set_user_limits },
    { .name = "set_user_tags",
      .group = WARRENCTL_USERS,
      .least = 1,
      .most = -1,
      .usage = "<username> <tag> [...]",
      .help = "Sets what a user may do in management: administrator, monitoring, policymaker, "
              "management",
      .run = set_user_tags },
};

const struct warrenctl_table warrenctl_users = { rows, ARRAY_COUNT(rows) };
