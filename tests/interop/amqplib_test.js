// amqplib against an AMQP server: node amqplib_test.js amqp://user:password@host:port/%2f
// Each case has a connection of its own; the process fails with the first case that does.
'use strict';

const amqp = require('amqplib');
const assert = require('assert');
const { once } = require('events');

const url = process.argv[2];

const cases = {
  async 'work queue with acks and prefetch'(conn) {
    const ch = await conn.createChannel();
    const { queue } = await ch.assertQueue('', { exclusive: true });
    await ch.prefetch(10);
    for (let i = 0; i < 500; i++)
      ch.sendToQueue(queue, Buffer.from(String(i)), { persistent: true, messageId: String(i) });
    const got = [];
    await new Promise((done) => ch.consume(queue, (m) => {
      got.push(Number(m.content.toString()));
      assert.strictEqual(m.properties.messageId, m.content.toString());
      assert.strictEqual(m.properties.deliveryMode, 2);
      ch.ack(m);
      if (got.length === 500) done();
    }));
    assert.deepStrictEqual(got, [...Array(500).keys()]);
    await ch.close();
  },

  async 'confirms'(conn) {
    const ch = await conn.createConfirmChannel();
    const { queue } = await ch.assertQueue('', { exclusive: true });
    for (let i = 0; i < 1000; i++) ch.sendToQueue(queue, Buffer.from('x'));
    await ch.waitForConfirms();
    assert.strictEqual((await ch.checkQueue(queue)).messageCount, 1000);
    assert.strictEqual((await ch.purgeQueue(queue)).messageCount, 1000);
  },

  async 'topics, headers and exchanges bound to exchanges'(conn) {
    const ch = await conn.createChannel();
    const topic = `amqplib.topic.${process.pid}`, fan = `amqplib.fan.${process.pid}`;
    await ch.assertExchange(topic, 'topic', { durable: false, autoDelete: true });
    await ch.assertExchange(fan, 'fanout', { durable: false, autoDelete: true });
    await ch.bindExchange(fan, topic, '#.news');
    const { queue } = await ch.assertQueue('', { exclusive: true });
    await ch.bindQueue(queue, fan, '');
    ch.publish(topic, 'no', Buffer.from('no'));
    ch.publish(topic, 'good.news', Buffer.from('yes'), { headers: { n: 1.5, l: [1, 'a', null], t: { b: true } } });
    const m = await new Promise((done) => ch.consume(queue, done, { noAck: true }));
    assert.strictEqual(m.content.toString(), 'yes');
    assert.strictEqual(m.fields.routingKey, 'good.news');
    assert.deepStrictEqual(m.properties.headers, { n: 1.5, l: [1, 'a', null], t: { b: true } });
  },

  async 'get, nack and redelivery'(conn) {
    const ch = await conn.createConfirmChannel();
    const { queue } = await ch.assertQueue('', { exclusive: true });
    assert.strictEqual(await ch.get(queue), false);
    ch.sendToQueue(queue, Buffer.from('again'));
    await ch.waitForConfirms();
    const first = await ch.get(queue);
    assert.strictEqual(first.fields.redelivered, false);
    ch.nack(first, false, true);
    const second = await ch.get(queue);
    assert.strictEqual(second.fields.redelivered, true);
    ch.ack(second);
  },

  async 'unroutable messages come back'(conn) {
    const ch = await conn.createChannel();
    ch.publish('amq.direct', 'nowhere', Buffer.from('back'), { mandatory: true });
    const [m] = await once(ch, 'return');
    assert.strictEqual(m.content.toString(), 'back');
    assert.strictEqual(m.fields.replyCode, 312);
  },

  async 'a channel error is told, the connection lives'(conn) {
    const ch = await conn.createChannel();
    const told = once(ch, 'error');
    await assert.rejects(ch.checkQueue('no.such.queue'), /404/);
    assert.strictEqual((await told)[0].code, 404);
    await (await conn.createChannel()).assertQueue('', { exclusive: true });
  },

  async 'a megabyte'(conn) {
    const ch = await conn.createChannel();
    const { queue } = await ch.assertQueue('', { exclusive: true });
    const body = Buffer.alloc(1 << 20, 'abcdefg');
    ch.sendToQueue(queue, body);
    const m = await new Promise((done) => ch.consume(queue, done, { noAck: true }));
    assert.ok(body.equals(m.content));
  },

  async 'consumers hear that their queue is gone'(conn) {
    const ch = await conn.createChannel();
    const { queue } = await ch.assertQueue('', { exclusive: true });
    const told = new Promise((done) => ch.consume(queue, done));
    await (await conn.createChannel()).deleteQueue(queue);
    assert.strictEqual(await told, null);
  },
};

async function main() {
  await assert.rejects(amqp.connect(url.replace('guest@', 'wrong@')), /ACCESS.REFUSED|403/);
  for (const [name, run] of Object.entries(cases)) {
    const conn = await amqp.connect(url);
    await run(conn);
    await conn.close();
    console.log(`ok ${name}`);
  }
}

main().catch((e) => { console.error(e); process.exit(1); });
