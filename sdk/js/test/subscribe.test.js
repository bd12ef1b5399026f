// Subscribing from Node to a real daemon, over WebSocket and SSE.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { createClient } from '../lib/index.js';
import { createSubscriber } from '../lib/subscribe.js';
import { ACCESS, freePort, numbers, sleep, startDaemon, startGate, startWire, tokenFor, until } from './daemon.js';

/** A subscriber that is closed with the test. */
function subscriber(t, options) {
  const made = createSubscriber({ WebSocket, ...options });
  t.after(() => made.close());
  return made;
}

/** Subscribes and collects what comes. */
function collect(made, channel, start) {
  const got = [];
  return Object.assign(made.subscribe(channel, ({ data }) => got.push(data.n), start), { got });
}

for (const [transport, options] of [['ws', {}], ['sse', { WebSocket: false }]]) {
  test(`${transport}: a channel, a pattern and the past`, async (t) => {
    const daemon = await startDaemon(t);
    await daemon.publish('chat.a', 5);
    const made = subscriber(t, { url: daemon.url, ...options });
    const one = collect(made, 'chat.a');
    const all = collect(made, 'chat.*');
    const past = collect(made, 'chat.a', { last: 2 });
    await Promise.all([one.ready, all.ready, past.ready]);
    assert.deepEqual([made.state.status, made.state.transport], ['connected', transport]);
    await daemon.publish('chat.a', 2, 5);
    await daemon.publish('chat.b', 1, 7);
    await daemon.publish('other', 1, 8);
    await until(() => all.got.length == 3 && past.got.length == 4);
    assert.deepEqual([one.got, all.got, past.got], [[5, 6], [5, 6, 7], [3, 4, 5, 6]]);
  });

  test(`${transport}: cut every 100 ms, nothing is lost, doubled or in another order`, async (t) => {
    const daemon = await startDaemon(t);
    const wire = await startWire(t, daemon);
    const made = subscriber(t, { url: wire.url, ...options });
    const [some, all] = [collect(made, 'a'), collect(made, '**')];
    let gaps = 0;
    made.on('gap', () => gaps++);
    await Promise.all([some.ready, all.ready]);
    const timer = setInterval(wire.cut, 100);
    for (let n = 0; n < 500; n++) {
      await daemon.publish(n % 2 ? 'a' : 'b', 1, n);
      await sleep(2);
    }
    clearInterval(timer);
    await until(() => all.got.length >= 500 && some.got.length >= 250);
    assert.deepEqual(all.got, numbers(500));
    assert.deepEqual(some.got, numbers(250).map((n) => 2 * n + 1));
    assert.equal(gaps, 0);
    assert.ok(wire.connections >= 2);
  });

  test(`${transport}: who comes later gets its own past, and nobody loses any`, async (t) => {
    const daemon = await startDaemon(t);
    await daemon.publish('a', 3);
    const reply = await fetch(`${daemon.url}/live/main/history?channel=a`);
    const { cursor } = await reply.json();
    await daemon.publish('a', 500, 3);
    await daemon.publish('b', 500);
    const made = subscriber(t, { url: daemon.url, ...options });
    const first = collect(made, 'quiet');
    await first.ready;
    // Different places, one of them overlapping another, while events come in.
    const publishing = daemon.publish('a', 500, 503);
    const late = [collect(made, 'a', { since: cursor }), collect(made, 'b', { last: 10 })];
    await Promise.all(late.map(({ ready }) => ready));
    const overlapping = [collect(made, '*', { since: cursor }), collect(made, 'a', { last: 5 })];
    await Promise.all(overlapping.map(({ ready }) => ready));
    await publishing;
    await daemon.publish('a', 1, 1_003);
    await until(() => [late[0], ...overlapping].every(({ got }) => got.at(-1) == 1_003));
    assert.deepEqual(late[0].got, numbers(1_001, 3));
    assert.deepEqual(late[1].got, numbers(10, 490));
    assert.deepEqual(overlapping[0].got, [...numbers(500, 3), ...numbers(500), ...numbers(501, 503)]);
    assert.deepEqual(overlapping[1].got.slice(-6), numbers(6, 998));
    assert.deepEqual(first.got, []);
  });

  test(`${transport}: what is gone is a gap`, async (t) => {
    const daemon = await startDaemon(t, { history: 5 });
    const made = subscriber(t, { url: daemon.url, ...options });
    const gaps = [];
    made.on('gap', (gap) => gaps.push(gap));
    const live = collect(made, 'a');
    await live.ready;
    const since = live.cursor;
    await daemon.publish('a', 20);
    await until(() => live.got.length == 20);
    assert.deepEqual(gaps, []);
    const late = subscriber(t, { url: daemon.url, ...options });
    late.on('gap', (gap) => gaps.push(gap));
    const got = collect(late, 'a', { since });
    await until(() => got.got.length == 5);
    assert.deepEqual(got.got, numbers(5, 15));
    const [{ channel, reason, missed_from, cursor }] = gaps.splice(0);
    assert.deepEqual([channel, reason, missed_from], ['a', 'expired', since]);
    assert.equal(cursor.split('.')[1], '15');
    // Another life of the daemon.
    await daemon.kill();
    await daemon.start();
    await until(() => gaps.length == 2);
    assert.deepEqual(gaps.map(({ reason }) => reason), ['restarted', 'restarted']);
    await daemon.publish('a', 1, 99);
    await until(() => live.got.at(-1) == 99 && got.got.at(-1) == 99);
  });
}

