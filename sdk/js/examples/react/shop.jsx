// The shop: tells what its visitor does, without waiting for it.
import { useEffect, useState } from 'react';
import { usePublish } from 'weir-client/react';

const PRODUCTS = [
  { sku: 'yirgacheffe', name: 'Yirgacheffe', text: 'Jasmine and lemon, from Ethiopia.', cents: 1450 },
  { sku: 'huila', name: 'Huila', text: 'Caramel and red apple, from Colombia.', cents: 1290 },
  { sku: 'nyeri', name: 'Nyeri', text: 'Blackcurrant and tomato, from Kenya.', cents: 1620 },
];
const subject = `visitor-${Math.random().toString(36).slice(2, 8)}`;

export const money = new Intl.NumberFormat('en', { style: 'currency', currency: 'EUR' });

export function Shop() {
  const publish = usePublish();
  const [cart, setCart] = useState([]);
  const [verdict, setVerdict] = useState('');
  const tell = (type, data) => publish(type, data, { subject });
  useEffect(() => void tell('page.view', { path: '/' }), []);
  const cents = cart.reduce((sum, product) => sum + product.cents, 0);
  const pay = async () => {
    setCart([]);
    const { status } = await tell('order.paid', { cents, items: cart.length });
    setVerdict(`Thank you! Your order is ${status}.`);
  };
  return (
    <>
      {PRODUCTS.map((product) => (
        <article className="card" key={product.sku} onMouseEnter={() => tell('product.view', { sku: product.sku })}>
          <h2>{product.name}</h2>
          <p>{product.text}</p>
          <p className="price">{money.format(product.cents / 100)}</p>
          <button
            onClick={() => {
              setCart([...cart, product]);
              tell('cart.add', { sku: product.sku, cents: product.cents });
            }}
          >
            Add to cart
          </button>
        </article>
      ))}
      <section className="card">
        <h2>Cart</h2>
        <p>{cart.length} in it, <span className="price">{money.format(cents / 100)}</span></p>
        <button disabled={!cart.length} onClick={pay}>Pay</button>
        <p role="status">{verdict}</p>
      </section>
    </>
  );
}
