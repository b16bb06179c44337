"""The rows of the failure matrix: each does one thing to a cluster whose mirrored queues are in use.

A row gets the field (lab/field.py), does what its name says, undoes it, and returns how many nodes
or cables it has hit; the field then waits until all queues have all their mirrors in sync again. What
has to be true of the clients meanwhile is in Field.play().
"""

import errno
import os

from harness.waits import wait_until

ROWS = {}


def row(least=3):
    """Needs so many nodes with queues."""
    def mark(function):
        function.least = least
        ROWS[function.__name__] = function
        return function
    return mark


# -- processes -------------------------------------------------------------------------------------

def killed(f, *victims):
    for h in victims:
        h.kill()
    f.last(0, 1.5, 4)
    for h in f.shuffled(victims):
        h.start(ready=False)
    f.await_ready(victims)
    return len(victims)


@row(least=2)
def master_killed(f):
    return killed(f, f.master())


@row(least=2)
def mirror_killed(f):
    return killed(f, f.mirror())


@row(least=5)
def two_killed(f):
    return killed(f, *f.some(2))


@row(least=2)
def all_killed(f):
    return killed(f, *f.shuffled(f.victims))


@row(least=2)
def killed_while_it_starts(f):
    """Whoever takes over has hardly begun, and who comes back has not yet all."""
    victim = f.master()
    killed(f, victim)
    killed(f, f.master())
    return 2


@row(least=2)
def master_stands_still(f):
    victim = f.master()
    victim.pause()
    f.last(0.5, 3, 12)
    victim.resume()
    return 1


@row(least=2)
def mirror_stands_still(f):
    victim = f.mirror()
    victim.pause()
    f.last(0.5, 3, 12)
    victim.resume()
    return 1


@row()
def starved_of_its_processor(f):
    throttle = f.pick().throttle(5)
    f.last(1, 3, 10)
    f.end_throttle(throttle)
    return 1


@row(least=2)
def rolling_restart(f):
    """As for an upgrade: one node after the other, each when the last one is whole again."""
    for h in f.shuffled(f.victims):
        f.stop(h)
        h.start(ready=False)
        f.await_ready([h])
        f.wait_whole()
    return len(f.victims)


@row(least=2)
def rolling_stop_app(f):
    for h in f.shuffled(f.victims):
        f.ctl(h, "stop_app")
        f.ctl(h, "start_app")
        f.wait_whole()
    return len(f.victims)


@row(least=2)
def witness_killed(f):
    if f.witness is None:
        return 0
    f.witness.kill()
    f.last(0, 1, 3)
    f.witness.start(ready=False)
    return 1


# -- orders ----------------------------------------------------------------------------------------

@row(least=2)
def masters_moved(f):
    """Nothing fails: an operator puts masters elsewhere."""
    count = 0
    for queue, (master, synced) in f.placements().items():
        if synced:
            f.ctl(master, "move_master", queue, f.rng.choice(synced).node)
            count += 1
    return count


@row(least=2)
def policy_changed(f):
    """Mirrors come and go as policies do, quickly."""
    for _ in range(3):
        f.set_policy('{"ha-mode":"exactly","ha-params":%d,"ha-sync-mode":"automatic"}' %
                     f.rng.randint(1, 2))
        f.last(0, 0.3)
        f.set_policies()
        f.last(0, 0.3)
    return 3


@row(least=2)
def moved_and_left_alone(f):
    """Masters are moved, their mirrors taken away then, and given back."""
    count = masters_moved(f)
    f.set_policy('{"ha-mode":"exactly","ha-params":1}')
    f.last(0, 0.5)
    f.set_policies()
    f.last(0, 0.5)
    return count + 2


# -- nets ------------------------------------------------------------------------------------------

@row()
def master_cut_off(f):
    f.net.isolate(f.master().machine)
    f.last(0.5, 3, 15)
    f.net.heal()
    return 1


@row()
def mirror_cut_off(f):
    f.net.isolate(f.mirror().machine)
    f.last(0.5, 3, 15)
    f.net.heal()
    return 1


@row(least=5)
def two_cut_off(f):
    """Their clients, too: these are on the side of the others."""
    f.net.isolate(*[h.machine for h in f.some(2)])
    f.last(1, 3, 15)
    f.net.heal()
    return 2


@row()
def each_alone(f):
    f.net.cut(*[[h.machine] for h in f.members()])
    f.last(1, 3, 8)
    f.net.heal()
    return len(f.victims)


