// A real Chromium, and pages in it whose origin is not the daemon's.
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import http from 'node:http';
import { after, before } from 'node:test';
import { chromium } from 'playwright-core';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';

/** Why tests in a browser cannot run here; in CI they must. */
export const skip = !existsSync(CHROMIUM) && !process.env.CI && `there is no ${CHROMIUM}`;

const client = readFileSync(new URL('../dist/client.js', import.meta.url));
const page = '<!doctype html><title>page</title><script type="module">Object.assign(window, await import("/client.js"))</script>';
const worker = `
  import { createClient } from '/client.js';
  onmessage = async ({ data: url }) => {
    const weir = createClient({ url, source: '/in', interval: 10 });
    weir.subscribe('a', ({ data }) => postMessage(data));
    const off = weir.on('state', async ({ status }) => status == 'connected' && (off(), await weir.publish('a', 'from a worker')));
  };`;
const FILES = {
  '/': ['text/html', page],
  '/away': ['text/html', '<!doctype html><title>away</title>'],
  '/client.js': ['text/javascript', client],
  '/worker.js': ['text/javascript', worker],
};

let browser;
let server;
/** The origin of the pages. */
export let site;

before(async () => {
  if (skip) return console.log(`*** ${skip}: the tests in a browser are SKIPPED ***`);
  server = http.createServer(({ url }, response) => {
    const [type, text] = FILES[url] ?? ['text/plain', ''];
    response.writeHead(200, { 'content-type': type }).end(text);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  site = `http://127.0.0.1:${server.address().port}`;
  const ignoreDefaultArgs = ['--disable-back-forward-cache'];
  // A page that a test makes up has no address, and may not connect to this machine otherwise.
  const args = ['--no-sandbox', '--disable-features=LocalNetworkAccessChecks'];
  browser = await chromium.launch({ executablePath: CHROMIUM, args, ignoreDefaultArgs });
});
after(async () => {
  await browser?.close();
  server?.closeAllConnections();
  server?.close();
});

/** A browser of its own, what opens tabs with the client in it, and one of them. */
export async function visit(t, options) {
  const context = await browser.newContext(options);
  t.after(() => context.close());
  const open = async () => {
    const tab = await context.newPage();
    await tab.goto(site);
    await tab.waitForFunction('window.createClient');
    return tab;
  };
  return { context, open, tab: await open() };
}
