"""Dead letters: why a message died, where it goes then, and what it says of its deaths."""

import json
import time

from harness.admin import Admin
from harness.api import Api
from harness.case import Case, only
from harness.queues import QueueCase
from harness.waits import wait_until

THREADS = True
REMOTE = True


class Base(QueueCase):
    def pair(self, **arguments):
        """A queue, and the one its dead letters go to."""
        dead = self.queue()
        return self.queue(x_dead_letter_exchange="", x_dead_letter_routing_key=dead,
                          **arguments), dead

    def take(self, q):
        """The next message of a queue, when it is there."""
        return wait_until(lambda: self.ch.get(q), "a message in %s" % q)

    def reject(self, q, how="reject"):
        m = wait_until(lambda: self.ch.get(q, no_ack=False), "a message in %s" % q)
        self.ch.send("basic." + how, delivery_tag=m.delivery_tag, requeue=False)
        return m

    def deaths(self, m):
        return m.props["headers"]["x-death"]

    def short(self, m):
        """Of each death: how often, why, where."""
        return [(d.get("count"), d.get("reason"), d.get("queue")) for d in self.deaths(m)]


class Reasons(Base):
    def test_rejected(self):
        for how in ("reject", "nack"):
            q, dead = self.pair()
            self.ch.publish("", q, b"m")
            self.reject(q, how)
            m = self.take(dead)
            self.assertEqual((m.body, m.exchange, m.routing_key, m.redelivered),
                             (b"m", "", dead, False))
            self.assertEqual(self.short(m), [(1, "rejected", q)])

    def test_expired(self):
        q, dead = self.pair(x_message_ttl=100)
        self.ch.publish("", q, b"m")
        m = self.take(dead)
        self.assertEqual(self.short(m), [(1, "expired", q)])
        self.assertNotIn("original-expiration", self.deaths(m)[0])

    def test_expired_at_once(self):
        q, dead = self.pair(x_message_ttl=0)
        self.ch.publish("", q, b"m")
        self.assertEqual(self.short(self.take(dead)), [(1, "expired", q)])

    def test_its_own_expiration_is_taken_away(self):
        q, dead = self.pair()
        self.ch.publish("", q, b"m", props={"expiration": "100"})
        m = self.take(dead)
        self.assertNotIn("expiration", m.props)
        self.assertEqual(self.deaths(m)[0]["original-expiration"], "100")

    def test_too_many(self):
        q, dead = self.pair(x_max_length=1)
        for i in range(3):
            self.ch.publish("", q, b"%d" % i)
        self.wait_ready(dead, 2)
        m = self.take(dead)
        self.assertEqual((m.body, self.short(m)), (b"0", [(1, "maxlen", q)]))
        self.assertEqual(self.take(dead).body, b"1")

    def test_purge_and_delete_bury_nothing(self):
        q, dead = self.pair()
        for i in range(3):
            self.ch.publish("", q, b"%d" % i)
        self.ch.call("queue.purge", queue=q)
        self.ch.publish("", q, b"m")
        self.ch.call("queue.delete", queue=q)
        for _ in range(8):  # queues of every thread; what is buried earlier comes earlier
            probe = self.queue(x_dead_letter_exchange="", x_dead_letter_routing_key=dead)
            self.ch.publish("", probe, b"probe")
            self.reject(probe)
            self.assertEqual(self.take(dead).body, b"probe")
        self.assertEqual(self.ready(dead), 0)

    def test_those_that_died_before_their_queue_are_on_their_way(self):
        q, dead = self.pair()
        for i in range(3000):
            self.ch.publish("", q, b"%d" % i)
        self.ch.barrier()
        self.wait_ready(q, 3000)
        self.ch.consume(q)
        last = self.ch.deliveries(3000)[-1]
        self.ch.send("basic.nack", delivery_tag=last.delivery_tag, multiple=True, requeue=False)
        self.ch.call("queue.delete", queue=q)
        self.ch.expect("basic.cancel")
        self.wait_ready(dead, 3000)
        self.assertEqual(self.ch.get_all(dead), [b"%d" % i for i in range(3000)])