@row()
def mirror_deaf_to_its_master(f):
    queue, master, synced = f.queue()
    f.net.deafen([f.rng.choice(synced).machine], [master.machine])
    f.last(0.5, 3, 13)
    f.net.heal()
    return 1


@row()
def master_deaf_to_its_mirrors(f):
    queue, master, synced = f.queue()
    f.net.deafen([master.machine], [h.machine for h in synced])
    f.last(0.5, 3, 13)
    f.net.heal()
    return 1


@row()
def unheard_by_the_leader(f):
    leader = f.leader()
    victim = f.rng.choice([h for h in f.victims if h is not leader])
    f.net.deafen([leader.machine], [victim.machine])
    f.last(0.5, 3, 13)
    f.net.heal()
    return 1


@row()
def two_that_others_reach(f):
    """A cut between one pair only: each of them and all others see each other."""
    one, other = f.some(2)
    f.net.cut([one.machine], [other.machine])
    f.last(0.5, 3, 13)
    f.net.heal()
    return 1


@row()
def cable_comes_and_goes(f):
    victim, count = f.pick(), f.few(2, 6)
    for _ in range(count):
        f.net.isolate(victim.machine)
        f.last(0.2, 1, 1.5)
        f.net.heal()
        f.last(0.2, 1, 1.5)
    return count


@row()
def packets_lost(f):
    f.net.lose(f.rng.randint(5, 20), [h.machine for h in f.members()],
               [h.machine for h in f.members()])
    f.last(1, 3, 10)
    f.net.heal()
    return 1


@row()
def killed_while_another_is_cut_off(f):
    one, other = f.some(2)
    f.net.isolate(one.machine)
    f.last(0, 1.5, 3)
    other.kill()
    f.last(0, 1, 3)
    f.net.heal()
    other.start(ready=False)
    f.await_ready([other])
    return 2


# -- disks -----------------------------------------------------------------------------------------

def disk_fails(f, what, code):
    """It gives up, or goes on when the disk does; whoever ended is started anew."""
    victim = f.pick()
    victim.proc.tolerated = True
    victim.faults.fail(what, after=f.rng.randint(0, 20), code=code)
    f.last(0.5, 2, 6)
    victim.faults.heal()
    if victim.is_serving():
        return 1
    if victim.alive():
        victim.kill()
    victim.start(ready=False)
    f.await_ready([victim])
    return 1


@row()
def disk_fails_to_sync(f):
    return disk_fails(f, "sync", errno.EIO)


@row()
def disk_fails_to_write(f):
    return disk_fails(f, "write", errno.EIO)


@row()
def disk_full(f):
    return disk_fails(f, "write", errno.ENOSPC)


@row()
def disk_slow(f):
    victim = f.pick()
    victim.faults.slow("sync", f.rng.choice([100, 300, 1000]))
    f.last(1, 3, 13)
    victim.faults.heal()
    return 1


@row()
def killed_in_a_write(f):
    """What it wrote last is torn."""
    victim = f.master()
    victim.faults.halve()
    f.last(0, 0.2)
    victim.kill()
    victim.faults.heal()
    victim.start(ready=False)
    f.await_ready([victim])
    return 1


def journals(host):
    return [os.path.join(at, name) for at, _, names in os.walk(host.path("data"))
            for name in names if os.path.basename(at) == "journal"]


def damage(f, host):
    """An octet in the middle of what it has written is another one."""
    def written(path):
        with open(path, "rb") as file:
            return len(file.read().rstrip(b"\0"))
    lengths = {path: n for path in journals(host) if (n := written(path)) > 8192}
    if not lengths:
        return False
    path = f.rng.choice(sorted(lengths))
    with open(path, "r+b") as file:
        file.seek(f.rng.randrange(4096, lengths[path] - 2048))
        octet = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([octet[0] ^ 0x5a]))
    return True


@row()
def journal_damaged(f):
    """What it had acknowledged it has no more: it gets it from the others."""
    victim = f.pick()
    victim.kill()
    damage(f, victim)
    victim.start(ready=False)
    f.await_ready([victim])
    return 1


@row()
def disk_replaced(f):
    """A machine comes back with nothing, under its old name: it is forgotten, and joins anew."""
    victim = f.pick()
    by = f.member_but(victim)
    victim.kill()
    wait_until(lambda: by.ctl("forget_cluster_node", victim.node).returncode == 0,
               "%s is forgotten" % victim.name, f.patience)
    f.empty(victim)
    victim.start(ready=False)
    f.await_ready([victim])
    return 1
