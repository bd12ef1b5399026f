// Tabs that share a connection.
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { build } from 'esbuild';
import { skip, visit } from './browser.js';
import { numbers, sleep, startDaemon, startWire, until } from './daemon.js';

/** Tabs of one site, each with the client in it. */
async function visitWithTabs(t) {
  const entry = fileURLToPath(new URL('../lib/tabs.js', import.meta.url));
  const { outputFiles } = await build({ entryPoints: [entry], bundle: true, format: 'esm', write: false });
  const { open, tab } = await visit(t);
  await tab.close();
  const daemon = await startDaemon(t);
  const wire = await startWire(t, daemon);
  return {
    daemon,
    wire,
    async open(start = '{}') {
      const tab = await open();
      const content = outputFiles[0].text.replace(/export \{[^]*\}/, 'globalThis.createTabs = createTabs');
      await tab.addScriptTag({ type: 'module', content });
      await tab.waitForFunction('globalThis.createTabs');
      await tab.evaluate(`
        globalThis.got = [];
        globalThis.gaps = [];
        globalThis.weir = createTabs({ url: '${wire.url}' });
        globalThis.states = [];
        weir.on('gap', (gap) => gaps.push(gap));
        weir.on('state', ({ status }) => states.push(status));
        weir.subscribe('a', ({ data }) => got.push(data.n), ${start}).ready`);
      return tab;
    },
  };
}

const has = (tab, count) => until(() => tab.evaluate(`got.length >= ${count}`), `${count} come`);

test('tabs share a connection, and each gets what it wants', { skip }, async (t) => {
  const { daemon, wire, open } = await visitWithTabs(t);
  const first = await open();
  await daemon.publish('a', 10);
  await has(first, 10);
  const [second, third] = [await open(), await open('{ last: 5 }')];
  await daemon.publish('a', 10, 10);
  await Promise.all([has(first, 20), has(second, 10), has(third, 15)]);
  assert.deepEqual(await first.evaluate('got'), numbers(20));
  assert.deepEqual(await second.evaluate('got'), numbers(10, 10));
  assert.deepEqual(await third.evaluate('got'), numbers(15, 5));
  for (const tab of [first, second, third]) assert.equal(await tab.evaluate('weir.state.status'), 'connected');
  const refused = await second.evaluate(`weir.subscribe('x'.repeat(300), () => {}).ready.catch(({ code }) => code)`);
  assert.equal(refused, 'bad_request');
  assert.equal(wire.live(), 1);
  // Whoever is gone needs nothing any more.
  await first.evaluate(`
    globalThis.sent = [];
    const { send } = WebSocket.prototype;
    WebSocket.prototype.send = function (text) {
      sent.push(JSON.parse(text));
      send.call(this, text);
    }`);
  await third.evaluate(`weir.subscribe('b', () => {}).ready`);
  await third.close();
  await until(() => first.evaluate(`sent.some(({ type, channels }) => type == 'unsub' && channels[0] == 'b')`));
});

for (const [how, part] of [
  ['is closed', (tab) => tab.close()],
  ['goes into the back-forward cache', (tab) => tab.evaluate("location.href = '/away'")],
]) {
  test(`another tab leads when the leader ${how}, and nothing is lost`, { skip }, async (t) => {
    const { daemon, open } = await visitWithTabs(t);
    const [first, second, third] = [await open(), await open(), await open()];
    let n = 0;
    const timer = setInterval(() => daemon.publish('a', 1, n++), 5);
    t.after(() => clearInterval(timer));
    await sleep(300);
    await part(first);
    const [at, newest] = [Date.now(), n];
    await until(() => second.evaluate(`got.at(-1) > ${newest}`), 'the next one leads');
    t.diagnostic(`live again after ${Date.now() - at} ms`);
    await sleep(300);
    clearInterval(timer);
    await Promise.all([has(second, n), has(third, n)]);
    const all = (await daemon.events('a')).map(({ data }) => data.n);
    for (const tab of [second, third]) {
      assert.deepEqual(await tab.evaluate('got'), all);
      assert.deepEqual(await tab.evaluate('gaps'), []);
      assert.ok(await tab.evaluate(`!states.includes('closed')`));
    }
  });
}
