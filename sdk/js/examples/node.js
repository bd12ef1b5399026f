// Publishes three orders and prints whatever comes on `order.*`, its own among it.
//
//   make run                                  # in another terminal
//   node sdk/js/examples/node.js [URL]
//
// Uses the built client of this repository; an application says `import … from 'weir-client'`.
import { randomUUID } from 'node:crypto';
import { createClient } from '../dist/client.js';

const weir = createClient({ url: process.argv[2] ?? 'http://127.0.0.1:8080', source: '/in/demo' });
weir.on('error', ({ message, hint }) => console.error(message, hint ?? ''));
weir.on('gap', ({ channel, reason }) => console.error(`something is missing on ${channel}: ${reason}`));

const orders = [1290, 450, 1620].map((cents) => ({ id: randomUUID(), cents }));
const missing = new Set(orders.map(({ id }) => id));
await new Promise((done) => {
  const subscription = weir.subscribe('order.*', ({ id, type, time, data }) => {
    console.log(time, type, JSON.stringify(data));
    if (missing.delete(id) && !missing.size) done();
  });
  subscription.ready.then(async () => {
    const results = await Promise.all(orders.map(({ id, cents }) => weir.publish('order.paid', { cents }, { id })));
    console.log(results.map(({ status }) => status).join(' '));
  });
});
await weir.close();
