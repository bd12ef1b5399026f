// Adds the tax to orders and drops pings.
//
// For TypeScript: rename this file to index.ts, in `main` of package.json too, and `npm install --save-dev esbuild`.
import { plugin, keep, drop, set, fail } from '../weir/plugin.js';

const tax = (/** @type {{ rate: number }} */ config) => {
  if (!(config.rate >= 0 && config.rate < 1)) throw new Error('`rate` is a fraction, such as 0.19');
  return (/** @type {import('../weir/plugin.js').Event} */ event) => {
    if (event.type === 'ping') return drop();
    if (event.type !== 'order') return keep();
    const net = event.field('net');
    if (typeof net !== 'number') return fail('an order has a `net`');
    return set({ tax: net * config.rate });
  };
};

// `fields` names what it reads of JSON data: the daemon finds it, which is much faster than event.json().
export const { lifecycle, transform } = plugin(tax, { fields: ['net'] });
