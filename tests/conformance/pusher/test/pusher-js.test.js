// pusher-js and the node library, each row of the protocol that a page or a server can observe.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import WebSocket from 'ws';

import { APP, connected, next, sleep, startApplication, startDaemon, subscribed, until } from './daemon.js';

test('a published event reaches a public channel byte for byte, but not the excluded connection', async (t) => {
  const daemon = await startDaemon(t);
  const [one, other] = [await connected(daemon.client()), await connected(daemon.client())];
  assert.match(one.connection.socket_id, /^\d+\.\d+$/);
  const channels = [(await subscribed(one, 'chat.room')).channel, (await subscribed(other, 'chat.room')).channel];
  const seen = [[], []];
  channels.forEach((channel, index) => channel.bind_global((name, data) => seen[index].push([name, data])));
  const reply = await daemon.server.trigger('chat.room', 'greet', { text: 'ü "quoted"\n' }, { socket_id: one.connection.socket_id });
  assert.equal(reply.status, 200);
  assert.deepEqual(await reply.json(), {});
  await daemon.server.trigger(['chat.room', 'another'], 'plain', 'no { json');
  await until(() => seen[0].length == 1 && seen[1].length == 2);
  assert.deepEqual(seen[1], [['greet', { text: 'ü "quoted"\n' }], ['plain', 'no { json']]);
  assert.deepEqual(seen[0], [['plain', 'no { json']]);
  one.unsubscribe('chat.room');
  await sleep(50);
  await daemon.server.trigger('chat.room', 'later', 1);
  await until(() => seen[1].length == 3);
  assert.equal(seen[0].length, 1);
});

test('events of any source reach the channel that they name', async (t) => {
  const daemon = await startDaemon(t);
  const { channel } = await subscribed(daemon.client(), 'cart.add');
  const event = next(channel, 'cart.add');
  await fetch(`${daemon.url}/in?type=cart.add`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"sku":"a1"}' });
  assert.deepEqual(await event, { sku: 'a1' });
});

test('private channels need the signature of the connection that subscribes', async (t) => {
  const daemon = await startDaemon(t);
  const page = await startApplication(t, daemon);
  const good = await subscribed(daemon.client(page('ada')), 'private-orders');
  assert.ok(good.data, JSON.stringify(good.error));
  const replayed = daemon.server.authorizeChannel('1.2', 'private-orders');
  const forged = { auth: `${APP.key}:${'0'.repeat(64)}` };
  const foreign = { auth: `other:${'0'.repeat(64)}` };
  for (const answer of [replayed, forged, foreign]) {
    const customHandler = (_, done) => done(null, answer);
    const { error } = await subscribed(daemon.client({ channelAuthorization: { customHandler } }), 'private-orders');
    assert.equal(error.type, 'AuthError');
    assert.equal(error.status, 401);
  }
  const bare = await subscribed(daemon.client({ channelAuthorization: { customHandler: (_, done) => done(null, { auth: '' }) } }), 'private-orders');
  assert.equal(bare.error.status, 401);
  const event = next(good.channel, 'paid');
  await daemon.server.trigger('private-orders', 'paid', { id: 1 });
  assert.deepEqual(await event, { id: 1 });
});

test('presence counts users, not connections', async (t) => {
  const daemon = await startDaemon(t);
  const page = await startApplication(t, daemon);
  const { channel: ada, data } = await subscribed(daemon.client(page('ada')), 'presence-room');
  assert.equal(data.count, 1);
  assert.deepEqual(data.me, { id: 'ada', info: { name: 'user ada' } });
  const seen = [];
  ada.bind('pusher:member_added', (member) => seen.push(['+', member.id, member.info?.name]));
  ada.bind('pusher:member_removed', (member) => seen.push(['-', member.id]));
  const tabs = [daemon.client(page('bob')), daemon.client(page('bob'))];
  for (const tab of tabs) assert.equal((await subscribed(tab, 'presence-room')).data.count, 2);
  await until(() => seen.length == 1);
  tabs[0].disconnect();
  await sleep(100);
  assert.deepEqual(seen, [['+', 'bob', 'user bob']]);
  tabs[1].unsubscribe('presence-room');
  await until(() => seen.length == 2);
  assert.deepEqual(seen[1], ['-', 'bob']);
  assert.equal(ada.members.count, 1);
});

