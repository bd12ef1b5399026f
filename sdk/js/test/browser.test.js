// The client in a real Chromium, as pages use it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { site, skip, visit } from './browser.js';
import { ACCESS, numbers, sleep, startDaemon, startGate, startWire, tokenFor, until } from './daemon.js';

const COUNT = 30;

/** Publishes on `tab` without waiting for verdicts. */
const publish = (tab, url, first = 0) =>
  tab.evaluate(`
    globalThis.weir ??= createClient({ url: '${url}', source: '/in', interval: 100 });
    for (let n = ${first}; n < ${first + COUNT}; n++) weir.publish('a', { n, text: 'x'.repeat(100) });
    weir.queued`);

/** Waits until each event is there, in this order unless they came in parts. */
async function arrive(daemon, count = COUNT) {
  const seen = async () => new Set((await daemon.events('a')).map(({ data }) => data.n));
  await until(async () => (await seen()).size == count, `${count} of ${count} events`);
}

test('30 of 30 arrive although the daemon was down', { skip }, async (t) => {
  const daemon = await startDaemon(t);
  const { tab } = await visit(t);
  await daemon.kill();
  assert.equal(await publish(tab, daemon.url), COUNT);
  await until(() => tab.evaluate('localStorage.length').then((kept) => kept == COUNT), 'they are kept');
  await daemon.start();
  await arrive(daemon);
  await until(() => tab.evaluate('localStorage.length + weir.queued').then((left) => left == 0), 'none is left');
});

test('30 of 30 arrive although the tab was closed meanwhile', { skip }, async (t) => {
  const daemon = await startDaemon(t);
  const { tab, open } = await visit(t);
  await daemon.kill();
  await publish(tab, daemon.url);
  await until(() => tab.evaluate('localStorage.length').then((kept) => kept == COUNT));
  await tab.close();
  await daemon.start();
  assert.deepEqual(await daemon.events('a'), []);
  const again = await open();
  await again.evaluate(`globalThis.weir = createClient({ url: '${daemon.url}', source: '/in' })`);
  await arrive(daemon);
  await until(() => again.evaluate('localStorage.length').then((left) => left == 0));
});

test('an open tab keeps what is its own', { skip }, async (t) => {
  const daemon = await startDaemon(t);
  const { tab, open } = await visit(t);
  await daemon.kill();
  await publish(tab, daemon.url);
  await until(() => tab.evaluate('localStorage.length').then((kept) => kept == COUNT));
  const other = await open();
  const queued = await other.evaluate(`
    globalThis.weir = createClient({ url: '${daemon.url}', source: '/in' });
    new Promise((done) => setTimeout(() => done(weir.queued), 300))`);
  assert.equal(queued, 0);
  await daemon.start();
  await arrive(daemon);
  assert.equal((await daemon.events('a')).length, COUNT, 'once each');
});

test('30 of 30 arrive although the daemon answers 503 for 5 s', { skip }, async (t) => {
  const daemon = await startDaemon(t);
  const gate = await startGate(t, daemon);
  const { tab } = await visit(t);
  const end = Date.now() + 5_000;
  gate.answer = ({ method }) => (method == 'POST' && Date.now() < end ? { status: 503, headers: { 'retry-after': '1' } } : undefined);
  await publish(tab, gate.url);
  await arrive(daemon);
  assert.equal((await daemon.events('a')).length, COUNT, 'once each');
});

for (const [how, leave] of [
  ['goes elsewhere', (tab) => tab.evaluate("location.href = '/away'").catch(() => {})],
  ['closes the tab', (tab) => tab.close()],
]) {
  test(`30 of 30 arrive although the visitor ${how} at once`, { skip }, async (t) => {
    const daemon = await startDaemon(t);
    const { tab } = await visit(t);
    await publish(tab, daemon.url);
    await leave(tab);
    await arrive(daemon);
  });
}

test('a page that is left while the daemon is busy leaves its events to the next', { skip }, async (t) => {
  const daemon = await startDaemon(t);
  const gate = await startGate(t, daemon);
  const { tab, open } = await visit(t);
  gate.answer = ({ method }) => (method == 'POST' ? { status: 503, headers: { 'retry-after': '60' } } : undefined);
  await publish(tab, gate.url);
  await until(() => tab.evaluate('localStorage.length').then((kept) => kept == COUNT));
  const asked = gate.requests.length;
  await tab.goto(`${site}/away`);
  await sleep(300);
  assert.equal(gate.requests.length, asked);
  gate.answer = () => undefined;
  const again = await open();
  await again.evaluate(`globalThis.weir = createClient({ url: '${gate.url}', source: '/in' })`);
  await arrive(daemon);
});

