// Draws what the visitors of the shop do, live. No chart library: bars are rectangles.
import { createClient } from '/client.js';

const SECONDS = 60;
const ROWS_MAX = 15;
/** The way to a purchase: types of events, and what to call them. */
const STEPS = [['page.view', 'Visited'], ['product.view', 'Looked at a coffee'], ['cart.add', 'Took one'], ['order.paid', 'Paid']];

const byId = (id) => document.getElementById(id);
const weir = createClient({ source: '/in/demo' });

/** Events by the second in which they happened. */
const rate = new Map();
/** Visitors by the type of event that they caused. */
const visitors = new Map();
const totals = { events: 0, orders: 0, cents: 0, missed: 0 };
const latest = [];

weir.subscribe('**', (event) => {
  const second = Math.floor(Date.parse(event.time) / 1_000);
  rate.set(second, (rate.get(second) ?? 0) + 1);
  if (!visitors.has(event.type)) visitors.set(event.type, new Set());
  visitors.get(event.type).add(event.subject);
  totals.events++;
  if (event.type == 'order.paid') {
    totals.orders++;
    totals.cents += event.data.cents;
  }
  latest.unshift(event);
  latest.length = Math.min(latest.length, ROWS_MAX);
}, { last: 500 });

weir.on('gap', () => totals.missed++);
weir.on('state', ({ status, transport, retryAt }) => {
  const pause = retryAt ? `, next attempt in ${Math.ceil((retryAt - Date.now()) / 1_000)} s` : '';
  byId('state').textContent = status + pause;
  byId('state').className = status;
  byId('state').title = transport ?? '';
});

/** An element with properties and children. */
function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function drawRate(now) {
  const counts = Array.from({ length: SECONDS }, (_, n) => rate.get(now - SECONDS + 1 + n) ?? 0);
  for (const second of rate.keys()) if (second <= now - SECONDS) rate.delete(second);
  const most = Math.max(5, ...counts);
  byId('rate').replaceChildren(...counts.map((count, n) => {
    const bar = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
    const height = (count / most) * 120;
    for (const [name, value] of Object.entries({ x: n * 10 + 1, y: 120 - height, width: 8, height })) bar.setAttribute(name, value);
    return bar;
  }));
  byId('now').textContent = `${counts.at(-2)} now, ${Math.max(...counts)} at most`;
}

function drawFunnel() {
  const counts = STEPS.map(([type]) => visitors.get(type)?.size ?? 0);
  byId('funnel').replaceChildren(...STEPS.map(([, name], step) => {
    const share = counts[0] ? counts[step] / counts[0] : 0;
    const bar = make('progress', { value: Math.min(1, share) });
    return make('li', {}, make('span', { textContent: name }), bar, make('b', { textContent: counts[step] }),
      make('span', { textContent: `${Math.round(share * 100)} %` }));
  }));
}

const money = new Intl.NumberFormat('en', { style: 'currency', currency: 'EUR' });
const clock = new Intl.DateTimeFormat('en', { timeStyle: 'medium', hourCycle: 'h23' });

function draw() {
  drawRate(Math.floor(Date.now() / 1_000));
  drawFunnel();
  const figures = { Events: totals.events, Orders: totals.orders, Revenue: money.format(totals.cents / 100) };
  if (totals.missed) figures['Gaps in what came'] = totals.missed;
  byId('totals').replaceChildren(...Object.entries(figures).map(([name, value]) =>
    make('div', {}, make('dt', { textContent: name }), make('dd', { textContent: value }))));
  byId('latest').replaceChildren(...latest.map(({ time, type, subject, data }) => {
    const { bot, ...shown } = data;
    const texts = [clock.format(new Date(time)), type, subject ?? '', JSON.stringify(shown)];
    return make('tr', {}, ...texts.map((textContent) => make('td', { textContent })));
  }));
  byId('empty').hidden = latest.length > 0;
}
setInterval(draw, 250);
draw();

const sleep = (millis) => new Promise((done) => setTimeout(done, millis));

/** A visitor who gives up at some point. */
async function visit(subject) {
  const cents = 1_000 + Math.floor(Math.random() * 1_000);
  for (const [step, [type]] of STEPS.entries()) {
    await sleep(Math.random() * 4_000);
    if (step && Math.random() < 0.3) return;
    void weir.publish(type, step == 3 ? { cents, items: 1 } : { sku: 'huila', cents }, { subject });
  }
}
byId('simulate').addEventListener('click', () => {
  for (let n = 0; n < 20; n++) void visit(`simulated-${Math.random().toString(36).slice(2, 8)}`);
});