test('what a member tells must be JSON with an id, and there are as many as may be', async (t) => {
  const daemon = await startDaemon(t, 'limits = { members = 1, member = "100B" }');
  const client = await connected(daemon.client());
  const answers = [];
  client.connection.bind('message', ({ event, data }) => event.includes('subscription') && answers.push({ event, data }));
  const join = async (data, channel) => {
    const auth = `${APP.key}:${daemon.server.config.token.sign(`${client.connection.socket_id}:${channel}:${data}`)}`;
    const known = answers.length;
    client.send_event('pusher:subscribe', { auth, channel, channel_data: data });
    await until(() => answers.length > known);
    return answers.at(-1).data;
  };
  const first = await join('{"user_id":7,"user_info":{"a":1}}', 'presence-a');
  assert.deepEqual(first.presence, { ids: ['7'], hash: { 7: { a: 1 } }, count: 1 });
  for (const data of ['not json', '{}', '[]', '{"user_id":""}', '{"user_id":{}}', `{"user_id":"${'x'.repeat(100)}"}`]) {
    assert.equal((await join(data, 'presence-b')).status, 400, data);
  }
  const page = await startApplication(t, daemon);
  const { error } = await subscribed(daemon.client(page('ada')), 'presence-a');
  assert.deepEqual([error.type, error.status], ['LimitReached', 403]);
});

test('client events go to the others on the channel, with who sent them', async (t) => {
  const daemon = await startDaemon(t, 'limits = { event = "100B" }');
  const page = await startApplication(t, daemon);
  const [one, other] = [daemon.client(page('ada')), daemon.client(page('bob'))];
  const [{ channel: from }, { channel: to }] = [await subscribed(one, 'presence-chat'), await subscribed(other, 'presence-chat')];
  const own = [];
  from.bind('client-typing', (data) => own.push(data));
  const event = next(to, 'client-typing');
  assert.equal(from.trigger('client-typing', { on: true }), true);
  const { metadata, ...data } = await event;
  assert.deepEqual(data, { on: true });
  assert.deepEqual(metadata, { user_id: 'ada' });
  assert.deepEqual(own, []);
  const errors = [];
  one.connection.bind('error', ({ data }) => errors.push(data));
  from.trigger('client-large', { text: 'x'.repeat(200) });
  const { channel: open } = await subscribed(one, 'open');
  one.send_event('client-open', {}, 'open');
  one.send_event('client-elsewhere', {}, 'private-elsewhere');
  one.send_event('pusher:fake', {}, 'presence-chat');
  await until(() => errors.length == 4, () => JSON.stringify(errors));
  assert.deepEqual(errors.map(({ code }) => code), [4301, 4301, 4301, null]);
  for (let n = 0; n < 30; n++) from.trigger('client-typing', { n });
  await until(() => errors.length > 4);
  assert.ok(errors.slice(4).every(({ code }) => code == 4301), JSON.stringify(errors));
  assert.equal(one.connection.state, 'connected');
  assert.ok(open.subscribed);
});

test('without leave there are no client events', async (t) => {
  const daemon = await startDaemon(t, 'client_events = false');
  const page = await startApplication(t, daemon);
  const client = daemon.client(page('ada'));
  const { channel } = await subscribed(client, 'private-chat');
  const error = next(client.connection, 'error');
  channel.trigger('client-typing', {});
  assert.equal((await error).data.code, 4301);
});

test('encrypted channels pass through', async (t) => {
  const daemon = await startDaemon(t);
  const customHandler = ({ socketId, channelName }, done) => done(null, daemon.server.authorizeChannel(socketId, channelName));
  const client = daemon.client({ channelAuthorization: { customHandler } });
  const { channel } = await subscribed(client, 'private-encrypted-a');
  const event = next(channel, 'secret');
  await daemon.server.trigger('private-encrypted-a', 'secret', { text: 'hush' });
  assert.deepEqual(await event, { text: 'hush' });
});

