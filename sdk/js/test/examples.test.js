// The examples, as `make run` serves them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { skip, visit } from './browser.js';
import { startDaemon, until } from './daemon.js';

for (const [colorScheme, width] of [['light', 360], ['dark', 1200]]) {
  test(`what a visitor of the shop does is on the dashboard (${colorScheme}, ${width} px)`, { skip }, async (t) => {
    const daemon = await startDaemon(t);
    const { context } = await visit(t, { colorScheme, viewport: { width, height: 800 } });
    const faults = [];
    const open = async (path) => {
      const tab = await context.newPage();
      tab.on('console', (line) => line.type() == 'error' && faults.push(line.text()));
      tab.on('pageerror', ({ message }) => faults.push(message));
      await tab.goto(daemon.url + path);
      return tab;
    };
    const dashboard = await open('/demo/dashboard');
    const shop = await open('/demo');
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
      assert.equal(await tab.evaluate('document.documentElement.scrollWidth - innerWidth'), 0, 'nothing sticks out');
    }
    assert.deepEqual(faults, []);
  });
}

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
