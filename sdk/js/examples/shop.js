// A shop of one page that publishes what its visitor does: views, clicks and purchases.
import { createClient } from '/client.js';

const PRODUCTS = [
  { sku: 'yirgacheffe', name: 'Yirgacheffe', text: 'Jasmine and lemon, from Ethiopia.', cents: 1450 },
  { sku: 'huila', name: 'Huila', text: 'Caramel and red apple, from Colombia.', cents: 1290 },
  { sku: 'mandheling', name: 'Mandheling', text: 'Cedar and dark chocolate, from Sumatra.', cents: 1380 },
  { sku: 'nyeri', name: 'Nyeri', text: 'Blackcurrant and tomato, from Kenya.', cents: 1620 },
  { sku: 'decaf', name: 'Decaf', text: 'Cocoa and hazelnut, and a good night.', cents: 1190 },
  { sku: 'filter', name: 'Filter papers', text: 'A hundred, unbleached.', cents: 450 },
];

const byId = (id) => document.getElementById(id);
const visitor = `visitor-${Math.random().toString(36).slice(2, 8)}`;
const cart = [];

const weir = createClient({ source: '/in/demo', interval: 500, consent: sessionStorage.consent ?? 'pending' });

/** Tells Weir what happened; it goes out with the next batch, and the page does not wait for it. */
function tell(type, data) {
  void weir.publish(type, { ...data, bot: byId('bot').checked }, { subject: visitor });
  report();
}

const counts = {};
weir.on('flush', (results) => {
  for (const { status } of results) counts[status] = (counts[status] ?? 0) + 1;
  report();
});

function report() {
  const parts = Object.entries(counts).map(([status, count]) => `${count} ${status}`);
  byId('sent').textContent = [...parts, `${weir.queued} waiting`].join(' · ');
}

const money = new Intl.NumberFormat('en', { style: 'currency', currency: 'EUR' });

/** An element with properties and children. */
function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function buy(product) {
  return make('button', {
    textContent: 'Add to cart',
    onclick() {
      cart.push(product);
      byId('in-cart').textContent = cart.length;
      tell('cart.add', { sku: product.sku, cents: product.cents });
    },
  });
}

function list() {
  const cards = PRODUCTS.map((product) => make('li', { className: 'card' },
    make('h2', {}, make('a', { href: `#/product/${product.sku}`, textContent: product.name })),
    make('p', { textContent: product.text }),
    make('p', { className: 'price', textContent: money.format(product.cents / 100) }),
    buy(product)));
  return make('ul', { className: 'cards' }, ...cards);
}

function detail(sku) {
  const product = PRODUCTS.find((other) => other.sku == sku);
  if (!product) return list();
  tell('product.view', { sku });
  return make('article', { className: 'card' },
    make('h2', { textContent: product.name }),
    make('p', { textContent: product.text }),
    make('p', { className: 'price', textContent: money.format(product.cents / 100) }),
    buy(product));
}

function checkout() {
  const cents = cart.reduce((sum, product) => sum + product.cents, 0);
  const rows = cart.map(({ name, cents }) => make('li', {}, name, make('span', { textContent: money.format(cents / 100) })));
  return make('section', { className: 'card' },
    make('h2', { textContent: 'Your cart' }),
    rows.length ? make('ul', { className: 'rows' }, ...rows) : make('p', { textContent: 'There is nothing in it yet.' }),
    make('p', { className: 'price', textContent: `Total ${money.format(cents / 100)}` }),
    make('button', {
      textContent: 'Pay',
      disabled: !cart.length,
      onclick() {
        tell('order.paid', { cents, items: cart.length });
        cart.length = 0;
        byId('in-cart').textContent = 0;
        byId('view').replaceChildren(make('p', { className: 'card', textContent: 'Thank you! It is on its way.' }));
      },
    }));
}

function show() {
  const [, page, sku] = location.hash.split('/');
  tell('page.view', { path: location.hash || '#/' });
  byId('view').replaceChildren(page == 'product' ? detail(sku) : page == 'cart' ? checkout() : list());
}

byId('newsletter').addEventListener('submit', (submit) => {
  submit.preventDefault();
  tell('newsletter.join', Object.fromEntries(new FormData(submit.target)));
  submit.target.reset();
});
byId('consent').addEventListener('close', ({ target }) => {
  sessionStorage.consent = target.returnValue || 'denied';
  weir.setConsent(sessionStorage.consent);
  report();
});
addEventListener('hashchange', show);
show();
if (!sessionStorage.consent) byId('consent').showModal();
