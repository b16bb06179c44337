"""The opening of a connection: protocol header, credentials, tuning, virtual host."""
from harness.case import Case

THREADS = True


class Header(Case):
    def test_old_version_is_answered_with_ours(self):
        conn = self.raw()
        conn.send(b"AMQP\x01\x01\x00\x09")
        self.assertEqual(conn.read_bytes(8), b"AMQP\x00\x00\x09\x01")
        conn.expect_eof()

    def test_open(self):
        ch = self.channel()
        q = ch.queue()
        ch.publish("", q, b"hello", {"content_type": "text/plain"})
        m = ch.get(q)
        self.assertEqual((m.body, m.props), (b"hello", {"content_type": "text/plain"}))