class Ways(Base):
    def test_with_its_own_key(self):
        x, dead = self.name("x"), self.queue()
        self.ch.call("exchange.declare", exchange=x, type="direct", auto_delete=True)
        q = self.queue(x_dead_letter_exchange=x)
        self.ch.bind(dead, x, q)
        self.ch.publish("", q, b"m")
        self.reject(q)
        m = self.take(dead)
        self.assertEqual((m.exchange, m.routing_key), (x, q))

    def test_an_internal_exchange_takes_them(self):
        x, dead = self.name("x"), self.queue()
        self.ch.call("exchange.declare", exchange=x, type="fanout", internal=True,
                     auto_delete=True)
        self.ch.bind(dead, x)
        q = self.queue(x_dead_letter_exchange=x)
        self.ch.publish("", q, b"m")
        self.reject(q)
        self.take(dead)

    def test_an_exchange_that_is_not_there(self):
        q = self.queue(x_dead_letter_exchange=self.name("none"))
        self.ch.publish("", q, b"m")
        self.reject(q)
        self.ch.barrier()
        self.assertEqual(self.ready(q), 0)

    def test_an_exchange_that_comes_later(self):
        x, dead = self.name("x"), self.queue()
        q = self.queue(x_dead_letter_exchange=x)
        self.ch.call("exchange.declare", exchange=x, type="fanout", auto_delete=True)
        self.ch.bind(dead, x)
        self.ch.publish("", q, b"m")
        self.reject(q)
        self.take(dead)

    def test_without_one_it_is_dropped(self):
        q = self.queue()
        self.ch.publish("", q, b"m")
        self.reject(q)
        self.ch.barrier()
        self.assertEqual(self.ready(q), 0)

    def test_many_keep_their_order(self):
        q, dead = self.pair(x_message_ttl=500)
        for i in range(5000):
            self.ch.publish("", q, b"%d" % i)
        self.wait_ready(dead, 5000)
        self.assertEqual(self.ch.get_all(dead), [b"%d" % i for i in range(5000)])

    def test_a_large_one(self):
        q, dead = self.pair()
        body = b"0123456789" * 100000
        self.ch.publish("", q, body)
        self.reject(q)
        self.assertEqual(self.take(dead).body, body)

    def test_consumers_get_them(self):
        q, dead = self.pair()
        self.ch.consume(dead, no_ack=True)
        self.ch.publish("", q, b"m")
        m = self.ch.get(q, no_ack=False)
        self.ch.send("basic.reject", delivery_tag=m.delivery_tag, requeue=False)
        self.assertEqual(self.ch.expect("basic.deliver").body, b"m")