test('a cache channel greets with its last event, or says that it has none', async (t) => {
  const daemon = await startDaemon(t);
  const first = daemon.client();
  const channel = first.subscribe('cache-rates');
  await next(channel, 'pusher:cache_miss');
  await daemon.server.trigger('cache-rates', 'rate', { n: 1 });
  await daemon.server.trigger('cache-rates', 'rate', { n: 2 });
  const later = daemon.client().subscribe('cache-rates');
  const order = [];
  later.bind_global((name, data) => order.push([name, data.n]));
  await until(() => order.length == 2);
  assert.deepEqual(order, [['pusher:subscription_succeeded', undefined], ['rate', 2]]);
  const told = await (await daemon.server.get({ path: '/channels/cache-rates', params: { info: 'cache,subscription_count' } })).json();
  assert.equal(told.cache.data, '{"n":2}');
  assert.ok(told.cache.ttl > 1700);
  assert.deepEqual([told.occupied, told.subscription_count], [true, 2]);
});

test('a user signs in, is reached by id, and is ended', async (t) => {
  const daemon = await startDaemon(t);
  const page = await startApplication(t, daemon);
  const [ada, bob] = [daemon.client(page('ada')), daemon.client(page('bob'))];
  for (const client of [ada, bob]) client.signin();
  await until(() => [ada, bob].every((client) => client.user.user_data && client.user.serverToUserChannel?.subscribed));
  const event = next(ada.user, 'invoice');
  const others = [];
  bob.user.bind('invoice', (data) => others.push(data));
  await daemon.server.sendToUser('ada', 'invoice', { id: 3 });
  assert.deepEqual(await event, { id: 3 });
  assert.deepEqual(others, []);
  const stranger = await connected(daemon.client());
  const told = new Promise((done) => stranger.connection.bind('message', done));
  stranger.send_event('pusher:subscribe', { auth: '', channel: '#server-to-user-ada' });
  assert.equal((await told).data.status, 401);
  await daemon.server.terminateUserConnections('ada');
  await until(() => ada.connection.state == 'disconnected');
  await sleep(1_200);
  assert.equal(ada.connection.state, 'disconnected', 'it does not come back');
  assert.equal(bob.connection.state, 'connected');
});

test('a false sign-in ends the connection for good', async (t) => {
  const daemon = await startDaemon(t);
  const customHandler = (_, done) => done(null, { auth: `${APP.key}:${'0'.repeat(64)}`, user_data: '{"id":"ada"}' });
  const client = daemon.client({ userAuthentication: { customHandler } });
  client.signin();
  await until(() => client.connection.state == 'disconnected');
});

test('subscribers are counted', async (t) => {
  const daemon = await startDaemon(t, 'subscription_counts = true');
  const { channel } = await subscribed(daemon.client(), 'room');
  await until(() => channel.subscriptionCount == 1);
  const other = daemon.client();
  await subscribed(other, 'room');
  await until(() => channel.subscriptionCount == 2);
  other.unsubscribe('room');
  await until(() => channel.subscriptionCount == 1);
});

test('the server library asks about channels and users', async (t) => {
  const daemon = await startDaemon(t);
  const page = await startApplication(t, daemon);
  await subscribed(daemon.client(page('ada')), 'presence-a');
  await subscribed(daemon.client(page('bob')), 'presence-a');
  await subscribed(daemon.client(), 'public');
  const get = async (path, params) => (await daemon.server.get({ path, params })).json();
  assert.deepEqual(await get('/channels', {}), { channels: { 'presence-a': {}, public: {} } });
  assert.deepEqual(await get('/channels', { filter_by_prefix: 'presence-', info: 'user_count' }), { channels: { 'presence-a': { user_count: 2 } } });
  assert.deepEqual(await get('/channels/presence-a', { info: 'user_count,subscription_count' }), { user_count: 2, subscription_count: 2, occupied: true });
  assert.deepEqual(await get('/channels/nobody', {}), { occupied: false });
  assert.deepEqual(await get('/channels/presence-a/users', {}), { users: [{ id: 'ada' }, { id: 'bob' }] });
  for (const [path, params] of [['/channels', { info: 'user_count' }], ['/channels/public/users', {}], ['/channels/public', { info: 'user_count' }]]) {
    await assert.rejects(daemon.server.get({ path, params }), { status: 400 });
  }
  const info = await daemon.server.trigger(['presence-a', 'public'], 'e', {}, { info: 'user_count,subscription_count' });
  assert.deepEqual(await info.json(), { channels: { 'presence-a': { user_count: 2, subscription_count: 2 }, public: { subscription_count: 1 } } });
  const batch = await daemon.server.triggerBatch([
    { channel: 'public', name: 'a', data: { n: 1 }, info: 'subscription_count' },
    { channel: 'elsewhere', name: 'b', data: { n: 2 } },
  ]);
  assert.deepEqual(await batch.json(), { batch: [{ subscription_count: 1 }, {}] });
});

