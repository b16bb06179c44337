// A client of amqplib's for test_proxy_libraries.py:
//
//     amqplib_client.js URL QUEUE consume       a line for each message, which is acknowledged
//     amqplib_client.js URL QUEUE publish BODY  ends when it is confirmed
'use strict';
const amqp = require('amqplib');
const [url, queue, what, body] = process.argv.slice(2);

async function consume(conn) {
  const ch = await conn.createChannel();
  await ch.prefetch(5);
  await ch.consume(queue, (message) => {
    if (message === null) throw new Error('cancelled');
    process.stdout.write(message.content.toString() + '\n');
    ch.ack(message);
  });
}

async function publish(conn) {
  const ch = await conn.createConfirmChannel();
  ch.sendToQueue(queue, Buffer.from(body), {persistent: true});
  await ch.waitForConfirms();
  await conn.close();
}

amqp.connect(url).then(what === 'consume' ? consume : publish).catch((error) => {
  process.stderr.write(error.stack + '\n');
  process.exit(1);
});