test('where no WebSocket gets through, SSE does', async (t) => {
  const daemon = await startDaemon(t);
  const gate = await startGate(t, daemon);
  const made = subscriber(t, { url: gate.url });
  const a = collect(made, 'a');
  await a.ready;
  assert.equal(made.state.transport, 'sse');
  await daemon.publish('a', 3);
  await until(() => a.got.length == 3);
});

test('a daemon that drains is left and found again', async (t) => {
  const daemon = await startDaemon(t);
  const made = subscriber(t, { url: daemon.url });
  const states = [];
  made.on('state', ({ status }) => states.push(status));
  const a = collect(made, 'a');
  await a.ready;
  await daemon.publish('a', 10);
  await daemon.stop();
  await daemon.start();
  await until(() => made.state.status == 'connected');
  await daemon.publish('a', 10, 10);
  await until(() => a.got.length == 20);
  assert.deepEqual(a.got, numbers(20));
  assert.deepEqual(states.slice(0, 3), ['connecting', 'connected', 'reconnecting']);
});

for (const [transport, options] of [['ws', {}], ['sse', { WebSocket: false }]]) {
  test(`${transport}: tokens expire and are asked for again, and nothing is lost`, async (t) => {
    const daemon = await startDaemon(t, { hub: ACCESS });
    let tokens = 0;
    const token = async () => tokenFor(['a'], ++tokens > 2 ? 60 : 1.5);
    const made = subscriber(t, { url: daemon.url, token, ...options });
    const errors = [];
    made.on('error', ({ code }) => errors.push(code));
    const a = collect(made, 'a');
    await a.ready;
    let count = 0;
    while (tokens < 3 || made.state.status != 'connected') {
      await daemon.publish('a', 1, count++);
      await sleep(20);
    }
    await daemon.publish('a', 1, count++);
    await until(() => a.got.length == count, 'all arrive');
    assert.deepEqual(a.got, numbers(count));
    assert.ok(errors.includes('token_expired'), errors.join());
  });

  test(`${transport}: a token is good for its channels alone`, async (t) => {
    const daemon = await startDaemon(t, { hub: ACCESS });
    const may = subscriber(t, { url: daemon.url, token: tokenFor(['chat.*'], 60), ...options });
    const past = collect(may, 'chat.a', { last: 5 });
    const news = collect(may, 'public.news');
    await Promise.all([past.ready, news.ready]);
    await assert.rejects(collect(may, 'orders').ready, { code: 'forbidden' });
    const nobody = subscriber(t, { url: daemon.url, ...options });
    await collect(nobody, 'public.news').ready;
    await assert.rejects(collect(nobody, 'chat.a').ready, { code: 'unauthorized' });
    const liar = subscriber(t, { url: daemon.url, token: tokenFor(['**'], 60) + 'x', ...options });
    await assert.rejects(collect(liar, 'orders').ready);
  });
}

test('a refused token is asked for again', async (t) => {
  const daemon = await startDaemon(t);
  const gate = await startGate(t, daemon);
  gate.answer = ({ headers }) => (headers.authorization == 'Bearer 2' ? undefined : 401);
  let tokens = 0;
  const made = subscriber(t, { url: gate.url, WebSocket: false, token: async () => String(++tokens) });
  await collect(made, 'a').ready;
  assert.equal(tokens, 2);
});