class Headers(Base):
    def test_all_of_a_first_death(self):
        q, dead = self.pair()
        self.ch.publish("amq.direct", "nowhere", b"")
        self.ch.bind(q, "amq.direct", "key." + q)
        before = int(time.time()) - 1
        self.ch.publish("amq.direct", "key." + q, b"m", props={
            "content_type": "text/plain", "delivery_mode": 2, "priority": 3, "app_id": "a",
            "headers": {"z": 1, "a": "b"}})
        self.reject(q)
        m = self.take(dead)
        h = m.props["headers"]
        death = self.deaths(m)[0]
        when = death.pop("time")
        self.assertTrue(before <= int(getattr(when, "seconds", when)) <= time.time() + 1, when)
        self.assertEqual(death, {"count": 1, "reason": "rejected", "queue": q,
                                 "exchange": "amq.direct", "routing-keys": ["key." + q]})
        self.assertEqual((h["x-first-death-reason"], h["x-first-death-queue"],
                          h["x-first-death-exchange"]), ("rejected", q, "amq.direct"))
        self.assertEqual((h["z"], h["a"]), (1, "b"))
        self.assertEqual((m.props["content_type"], m.props["delivery_mode"], m.props["priority"],
                          m.props["app_id"]), ("text/plain", 2, 3, "a"))

    def test_their_order(self):
        q, dead = self.pair()
        self.ch.publish("", q, b"m", props={"headers": {"z": 1, "x": 2, "a": 3}})
        self.reject(q)
        m = self.take(dead)
        self.assertEqual(list(m.props["headers"]),
                         ["a", "x", "x-death", "x-first-death-exchange", "x-first-death-queue",
                          "x-first-death-reason", "z"])
        self.assertEqual(list(self.deaths(m)[0]),
                         ["count", "reason", "queue", "time", "exchange", "routing-keys"])

    def test_several_deaths_are_counted_by_queue_and_reason(self):
        q, dead = self.pair()
        m = None
        for _ in range(3):
            self.ch.publish("", q, b"m", props={"headers": m.props["headers"]} if m else {})
            self.reject(q)
            m = self.take(dead)
        self.assertEqual(self.short(m), [(3, "rejected", q)])

    def test_the_newest_comes_first_and_the_first_stays(self):
        qs = []
        last = self.queue()
        for _ in range(4):
            qs.insert(0, self.queue(x_dead_letter_exchange="",
                                    x_dead_letter_routing_key=qs[0] if qs else last))
        self.ch.publish("", qs[0], b"m")
        seen = []
        for q in qs:
            m = self.reject(q)
            seen.append(q)
        m = self.take(last)
        self.assertEqual(self.short(m)[0], (1, "rejected", qs[-1]))
        self.assertEqual(sorted(self.short(m)), sorted((1, "rejected", q) for q in qs))
        self.assertEqual(m.props["headers"]["x-first-death-queue"], qs[0])
        # The others are turned round at each death.
        self.assertEqual([d[2] for d in self.short(m)],
                         [qs[3]] + list(reversed([qs[2]] + list(reversed([qs[1], qs[0]])))))

    def test_keys_of_cc_are_told_and_followed(self):
        q, dead, copy = self.queue(), self.queue(), self.queue()
        x = self.name("x")
        self.ch.call("exchange.declare", exchange=x, type="direct", auto_delete=True)
        q = self.queue(x_dead_letter_exchange=x)
        self.ch.bind(dead, x, q)
        self.ch.bind(copy, x, "copy")
        self.ch.publish("", q, b"m", props={"headers": {"CC": ["copy"]}})
        self.reject(q)
        for target in (dead, copy):
            m = self.take(target)
            self.assertEqual(self.deaths(m)[0]["routing-keys"], [q, "copy"])
            self.assertEqual(m.props["headers"]["CC"], ["copy"])

    def test_a_key_of_the_queues_takes_the_place_of_cc(self):
        q, dead = self.pair()
        self.ch.publish("", q, b"m", props={"headers": {"CC": ["copy"]}})
        self.reject(q)
        m = self.take(dead)
        self.assertNotIn("CC", m.props["headers"])
        self.assertEqual(self.deaths(m)[0]["routing-keys"], [q, "copy"])

    def test_what_a_client_made_up(self):
        for made_up in ("text", 7, [], [{}], {"a": 1}):
            q, dead = self.pair()
            self.ch.publish("", q, b"m", props={"headers": {"x-death": made_up}})
            self.reject(q)
            m = self.take(dead)
            self.assertEqual(self.short(m)[0], (1, "rejected", q), made_up)

    def test_deaths_of_one_kind_that_a_client_made_up_are_one(self):
        q, dead = self.pair()
        other = {"queue": "other", "reason": "rejected"}
        third = {"queue": "third", "reason": "expired", "count": 9}
        self.ch.publish("", q, b"m", props={"headers": {"x-death": [other, third, dict(other)]}})
        self.reject(q)
        m = self.take(dead)
        self.assertEqual(self.short(m), [(1, "rejected", q), (9, "expired", "third"),
                                         (2, "rejected", "other")])


