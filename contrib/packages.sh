# shellcheck shell=bash
# Packages that the build and the tests need, and how to install what is missing of them by apt.
#
# A part of ./quickstart, whose `say`, `die` and $build it uses.

# Debian's name of the package, and how to see that it is there: cmd: a program, pc: a library
# known to pkg-config, h: a header, py: a module of the system's Python, file: a file, sbin: a
# program of administrators, whose folder a user's path may not have.
build_needs='
gcc              cmd:gcc
libc6-dev        h:stdio.h
make             cmd:make
autoconf         cmd:autoreconf
automake         cmd:automake
pkg-config       cmd:pkg-config
openssl          cmd:openssl
libevent-dev     pc:libevent_extra
libssl-dev       pc:openssl
libinih-dev      pc:inih
libjansson-dev   pc:jansson
libpcre2-dev     pc:libpcre2-8
libxxhash-dev    pc:libxxhash
uthash-dev       h:uthash.h
'
test_needs='
libcriterion-dev pc:criterion
clang            cmd:clang
clang-format     cmd:clang-format
python3          file:/usr/bin/python3
python3-pika     py:pika
python3-amqp     py:amqp
python3-kombu    py:kombu
python3-celery   py:celery
amqp-tools       cmd:amqp-publish
librabbitmq-dev  pc:librabbitmq
nodejs           cmd:node
npm              cmd:npm
iproute2         cmd:ip
nftables         sbin:nft
valgrind         cmd:valgrind
xz-utils         cmd:xz
git              cmd:git
'
# What the tests can do without: RabbitMQ itself, to compare with, whose recorded answers are there,
# and, in a release of the system that has no such packages, the Nagios checks, a browser and Go's
# client.
yardstick='
rabbitmq-server  file:/usr/sbin/rabbitmq-server
'
extras='
nagios-plugins-rabbitmq cmd:check_rabbitmq_overview
chromium         cmd:chromium
golang-go        cmd:go
golang-github-rabbitmq-amqp091-go-dev file:/usr/share/gocode/src/github.com/rabbitmq/amqp091-go
'

is_there() {
    local what=${1#*:}
    case $1 in
    cmd:*) command -v "$what" >/dev/null ;;
    sbin:*) PATH=$PATH:/usr/sbin:/sbin command -v "$what" >/dev/null ;;
    pc:*) command -v pkg-config >/dev/null && pkg-config --exists "$what" ;;
    h:*) command -v gcc >/dev/null && printf '#include <%s>\n' "$what" |
        gcc -fsyntax-only -x c - 2>/dev/null ;;
    py:*) [ -x /usr/bin/python3 ] && /usr/bin/python3 -c "import $what" 2>/dev/null ;;
    file:*) [ -e "$what" ] ;;
    esac
}

missing_packages() {
    local package probe
    while read -r package probe; do
        [ -z "$package" ] || is_there "$probe" || printf '%s ' "$package"
    done <<<"$1"
}

# install_deps NEEDS: installs what of it is missing, and checks that it is there afterwards.
install_deps() {
    local missing
    missing=$(missing_packages "$1")
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null ||
        die "please install these (their names on Debian) and try again: $missing" 69
    may_be_root || die "neither root nor sudo: please let root run: apt-get install $missing" 77

    say "installing: $missing"
    if ! apt_install "$missing"; then
        tail -n 20 "$build/install.log" >&2
        die "apt-get failed; the whole of its output is in $build/install.log"
    fi
    missing=$(missing_packages "$1")
    [ -z "$missing" ] || die "still missing after the installation: $missing"
}

may_be_root() { [ "$(id -u)" = 0 ] || command -v sudo >/dev/null; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# Another apt-get may be at it, as on a machine that has just started; the option that waits for
# dpkg's lock does not wait for the one of the lists.
apt_update() {
    local said end=$((SECONDS + 300))
    until said=$(as_root apt-get -q update 2>&1); do
        printf '%s\n' "$said"
        [[ $said == *lists/lock* && $SECONDS -lt $end ]] || return 1
        sleep 2
    done
}

# With lists that cannot be had anew, those that are there may do.
apt_install() { # a list of packages, as one word
    mkdir -p "$build"
    # shellcheck disable=SC2086 # a list of words
    {
        apt_update || say 'the lists of packages stay as they are'
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
            install --no-install-recommends $1
    } >"$build/install.log" 2>&1 </dev/null
}

can_install() { command -v apt-get >/dev/null && may_be_root; }

install_extras() {
    local missing
    missing=$(missing_packages "$extras")
    [ -n "$missing" ] && can_install || return 0
    say "installing: $missing"
    apt_install "$missing" || say "without ${missing% }: what wants it is left out"
}

# RabbitMQ's package starts a service at 5672 and has it started at each boot. Here it is only to be
# at hand: while it is installed policy-rc.d forbids the start, and afterwards nothing enables it.
install_yardstick() {
    local missing result=0
    missing=$(missing_packages "$yardstick")
    [ -n "$missing" ] && can_install || return 0

    say "installing: $missing"
    (forbid_starts && apt_install "$missing") || result=1
    if [ "$result" = 0 ] && command -v systemctl >/dev/null; then
        as_root systemctl disable rabbitmq-server.service epmd.service epmd.socket \
            >>"$build/install.log" 2>&1 </dev/null || true
    fi
    [ "$result" = 0 ] ||
        say "without ${missing% }: the tests compare with RabbitMQ's recorded answers alone"
}

# Until this shell ends, however it ends; a policy that is there already has its own mind.
forbid_starts() {
    local policy=/usr/sbin/policy-rc.d
    [ ! -e "$policy" ] || return 0
    # shellcheck disable=SC2064 # the path of now
    trap "as_root rm -f $policy" EXIT
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null && as_root chmod 755 "$policy"
}
