"""What stands at a proxy's door, and what it writes down about those who came through."""

import re

from harness.case import Case
from harness.waits import wait_until

TARGETS = ("proxy",)


def at(conn):
    return conn.sock.getsockname()[1]


def line_about(proxy, port):
    """The first line of the access log about the client at that port, once it is there."""
    found = lambda: re.findall(rb"(?m)^.* access .*from=127\.0\.0\.1:%d .*$" % port,
                               proxy.proc.log_bytes())
    return wait_until(lambda: found() and found()[0].decode(), "a line about port %d" % port)


class AccessLog(Case):
    def test_a_line_for_each_session_says_why_it_ended(self):
        back = self.broker()
        p = self.proxy([back])
        gentle, rude, mute, wrong, lost = (self.raw(address=p.address) for _ in range(5))
        ports = {conn: at(conn) for conn in (gentle, rude, mute, wrong, lost)}
        for conn in (gentle, rude, lost):
            conn.handshake()
            conn.channel().queue()
        gentle.close()
        text = line_about(p, ports[gentle])
        for part in ("frontend=amqp", "backend=rabbits", "servers=rabbit1", "user=guest", "vhost=/",
                     "channels=1", "lost=0", 'why="the client closed it: 200 '):
            self.assertIn(part, text)
        rude.sock.close()
        self.assertIn('why="the client is gone', line_about(p, ports[rude]))
        wrong.hello()
        wrong.start_ok(password="wrong")
        wrong.expect_close(403)
        self.assertIn("the broker refuses it: ACCESS_REFUSED", line_about(p, ports[wrong]))
        mute.send(b"GET / HTTP/1.0\r\n\r\n")
        self.assertIn("something else than AMQP", line_about(p, ports[mute]))

        back.proc.tolerated = True
        back.proc.kill()
        self.assertRegex(line_about(p, ports[lost]),
                         r'failover .* server=rabbit1 legs=1 channels=1 why="broker ')
        lost.expect_close(320)
        p.proc.wait_log(rb'from=127\.0\.0\.1:%d .*lost=1.*why="closed with 320' % ports[lost])

    def test_it_can_be_left_out(self):
        p = self.proxy([self.broker()], {"frontend amqp": {"access-log": "trouble"}})
        quiet, loud = self.connect(address=p.address), self.connect(address=p.address)
        ports = at(quiet), at(loud)
        quiet.close()
        loud.sock.close()
        self.assertIn("gone", line_about(p, ports[1]))
        self.assertNotIn(b"from=127.0.0.1:%d " % ports[0], p.proc.log_bytes())