test('30 of 30 arrive although the browser was offline', { skip }, async (t) => {
  const daemon = await startDaemon(t);
  const { tab, context } = await visit(t);
  await context.setOffline(true);
  await publish(tab, daemon.url);
  await sleep(1_000);
  assert.equal(await tab.evaluate('weir.queued'), COUNT);
  await context.setOffline(false);
  await arrive(daemon);
});

test('without consent a page stores nothing', { skip }, async (t) => {
  const daemon = await startDaemon(t);
  const { tab } = await visit(t);
  const traces = await tab.evaluate(`(async () => {
    const weir = createClient({ url: '${daemon.url}', source: '/in', consent: 'pending' });
    weir.publish('a', { n: 1 });
    await weir.flush();
    dispatchEvent(new Event('pagehide'));
    const { held, pending } = await navigator.locks.query();
    return [localStorage.length, held.length + pending.length, weir.queued];
  })()`);
  assert.deepEqual(traces, [0, 0, 1]);
  assert.deepEqual(await daemon.events(), []);
});

test('0 of 5,000 are lost while every connection is cut after 400 ms', { skip }, async (t) => {
  const daemon = await startDaemon(t);
  const wire = await startWire(t, daemon);
  const { tab } = await visit(t);
  await tab.evaluate(`
    globalThis.got = [];
    globalThis.gaps = [];
    globalThis.weir = createClient({ url: '${wire.url}' });
    weir.on('gap', (gap) => gaps.push(gap));
    weir.subscribe('a', ({ data }) => got.push(data.n)).ready`);
  const timer = setInterval(wire.cut, 400);
  t.after(() => clearInterval(timer));
  for (let first = 0; first < 5_000; first += 10) {
    await daemon.publish('a', 10, first);
    await sleep(20);
  }
  await until(() => tab.evaluate('got.length >= 5000'), 'all come');
  assert.deepEqual(await tab.evaluate('got'), numbers(5_000));
  assert.deepEqual(await tab.evaluate('gaps'), []);
  t.diagnostic(`${wire.connections} connections`);
});

test('a page that is taken from the back-forward cache goes on', { skip }, async (t) => {
  const daemon = await startDaemon(t);
  const { tab } = await visit(t);
  await tab.evaluate(`
    globalThis.got = [];
    globalThis.weir = createClient({ url: '${daemon.url}', source: '/in', interval: 10 });
    weir.subscribe('a', ({ data }) => got.push(data.n)).ready`);
  await tab.goto(`${site}/away`);
  await daemon.publish('a', 10);
  await tab.goBack({ waitUntil: 'commit' });
  await until(() => tab.evaluate('globalThis.got?.length == 10'), 'what came meanwhile is replayed');
  assert.equal(await tab.evaluate(`weir.publish('b', { n: 0 }).then(({ status }) => status)`), 'delivered');
});

test('a worker publishes and subscribes', { skip }, async (t) => {
  const daemon = await startDaemon(t);
  const { tab } = await visit(t);
  const got = await tab.evaluate(`new Promise((done) => {
    const worker = new Worker('/worker.js', { type: 'module' });
    worker.onmessage = ({ data }) => done(data);
    worker.postMessage('${daemon.url}');
  })`);
  assert.equal(got, 'from a worker');
});

test('the daemon serves the client to pages of any origin', { skip }, async (t) => {
  const daemon = await startDaemon(t);
  const { tab } = await visit(t);
  const status = await tab.evaluate(`
    import('${daemon.url}/client.js')
      .then(({ createClient }) => createClient({ url: '${daemon.url}', source: '/in', interval: 0 }).publish('a', { n: 0 }))
      .then(({ status }) => status)`);
  assert.equal(status, 'delivered');
});

for (const transport of ['ws', 'sse']) {
  test(`${transport}: a page shows a token, and another when that has expired`, { skip }, async (t) => {
    const daemon = await startDaemon(t, { hub: ACCESS });
    const { tab } = await visit(t);
    let tokens = 0;
    await tab.exposeFunction('fetchToken', () => tokenFor(['a'], ++tokens > 1 ? 60 : 1.5));
    await tab.evaluate(`
      globalThis.got = [];
      globalThis.weir = createClient({ url: '${daemon.url}', token: fetchToken, ${transport == 'sse' ? 'WebSocket: false' : ''} });
      weir.subscribe('a', ({ data }) => got.push(data.n)).ready`);
    let count = 0;
    const state = () => tab.evaluate('weir.state');
    while (tokens < 2 || (await state()).status != 'connected') {
      await daemon.publish('a', 1, count++);
      await sleep(20);
    }
    assert.equal((await state()).transport, transport);
    await daemon.publish('a', 1, count++);
    await until(() => tab.evaluate('got.length').then((length) => length == count), 'all arrive');
    assert.deepEqual(await tab.evaluate('got'), numbers(count));
    const refused = tab.evaluate(`weir.subscribe('b', () => {}).ready.then(() => 'taken', ({ code }) => code)`);
    assert.equal(await refused, 'forbidden');
  });
}