class Cycles(Base):
    def test_through_expiry_alone_it_ends(self):
        a, b = self.name("a"), self.name("b")
        self.queue(a, x_message_ttl=50, x_dead_letter_exchange="", x_dead_letter_routing_key=b)
        self.queue(b, x_message_ttl=50, x_dead_letter_exchange="", x_dead_letter_routing_key=a)
        self.ch.publish("", a, b"m")
        self.ch.barrier()
        wait_until(lambda: (self.ready(a), self.ready(b)) == (0, 0), "it ends")
        time.sleep(0.3)
        self.assertEqual((self.ready(a), self.ready(b)), (0, 0), "and does not begin anew")

    def test_to_itself(self):
        q = self.name()
        self.queue(q, x_message_ttl=50, x_dead_letter_exchange="")
        self.ch.publish("", q, b"m")
        self.ch.barrier()
        wait_until(lambda: self.ready(q) == 0, "it ends")

    def test_a_rejection_lets_it_go_on(self):
        """The usual way to try again later."""
        q, later = self.name(), self.name("later")
        self.queue(q, x_dead_letter_exchange="", x_dead_letter_routing_key=later)
        self.queue(later, x_message_ttl=50, x_dead_letter_exchange="",
                   x_dead_letter_routing_key=q)
        self.ch.publish("", q, b"m")
        for n in range(1, 4):
            self.reject(q)
            m = wait_until(lambda: self.ch.get(q, no_ack=False), "back again")
            self.assertEqual(sorted(self.short(m)),
                             sorted([(n, "expired", later), (n, "rejected", q)]))
            self.ch.send("basic.nack", delivery_tag=m.delivery_tag, requeue=True)

    def test_to_itself_when_rejected(self):
        q = self.name()
        self.queue(q, x_dead_letter_exchange="")
        self.ch.publish("", q, b"m")
        for _ in range(5):
            m = self.reject(q)
        self.assertEqual(self.short(m), [(4, "rejected", q)])


class Long(Base):
    """Arguments and policies may be longer than the names that messages can have."""

    def test_a_key_is_cut(self):
        x = self.name("x")
        self.ch.call("exchange.declare", exchange=x, type="fanout", auto_delete=True)
        dead = self.queue()
        self.ch.bind(dead, x)
        q = self.queue(x_message_ttl=0, x_dead_letter_exchange=x,
                       x_dead_letter_routing_key="k" * 300)
        self.ch.publish("", q, b"m")
        self.assertEqual(self.take(dead).routing_key, "k" * 255)

    def test_no_exchange_has_a_long_name(self):
        q = self.queue(x_message_ttl=0, x_dead_letter_exchange="x" * 300)
        self.ch.publish("", q, b"m")
        self.ch.barrier()
        self.assertEqual(self.ready(q), 0)


class Policies(Base):
    def setUp(self):
        super().setUp()
        self.admin = Admin(self.site)
        self.addCleanup(self.policy, None)

    def policy(self, definition):
        if definition is None:
            self.admin.ctl("clear_policy", "letters")
        else:
            self.admin.ctl("set_policy", "letters", "^policies-", json.dumps(definition))

    def wait_given_back(self):
        """The former policy's memory is no longer there."""
        api = Api(int(self.site.broker.conf["listen"]["management"].rpartition(":")[2]))
        wait_until(lambda: "\nwarren_epoch_waiting 0\n" in api.get("/metrics").body,
                   "nothing waits to be freed")

    def test_a_key_alone_then_an_exchange_too(self):
        """What a policy said before is gone when the next one is looked at."""
        dead, q = self.queue(), self.queue("policies-" + self.name())
        for key in ("one", "one", "two"):
            self.policy({"dead-letter-routing-key": key})
            self.wait_given_back()
            self.ch.publish("", q, b"m")
            self.reject(q)
        self.policy({"dead-letter-exchange": "", "dead-letter-routing-key": dead})

        def is_dead_lettered():
            self.ch.publish("", q, b"m")
            self.reject(q)
            return self.ready(dead) != 0

        wait_until(is_dead_lettered, "a dead letter")
        self.policy({"dead-letter-routing-key": dead})


