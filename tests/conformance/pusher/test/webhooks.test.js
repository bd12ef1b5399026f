// What happens on channels, told to a server that checks it with the node library.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { test } from 'node:test';

import { connected, freePort, sleep, startApplication, startDaemon, subscribed, until } from './daemon.js';

/** A server for webhooks that answers `status()`. */
async function startReceiver(t, port, status) {
  const told = [];
  const server = http.createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    told.push({ headers: request.headers, rawBody: body, at: Date.now() });
    response.writeHead(status(told.length)).end();
  }).listen(port, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return told;
}

test('webhooks tell what happens, signed, again if they must, and no leave that was undone', async (t) => {
  const port = await freePort();
  const told = await startReceiver(t, port, (count) => (count == 1 ? 500 : 200));
  const daemon = await startDaemon(t, `webhooks = [{ url = "http://127.0.0.1:${port}/hook" }]`);
  const events = () => told.slice(1).flatMap((request) => {
    const webhook = daemon.server.webhook(request);
    assert.ok(webhook.isValid(), request.rawBody);
    assert.ok(Math.abs(webhook.getTime() - request.at) < 5_000);
    return webhook.getEvents();
  });
  const page = await startApplication(t, daemon);
  const client = await connected(daemon.client(page('ada')));
  const { channel } = await subscribed(client, 'presence-cache-a');
  channel.trigger('client-typing', { on: true });
  await until(() => events().length >= 4, () => daemon.log());
  assert.ok(told[1].at - told[0].at > 400, 'it was tried again after a pause');
  const socket_id = client.connection.socket_id;
  const on = { channel: 'presence-cache-a' };
  const came = [
    { name: 'cache_miss', ...on },
    { name: 'channel_occupied', ...on },
    { name: 'member_added', ...on, user_id: 'ada' },
    { name: 'client_event', ...on, event: 'client-typing', data: '{"on":true}', socket_id, user_id: 'ada' },
  ];
  assert.deepEqual(events(), came);
  client.unsubscribe('presence-cache-a');
  await sleep(500);
  await subscribed(client, 'presence-cache-a');
  await until(() => events().length == 5);
  client.disconnect();
  await until(() => events().length >= 7);
  assert.deepEqual(events().slice(4), [
    { name: 'cache_miss', ...on },
    { name: 'member_removed', ...on, user_id: 'ada' },
    { name: 'channel_vacated', ...on },
  ]);
});