test('bad requests get the status that says so', async (t) => {
  const daemon = await startDaemon(t);
  const post = (body, path = '/events') => daemon.server.post({ path, body });
  const rejected = (promise, status) => assert.rejects(promise, { status });
  await rejected(post({ name: 'e', channel: 'a', data: 'x'.repeat(10_241) }), 413);
  await rejected(post({ name: 'e', channel: 'a b', data: 'x' }), 400);
  await rejected(post({ name: 'pusher:error', channel: 'a', data: 'x' }), 400);
  await rejected(post({ name: 'e', channel: 'a', data: 'x', socket_id: 'nope' }), 400);
  await rejected(post({ name: 'e', data: 'x' }), 400);
  await rejected(post({ name: 'e', channels: Array.from({ length: 101 }, (_, n) => `c${n}`), data: 'x' }), 400);
  await rejected(post({ batch: Array.from({ length: 11 }, () => ({ name: 'e', channel: 'a', data: 'x' })) }, '/batch_events'), 400);
  await rejected(post({}, '/nothing'), 404);
  const reply = (query, method = 'POST') => fetch(`${daemon.url}/apps/1/events?${query}`, { method, body: method == 'POST' ? '{}' : undefined });
  assert.equal((await reply('')).status, 401);
  const old = `auth_key=${APP.key}&auth_version=1.0&auth_timestamp=1&body_md5=99914b932bd37a50b983c5e7c90ae93b&auth_signature=00`;
  assert.match(await (await reply(old)).text(), /auth_timestamp/);
  const now = Math.floor(Date.now() / 1000);
  assert.match(await (await reply(old.replace('timestamp=1', `timestamp=${now}`))).text(), /signature is not valid/);
  assert.match(await (await reply(old.replace('99914', '00000').replace('timestamp=1', `timestamp=${now}`))).text(), /body_md5/);
  assert.equal((await fetch(`${daemon.url}/apps/9/events`, { method: 'POST' })).status, 404);
});

test('an app whose events no pipeline takes says so', async (t) => {
  const pipeline = '[[source]]\ntype = "http"\npath = "/in"\n\n[[sink]]\ntype = "broadcast"\n';
  const daemon = await startDaemon(t, '', pipeline);
  await assert.rejects(daemon.server.trigger('a', 'e', {}), (error) => error.status == 503 && /no pipeline takes/.test(error.body));
});

/** Connects by hand; answers every message until the close, and its code. */
function raw(daemon, path, headers = {}, first = []) {
  return new Promise((done, failed) => {
    const messages = [];
    const socket = new WebSocket(`ws://127.0.0.1:${daemon.port}${path}`, { headers });
    socket.on('message', (text) => messages.push(JSON.parse(text)));
    socket.on('open', () => first.forEach((message) => socket.send(message)));
    socket.on('close', (code) => done({ messages, code, socket }));
    socket.on('error', failed);
  });
}

test('whoever cannot connect is told so in the socket, with a code', async (t) => {
  const daemon = await startDaemon(t, 'origins = ["https://shop.example.com"]');
  for (const [code, path, headers] of [
    [4001, '/app/other?protocol=7'],
    [4005, `/app/${APP.key}/more?protocol=7`],
    [4006, `/app/${APP.key}?protocol=seven`],
    [4007, `/app/${APP.key}?protocol=4`],
    [4008, `/app/${APP.key}`],
    [4009, `/app/${APP.key}?protocol=7`, { origin: 'https://evil.example.com' }],
  ]) {
    const told = await raw(daemon, path, headers);
    assert.equal(told.code, code, path);
    assert.equal(told.messages[0].event, 'pusher:error');
    assert.equal(told.messages[0].data.code, code);
  }
  await connected(daemon.client());
  const stranger = daemon.client({}, 'other');
  await until(() => stranger.connection.state == 'disconnected');
});