test('who may not or cannot is told, and the others go on', async (t) => {
  const daemon = await startDaemon(t);
  const made = subscriber(t, { url: daemon.url });
  assert.throws(() => made.subscribe('a..b', () => {}), TypeError);
  const a = collect(made, 'a');
  await a.ready;
  const many = numbers(64).map((n) => collect(made, `many.${n}`));
  const outcomes = await Promise.allSettled(many.map(({ ready }) => ready));
  assert.deepEqual(outcomes.map(({ status }) => status), [...Array(63).fill('fulfilled'), 'rejected']);
  assert.match(outcomes[63].reason.hint, /pattern/);
  await daemon.publish('a', 1);
  await until(() => a.got.length == 1);
  const nowhere = subscriber(t, { url: daemon.url, hub: 'none' });
  await assert.rejects(collect(nowhere, 'a').ready, { code: 'not_found', retryable: false });
  assert.equal(nowhere.state.status, 'closed');
});

test('a handler that throws stops nobody else', async (t) => {
  const daemon = await startDaemon(t);
  const made = subscriber(t, { url: daemon.url });
  const { reject } = Promise;
  const reported = [];
  Promise.reject = (error) => void reported.push(error.message);
  t.after(() => (Promise.reject = reject));
  made.subscribe('a', () => {
    throw new Error('mine');
  });
  const a = collect(made, 'a');
  await a.ready;
  await daemon.publish('a', 2);
  await until(() => a.got.length == 2);
  assert.deepEqual(reported, ['mine', 'mine'], 'as uncaught');
});

test('an unused connection ends, and a used one does not', async (t) => {
  const daemon = await startDaemon(t);
  const made = subscriber(t, { url: daemon.url });
  // As React mounts in development: twice, with an end between.
  made.subscribe('a', () => {}).unsubscribe();
  const a = collect(made, 'a');
  await a.ready;
  const b = collect(made, 'b');
  await b.ready;
  a.unsubscribe();
  await daemon.publish('a', 1);
  await daemon.publish('b', 1);
  await until(() => b.got.length == 1);
  assert.deepEqual(a.got, []);
  b.unsubscribe();
  await until(() => made.state.status == 'idle');
  const again = collect(made, 'a', { last: 1 });
  await again.ready;
  assert.deepEqual(again.got, [0]);
});

test('messages come in a loop, and whoever lags is told what it lost', async (t) => {
  const daemon = await startDaemon(t);
  const client = createClient({ url: daemon.url, WebSocket });
  t.after(() => client.close());
  const gaps = [];
  client.on('gap', (gap) => gaps.push(gap));
  await daemon.publish('a', 10);
  const got = [];
  const cursors = [];
  for await (const { data, cursor } of client.messages('a', { last: 10, most: 4 })) {
    got.push(data.n);
    cursors.push(cursor);
    if (data.n == 9) break;
  }
  assert.deepEqual(got, [0, 7, 8, 9]);
  assert.deepEqual(gaps.map(({ missed_from }) => missed_from), [cursors[0]]);
  assert.equal(gaps[0].cursor.split('.')[1], '7', 'the event with n = 6 is the last one lost');
  const loop = (async () => {
    for await (const _ of client.messages('a'));
  })();
  await until(() => client.state.status == 'connected');
  await client.close();
  await loop;
});

test('forty clients do not come back together', async (t) => {
  const port = await freePort();
  const attempts = [];
  class Refused {
    constructor() {
      attempts.push(performance.now());
      setTimeout(() => this.onclose({ code: 1006, reason: '' }), 1);
    }
    close() {}
  }
  const refused = async () => {
    attempts.push(performance.now());
    throw new TypeError('refused');
  };
  const start = performance.now();
  for (let n = 0; n < 40; n++) {
    const made = subscriber(t, { url: `http://127.0.0.1:${port}`, WebSocket: Refused, fetch: refused });
    made.subscribe('a', () => {});
  }
  await sleep(15_000);
  const late = attempts.filter((at) => at - start > 5_000);
  const densest = Math.max(...late.map((from) => late.filter((at) => at >= from && at < from + 100).length));
  assert.ok(late.length > 40, `${late.length} attempts`);
  t.diagnostic(`${attempts.length} attempts, ${late.length} after 5 s, at most ${densest} in 100 ms`);
  assert.ok(densest <= 0.15 * late.length, `${densest} of ${late.length} within 100 ms`);
});
