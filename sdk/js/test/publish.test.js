// Publishing from Node to a real daemon.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPublisher } from '../lib/publish.js';
import { numbers, sleep, startDaemon, startGate, until } from './daemon.js';

/** A publisher that is closed with the test. */
function publisher(t, options) {
  const made = createPublisher({ source: '/in', interval: 20, ...options });
  t.after(() => made.close());
  return made;
}

const isPost = ({ method }) => method == 'POST';

test('events go out in batches and every one has its verdict', async (t) => {
  const daemon = await startDaemon(t);
  const gate = await startGate(t, daemon);
  const { publish } = publisher(t, { url: gate.url, context: () => ({ tenant: 'a' }) });
  const results = await Promise.all(numbers(120).map((n) => publish('cart.add', { n }, { subject: 's' })));
  assert.deepEqual(new Set(results.map(({ status }) => status)), new Set(['delivered']));
  const events = await daemon.events();
  assert.deepEqual(events.map(({ id }) => id), results.map(({ id }) => id), 'in the order of the calls');
  assert.deepEqual(events.map(({ data }) => data.n), numbers(120));
  assert.equal(events[0].subject, 's');
  assert.equal(events[0].tenant, 'a');
  assert.ok(gate.requests.length <= 4, `${gate.requests.length} requests`);
  assert.equal(gate.requests[0].headers['content-encoding'], 'gzip');
});

test('a busy daemon is asked again when it says so, and not before', async (t) => {
  const daemon = await startDaemon(t);
  const gate = await startGate(t, daemon);
  let refusals = 2;
  gate.answer = () => (refusals-- > 0 ? { status: 503, headers: { 'retry-after': '1' } } : undefined);
  const { publish, on } = publisher(t, { url: gate.url });
  const errors = [];
  on('error', ({ code, retryable }) => errors.push([code, retryable]));
  const first = publish('a', 1);
  await until(() => gate.requests.length == 1);
  // Whoever publishes meanwhile does not shorten the pause.
  const others = numbers(100).map((n) => publish('a', n + 2));
  const results = await Promise.all([first, ...others]);
  assert.ok(results.every(({ status }) => status == 'delivered'));
  assert.deepEqual((await daemon.events()).map(({ data }) => data), numbers(101).map((n) => n + 1));
  const [one, two, three] = gate.requests.map(({ at }) => at);
  assert.ok(two - one >= 990 && three - two >= 990, `${two - one} and ${three - two} ms`);
  assert.deepEqual(errors, [['http_503', true], ['http_503', true]]);
});

test('an event whose verdict was lost is sent again with the same id', async (t) => {
  const daemon = await startDaemon(t);
  const gate = await startGate(t, daemon);
  let cuts = 1;
  gate.answer = () => (cuts-- > 0 ? 'cut' : undefined);
  const { publish } = publisher(t, { url: gate.url });
  const { id, status } = await publish('a', 1);
  assert.match(status, /delivered|duplicate/);
  assert.equal(gate.requests.length, 2);
  assert.deepEqual(new Set((await daemon.events()).map((event) => event.id)), new Set([id]));
});

test('a batch that is too large is halved until it fits', async (t) => {
  const daemon = await startDaemon(t);
  const { publish } = publisher(t, { url: daemon.url, batch: 50 });
  const text = 'x'.repeat(4_000);
  const results = await Promise.all(numbers(40).map((n) => publish('a', { n, text })));
  assert.ok(results.every(({ status }) => status == 'delivered'));
  assert.equal((await daemon.events()).length, 40);
  const { status, code } = await publish('a', 'x'.repeat(100_000));
  assert.deepEqual([status, code], ['dropped', 'too_large']);
});

test('a bad event fails alone', async (t) => {
  const daemon = await startDaemon(t);
  const { publish, on } = publisher(t, { url: daemon.url });
  const dropped = [];
  on('drop', ({ id }) => dropped.push(id));
  const results = await Promise.all([publish('a', 1), publish('', 2, { id: 'bad' }), publish('a', 3)]);
  assert.deepEqual(results.map(({ status }) => status), ['delivered', 'rejected', 'delivered']);
  assert.equal(results[1].code, 'bad_request');
  const circle = {};
  circle.circle = circle;
  assert.deepEqual((await publish('a', circle, { id: 'circle' })).code, 'bad_data');
  assert.deepEqual(dropped, ['bad', 'circle']);
});