class Many(Base):
    def test_many_deaths_at_once(self):
        q, dead = self.pair(x_max_length=10)
        for i in range(20010):
            self.ch.publish("", q, b"%d" % i)
        self.wait_ready(dead, 20000)
        self.assertEqual(self.ready(q), 10)

    def test_letters_outlive_their_queue(self):
        q, dead = self.pair()
        for i in range(20000):
            self.ch.publish("", q, b"%d" % i)
        self.ch.barrier()
        reader = self.conn.channel()
        reader.consume(q)
        for _ in range(20000):
            last = reader.expect("basic.deliver").delivery_tag
        reader.send("basic.nack", delivery_tag=last, multiple=True, requeue=False)
        reader.call("queue.delete", queue=q)
        self.wait_ready(dead, 20000)
        self.assertEqual(self.ch.get(dead).body, b"0")


class Counted(Case):
    @only("broker")
    def test_deaths_are_counted_by_cause(self):
        b = self.broker("rabbit2", {"node": {"threads": 2}})
        api = Api(int(b.conf["listen"]["management"].rpartition(":")[2]))
        ch = self.connect(address=b.address).channel()
        to = {"x-dead-letter-exchange": "amq.fanout"}
        nowhere = {"x-dead-letter-exchange": "nosuch"}
        quorum = {"x-queue-type": "quorum"}

        def dead(cause, kind, strategy):
            name = ('rabbitmq_global_messages_dead_lettered_%s_total'
                    '{queue_type="rabbit_%s_queue",dead_letter_strategy="%s"} ' % (
                        cause, kind, strategy))
            found = [line for line in api.get("/metrics").body.splitlines()
                     if line.startswith(name)]
            return int(found[0].rpartition(" ")[2]) if found else None

        def publish(arguments, n=1, **args):
            q = ch.declare(self.name(), arguments=arguments, **args).queue
            for _ in range(n):
                ch.publish(key=q)
            return q

        def reject(q, times=1, requeue=False):
            for _ in range(times):
                ch.send("basic.reject", delivery_tag=ch.get(q, no_ack=False).delivery_tag,
                        requeue=requeue)
        publish({"x-message-ttl": 0}, 2)
        publish(dict(to, **{"x-message-ttl": 0}), 3)
        publish({"x-max-length": 1}, 5)
        publish(dict(to, **{"x-max-length": 1}), 6)
        reject(publish({}, 6), 6)
        reject(publish(to, 7), 7)
        reject(publish(nowhere, 2), 2)
        limit = dict(quorum, **{"x-delivery-limit": 1})
        reject(publish(limit, durable=True), 2, True)
        reject(publish(dict(limit, **to), durable=True), 2, True)
        reject(publish(dict(quorum, **to), 2, durable=True), 2)
        for cause, kind, strategy, n in (
                ("expired", "classic", "disabled", 2), ("expired", "classic", "at_most_once", 3),
                ("maxlen", "classic", "disabled", 4), ("maxlen", "classic", "at_most_once", 5),
                ("rejected", "classic", "disabled", 8), ("rejected", "classic", "at_most_once", 7),
                ("delivery_limit", "quorum", "disabled", 1),
                ("delivery_limit", "quorum", "at_most_once", 1),
                ("rejected", "quorum", "disabled", 0), ("rejected", "quorum", "at_most_once", 2)):
            wait_until(lambda: dead(cause, kind, strategy) == n,
                       "%s %s %s: %d" % (cause, kind, strategy, n))
        self.assertIsNone(dead("delivery_limit", "classic", "disabled"))
