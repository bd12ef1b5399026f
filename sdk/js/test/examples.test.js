// The examples, as `make run` serves them.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { skip, visit } from './browser.js';
import { CHAT, startDaemon, until } from './daemon.js';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));

/** A Node program of the examples, and what it prints. */
function program(t, path, args, env) {
  const child = spawn(process.execPath, [at(path), ...args], { env: { ...process.env, ...env } });
  t.after(() => child.kill());
  child.text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (child.text += text));
  return child;
}

/** Opens a page and collects what goes wrong in it. */
async function open(context, url, faults) {
  const tab = await context.newPage();
  tab.on('console', (line) => line.type() == 'error' && faults.push(line.text()));
  tab.on('pageerror', ({ message }) => faults.push(message));
  await tab.goto(url);
  return tab;
}

const sticksOut = (tab) => tab.evaluate('document.documentElement.scrollWidth - innerWidth');

for (const [colorScheme, width] of [['light', 360], ['dark', 1200]]) {
  test(`what a visitor of the shop does is on the dashboard (${colorScheme}, ${width} px)`, { skip }, async (t) => {
    const daemon = await startDaemon(t);
    const { context } = await visit(t, { colorScheme, viewport: { width, height: 800 } });
    const faults = [];
    const dashboard = await open(context, `${daemon.url}/demo/dashboard`, faults);
    const shop = await open(context, `${daemon.url}/demo`, faults);
    assert.deepEqual(await daemon.events(), [], 'nothing is told before the visitor has agreed');
    await shop.click('button[value=granted]');
    await shop.click('text=Huila');
    await shop.click('text=Add to cart');
    await shop.click('text=Cart (1)');
    await shop.click('text=Pay');
    await until(() => shop.textContent('#sent').then((text) => text.startsWith('6 delivered')));
    const seen = async () => (await dashboard.locator('#latest tr td:nth-child(2)').allTextContents()).join(' ');
    await until(async () => (await seen()) == 'order.paid page.view cart.add product.view page.view page.view');
    await until(() => dashboard.textContent('#totals').then((text) => text == 'Events6Orders1Revenue€12.90'));
    assert.equal(await dashboard.textContent('#state'), 'connected');
    assert.match(await dashboard.textContent('#funnel li:last-child'), /Paid1100 %/);
    for (const tab of [shop, dashboard]) {
      assert.equal(await sticksOut(tab), 0, 'nothing sticks out');
    }
    assert.deepEqual(faults, []);
  });

  test(`the same in React (${colorScheme}, ${width} px)`, { skip }, async (t) => {
    const daemon = await startDaemon(t);
    const { outputFiles } = await build({
      entryPoints: [at('../examples/react/main.jsx')], bundle: true, format: 'esm', jsx: 'automatic', outdir: 'out', write: false,
      // One React for all, even where the example's own is installed.
      alias: {
        'weir-client': at('../lib/index.js'), 'weir-client/react': at('../lib/react.js'),
        react: at('../node_modules/react'), 'react-dom': at('../node_modules/react-dom'),
      },
      define: { 'process.env.NODE_ENV': '"production"' },
    });
    const { context } = await visit(t, { colorScheme, viewport: { width, height: 800 } });
    // As its own server does: the page and the daemon have one origin.
    const [script, style] = ['.js', '.css'].map((end) => outputFiles.find(({ path }) => path.endsWith(end)).text);
    const page = readFileSync(at('../examples/react/index.html'), 'utf8').replace('</head>', `<style>${style}</style></head>`);
    await context.route(`${daemon.url}/react/`, (route) => route.fulfill({ contentType: 'text/html', body: page }));
    await context.route(`${daemon.url}/react/main.jsx`, (route) => route.fulfill({ contentType: 'text/javascript', body: script }));
    const faults = [];
    const tab = await open(context, `${daemon.url}/react/`, faults);
    await until(() => tab.textContent('#state').then((text) => text == 'connected'));
    assert.deepEqual(await daemon.events(), [], 'nothing is told before the visitor has agreed');
    await tab.click('text=Yes');
    await tab.click('article:has-text("Huila") button');
    await tab.click('text=Pay');
    await until(() => tab.textContent('p[role=status]').then((text) => text == 'Thank you! Your order is delivered.'));
    await until(() => tab.textContent('#totals').then((text) => text.endsWith('Revenue€12.90')));
    const types = (await tab.locator('#latest tr td:nth-child(2)').allTextContents()).join(' ');
    assert.match(types, /^order.paid cart.add product.view .*page.view$/);
    assert.match(await tab.textContent('#funnel li:last-child'), /Paid1100 %/);
    assert.equal(await sticksOut(tab), 0, 'nothing sticks out');
    assert.deepEqual(faults, []);
  });

  test(`a chat with the libraries of Pusher (${colorScheme}, ${width} px)`, { skip }, async (t) => {
    const daemon = await startDaemon(t, CHAT);
    const server = program(t, '../examples/pusher/server.js', [], { PORT: '0', WEIR_PORT: String(daemon.port) });
    await until(() => server.text.includes('http://'), 'the server starts');
    const [url] = server.text.match(/http:\S+/);
    const { context } = await visit(t, { colorScheme, viewport: { width, height: 800 } });
    const faults = [];
    const ada = await open(context, `${url}/?user=Ada`, faults);
    await until(() => ada.textContent('#members').then((text) => text == 'Adayou'));
    const bob = await open(context, `${url}/?user=Bob`, faults);
    await until(() => ada.textContent('#members').then((text) => text == 'AdayouBob'));
    await bob.locator('input').pressSequentially('Good morning');
    await until(() => ada.textContent('#typing').then((text) => text == 'Bob is typing'));
    await bob.click('button');
    for (const tab of [ada, bob]) {
      await until(() => tab.textContent('#said').then((text) => text == 'BobGood morning'));
      assert.equal(await sticksOut(tab), 0, 'nothing sticks out');
    }
    await bob.close();
    await until(() => ada.textContent('#members').then((text) => text == 'Adayou'));
    assert.deepEqual(faults, []);
  });
}

test('a script publishes and gets its own back', async (t) => {
  const daemon = await startDaemon(t);
  const script = program(t, '../examples/node.js', [daemon.url]);
  const [code] = await once(script, 'exit');
  assert.equal(code, 0, script.text);
  assert.match(script.text, /delivered delivered delivered/);
  assert.deepEqual([...script.text.matchAll(/order.paid {"cents":(\d+)}/g)].map(([, cents]) => cents), ['1290', '450', '1620']);
});

test('who says no is not counted', { skip }, async (t) => {
  const daemon = await startDaemon(t);
  const { context } = await visit(t);
  const shop = await context.newPage();
  await shop.goto(`${daemon.url}/demo`);
  await shop.click('button[value=denied]');
  await shop.click('text=Huila');
  await shop.click('text=Add to cart');
  await until(() => shop.textContent('#in-cart').then((count) => count == '1'));
  assert.equal(await shop.textContent('#sent'), '0 waiting');
  assert.deepEqual(await daemon.events(), []);
});