test('protocols 5 and 6 are spoken, and origins that may connect do', async (t) => {
  const daemon = await startDaemon(t, 'origins = ["https://shop.example.com"]');
  for (const version of [5, 6, 7]) {
    const socket = new WebSocket(`ws://127.0.0.1:${daemon.port}/app/${APP.key}?protocol=${version}`, { headers: { origin: 'https://shop.example.com' } });
    const message = await new Promise((done) => socket.once('message', (text) => done(JSON.parse(text))));
    assert.equal(message.event, 'pusher:connection_established');
    assert.equal(JSON.parse(message.data).activity_timeout, 120);
    socket.close();
  }
});

test('as many connect as may', async (t) => {
  const daemon = await startDaemon(t, 'limits = { connections = 1, channels = 2 }');
  const one = await connected(daemon.client());
  const other = daemon.client();
  await until(() => other.connection.state == 'disconnected');
  for (const name of ['a', 'b']) assert.ok((await subscribed(one, name)).data);
  assert.equal((await subscribed(one, 'c')).error.type, 'LimitReached');
  const errors = [];
  one.connection.bind('error', ({ data }) => errors.push(data));
  one.send_event('pusher:subscribe', { auth: '', channel: 'a' });
  await until(() => errors.length == 1);
  assert.deepEqual(errors, [{ code: null, message: 'Existing subscription to channel a' }]);
});

test('nonsense is answered, and ends a connection that sends nothing else', async (t) => {
  const daemon = await startDaemon(t);
  const nonsense = ['', 'text', '{}', '[]', '{"event":1}', '{"event":"pusher:subscribe"}', '{"event":"pusher:subscribe","data":"no"}', '{"event":"unknown"}'];
  const { messages, code } = await raw(daemon, `/app/${APP.key}?protocol=7`, {}, [...nonsense, ...Array(10).fill('{')]);
  assert.equal(messages[0].event, 'pusher:connection_established');
  const errors = messages.slice(1, -1);
  assert.ok(errors.every(({ event, data }) => event == 'pusher:error' && data.code === null), JSON.stringify(errors));
  assert.equal(errors.length, 17);
  assert.equal(code, 1008);
  const double = await raw(daemon, `/app/${APP.key}?protocol=7`, {}, [
    JSON.stringify({ event: 'pusher:subscribe', data: '{"channel":"from-a-string"}' }),
    JSON.stringify({ event: 'pusher:subscribe', data: { channel: 'bad name' } }),
    'x', ...Array(20).fill('x'),
  ]);
  assert.deepEqual(double.messages[1], { event: 'pusher_internal:subscription_succeeded', channel: 'from-a-string', data: '{}' });
  assert.equal(double.messages[2].data.status, 400);
});

test('a silent connection is asked, and closed if it does not answer', async (t) => {
  const daemon = await startDaemon(t, 'activity_timeout = "1s"');
  const quiet = await connected(daemon.client());
  const mute = await raw(daemon, `/app/${APP.key}?protocol=7`);
  assert.deepEqual(mute.messages.map(({ event }) => event), ['pusher:connection_established', 'pusher:ping', 'pusher:error']);
  assert.equal(mute.code, 4201);
  assert.equal(quiet.connection.state, 'connected');
  const states = [];
  quiet.connection.bind('state_change', (change) => states.push(change));
  await sleep(2_500);
  assert.deepEqual(states, []);
});

test('a daemon that goes away sends its clients off', async (t) => {
  const daemon = await startDaemon(t);
  const client = await connected(daemon.client());
  const closed = until(() => client.connection.state != 'connected');
  await daemon.stop();
  await closed;
});

test('private channels of an app are not for subscribers of the hub', async (t) => {
  const daemon = await startDaemon(t);
  const history = (channel) => fetch(`${daemon.url}/live/main/history?channel=${channel}&last=10`);
  await daemon.server.trigger(['open', 'private-a'], 'e', {});
  await daemon.server.sendToUser('x', 'e', {});
  assert.equal((await history('private-a')).status, 400);
  const { events } = await (await history('**')).json();
  assert.deepEqual(events.map(({ channel }) => channel), ['open']);
});
