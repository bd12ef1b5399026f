// Who is on a channel, from Node to a real daemon and in a browser.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { createClient } from '../lib/index.js';
import { createPresence } from '../lib/presence.js';
import { createSubscriber } from '../lib/subscribe.js';
import { skip, visit } from './browser.js';
import { ACCESS, startDaemon, startWire, tokenFor, until } from './daemon.js';

/** A client of `user`, closed with the test. */
function client(t, url, user, options) {
  const made = createClient({ url, WebSocket, token: tokenFor(['room.*'], 600, user, { name: user.toUpperCase() }), ...options });
  t.after(() => made.close());
  return made;
}

const users = ({ members }) => members.map(({ user }) => user).sort().join();

test('members are there, come and go', async (t) => {
  const daemon = await startDaemon(t, { hub: ACCESS });
  const [ada, bob] = ['ada', 'bob'].map((user) => client(t, daemon.url, user));
  const told = [];
  const room = ada.presence('room.1', (change) => told.push(change));
  await room.ready;
  assert.deepEqual(room.members, [{ user: 'ada', info: { name: 'ADA' } }]);
  const other = bob.presence('room.1');
  await other.ready;
  assert.equal(users(other), 'ada,bob');
  await until(() => told.length == 2);
  assert.deepEqual(told[1].joined, { user: 'bob', info: { name: 'BOB' } });
  assert.equal(users(room), 'ada,bob');
  // Once per user, however many parts of a page want to know.
  const again = [];
  const twin = ada.presence('room.1', (change) => again.push(users(change)));
  assert.deepEqual(again, ['ada,bob']);
  twin.leave();
  bob.close();
  await until(() => told.length == 3);
  assert.deepEqual([told[2].left.user, users(told[2]), users(room)], ['bob', 'ada', 'ada']);
  assert.deepEqual(again, ['ada,bob'], 'who has left is told nothing');
});

test('who leaves may go on listening', async (t) => {
  const daemon = await startDaemon(t, { hub: ACCESS });
  const [ada, bob] = ['ada', 'bob'].map((user) => client(t, daemon.url, user));
  const watching = bob.presence('room.1');
  await watching.ready;
  const got = [];
  await ada.subscribe('room.1', ({ data }) => got.push(data.n)).ready;
  const room = ada.presence('room.1');
  await until(() => users(watching) == 'ada,bob');
  room.leave();
  await until(() => users(watching) == 'bob');
  await daemon.publish('room.1', 3);
  await until(() => got.length == 3);
  // And may come back.
  const back = ada.presence('room.1');
  await back.ready;
  await until(() => users(watching) == 'ada,bob');
});

test('after a cut everybody is there again, and who has gone meanwhile is not', async (t) => {
  const daemon = await startDaemon(t, { hub: ACCESS });
  const wire = await startWire(t, daemon);
  const ada = client(t, wire.url, 'ada');
  const [bob, eve] = ['bob', 'eve'].map((user) => client(t, daemon.url, user));
  const room = ada.presence('room.1');
  const [other, third] = [bob.presence('room.1'), eve.presence('room.1')];
  await until(() => [room, other, third].every((one) => users(one) == 'ada,bob,eve'));
  wire.cut();
  await until(() => users(other) == 'bob,eve');
  eve.close();
  await until(() => users(room) == 'ada,bob' && users(other) == 'ada,bob');
});

test('who is nobody, may not or cannot is told', async (t) => {
  const daemon = await startDaemon(t, { hub: ACCESS });
  const nobody = client(t, daemon.url, 'ada', { token: undefined });
  await assert.rejects(nobody.presence('public.a').ready, { code: 'forbidden' });
  const ada = client(t, daemon.url, 'ada');
  await assert.rejects(ada.presence('other').ready, { code: 'forbidden' });
  await assert.rejects(ada.presence('room.*').ready, { code: 'bad_request' });
  assert.throws(() => ada.presence('a..b'), TypeError);
  const room = ada.presence('room.1');
  await room.ready;
  assert.equal(users(room), 'ada');
  // Over SSE one listens and nobody is there.
  const deaf = client(t, daemon.url, 'bob', { WebSocket: false });
  const seen = deaf.presence('room.1');
  await until(() => deaf.state.status == 'connected');
  assert.deepEqual(seen.members, []);
  assert.equal(users(room), 'ada');
});

test('a subscriber without the rest of the client has presence as well', async (t) => {
  const daemon = await startDaemon(t, { hub: ACCESS });
  const made = createSubscriber({ url: daemon.url, WebSocket, token: tokenFor(['**'], 60, 'zoe') });
  t.after(() => made.close());
  const room = createPresence(made)('room.1');
  await room.ready;
  assert.equal(users(room), 'zoe');
});

test('tabs of a browser see each other', { skip }, async (t) => {
  const daemon = await startDaemon(t, { hub: ACCESS });
  const { open, tab } = await visit(t);
  const other = await open();
  const enter = (page, user) => page.evaluate(async ([url, token]) => {
    window.room = window.createClient({ url, token }).presence('room.1');
    await window.room.ready;
  }, [daemon.url, tokenFor(['room.*'], 60, user)]);
  await Promise.all([enter(tab, 'ada'), enter(other, 'bob')]);
  const seen = (page) => page.evaluate('room.members.map(({ user }) => user).sort().join()');
  await until(async () => (await seen(tab)) == 'ada,bob' && (await seen(other)) == 'ada,bob');
  await other.close();
  await until(async () => (await seen(tab)) == 'ada');
});