test('what never can be taken is given up and said', async (t) => {
  const daemon = await startDaemon(t);
  const { publish } = publisher(t, { url: daemon.url, source: '/nowhere' });
  const { status, code } = await publish('a', 1);
  assert.deepEqual([status, code], ['dropped', 'not_found']);
});

test('the queue has bounds, and the oldest go first', async (t) => {
  const { publish, on, flush } = publisher(t, { url: 'http://127.0.0.1:9', queue: { events: 3, age: 100 } });
  const dropped = [];
  on('drop', ({ id, code }) => dropped.push([id, code]));
  for (const id of ['1', '2', '3', '4', '5']) void publish('a', 0, { id });
  assert.deepEqual(dropped, [['1', 'queue_full'], ['2', 'queue_full']]);
  await sleep(150);
  assert.equal(await flush(), 0);
  assert.deepEqual(dropped.slice(2), [['3', 'expired'], ['4', 'expired'], ['5', 'expired']]);
});

test('without consent nothing is sent and nothing is stored', async (t) => {
  const daemon = await startDaemon(t);
  const gate = await startGate(t, daemon);
  const calls = [];
  const store = {
    put: (id) => calls.push(`put ${id}`),
    remove: (id) => calls.push(`remove ${id}`),
    adopt: async () => (calls.push('adopt'), [['old', '1{"id":"old","type":"a","data":0}']]),
  };
  const made = publisher(t, { url: gate.url, consent: 'pending', store });
  const first = made.publish('a', 1);
  await made.flush();
  assert.deepEqual([made.queued, gate.requests.length, calls.length], [1, 0, 0]);
  made.setConsent('denied');
  assert.deepEqual((await first).code, 'consent');
  await until(() => calls.includes('remove old'), 'what older pages stored is purged');
  assert.equal((await made.publish('a', 2)).code, 'consent');
  made.setConsent('granted');
  assert.equal((await made.publish('a', 3)).status, 'delivered');
  assert.deepEqual((await daemon.events()).map(({ data }) => data), [3]);
});

test('events of an earlier page are sent first', async (t) => {
  const daemon = await startDaemon(t);
  const kept = new Map([['old', `${Date.now()}{"id":"old","type":"a","data":"old"}`]]);
  const store = { put: (id, text) => kept.set(id, text), remove: (id) => kept.delete(id), adopt: async () => [...kept] };
  const { publish } = publisher(t, { url: daemon.url, store });
  await publish('a', 'new');
  assert.deepEqual((await daemon.events()).map(({ data }) => data), ['old', 'new']);
  assert.equal(kept.size, 0);
});

test('a broken store or packer loses nothing', async (t) => {
  const daemon = await startDaemon(t);
  const fail = () => {
    throw new Error('full');
  };
  const { CompressionStream } = globalThis;
  t.after(() => (globalThis.CompressionStream = CompressionStream));
  let failures = 1;
  globalThis.CompressionStream = class {
    constructor(kind) {
      if (failures-- > 0) fail();
      return new CompressionStream(kind);
    }
  };
  const store = { put: fail, remove: fail, adopt: async () => fail() };
  const { publish } = publisher(t, { url: daemon.url, store });
  assert.equal((await publish('a', 'x'.repeat(2_000))).status, 'delivered');
  assert.ok(failures < 0, 'it failed and was tried again');
});

test('a refused token is asked for again', async (t) => {
  const daemon = await startDaemon(t);
  const gate = await startGate(t, daemon);
  gate.answer = ({ headers }) => (headers.authorization == 'Bearer 2' ? undefined : 401);
  let tokens = 0;
  const { publish } = publisher(t, { url: gate.url, token: async () => String(++tokens) });
  assert.equal((await publish('a', 1)).status, 'delivered');
  assert.equal(tokens, 2);
  const fixed = publisher(t, { url: gate.url, token: 'wrong' });
  assert.equal((await fixed.publish('a', 1)).status, 'dropped');
});

test('closing sends what waits, and says what could not be sent', async (t) => {
  const daemon = await startDaemon(t);
  const gate = await startGate(t, daemon);
  const made = createPublisher({ url: gate.url, source: '/in' });
  const result = made.publish('a', 1);
  await made.close();
  assert.equal((await result).status, 'delivered');
  assert.equal((await made.publish('a', 2)).code, 'closed');
  const away = createPublisher({ url: 'http://127.0.0.1:9', source: '/in' });
  const lost = away.publish('a', 1);
  await away.close();
  assert.deepEqual([(await lost).status, (await lost).code], ['dropped', 'closed']);
  assert.equal(gate.requests.filter(isPost).length, 1);
});
