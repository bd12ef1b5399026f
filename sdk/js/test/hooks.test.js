// The hooks for React and Vue, in a page that uses them.
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { build } from 'esbuild';
import { skip, visit } from './browser.js';
import { ACCESS, startDaemon, tokenFor, until } from './daemon.js';

/** A client that counts who subscribes, and where to draw. */
const SETUP = `
  import { createClient } from '../lib/index.js';
  const weir = createClient({ url: globalThis.url, source: '/in', interval: 0, token: globalThis.token });
  globalThis.subscribed = 0;
  const { subscribe } = weir;
  weir.subscribe = (...args) => {
    subscribed++;
    const { unsubscribe } = subscribe(...args);
    return { unsubscribe: () => (subscribed--, unsubscribe()) };
  };
  const root = document.body.appendChild(document.createElement('main'));`;

// In strict mode everything is mounted twice, with an end between.
const REACT = `
  import { createElement as h, StrictMode, useState } from 'react';
  import { createRoot } from 'react-dom/client';
  import { WeirProvider, useChannel, useMembers, usePublish, useWeirState } from '../lib/react.js';
  ${SETUP}
  function App() {
    const [channel, setChannel] = useState('a');
    const [got, setGot] = useState([]);
    const publish = usePublish();
    useChannel(channel, ({ data }) => setGot([...got, data.n]));
    const members = useMembers(channel).map(({ user }) => user);
    return h('p', {}, useWeirState().status, ' ', got.join(), ' ', members.join(),
      h('button', { onClick: () => publish('a', { n: got.length }) }, 'publish'),
      h('button', { onClick: () => setChannel(null) }, 'leave'));
  }
  createRoot(root).render(h(StrictMode, {}, h(WeirProvider, { client: weir }, h(App))));`;

const VUE = `
  import { createApp, h, ref } from 'vue';
  import { provideWeir, useChannel, useMembers, useWeir, useWeirState } from '../lib/vue.js';
  ${SETUP}
  const Part = {
    setup() {
      const channel = ref('a');
      const got = ref([]);
      const state = useWeirState();
      const { publish } = useWeir();
      useChannel(channel, ({ data }) => got.value.push(data.n));
      const members = useMembers(channel);
      return () => h('p', [state.value.status, ' ', got.value.join(), ' ', members.value.map(({ user }) => user).join(),
        h('button', { onClick: () => publish('a', { n: got.value.length }) }, 'publish'),
        h('button', { onClick: () => (channel.value = null) }, 'leave')]);
    },
  };
  createApp({ setup: () => (provideWeir(weir), () => h(Part)) }).mount(root);`;

for (const [name, contents] of [['React', REACT], ['Vue', VUE]]) {
  test(`${name}: a component subscribes once, publishes, and parts`, { skip }, async (t) => {
    const resolveDir = fileURLToPath(new URL('.', import.meta.url));
    const define = { 'process.env.NODE_ENV': '"development"' };
    const { outputFiles } = await build({ stdin: { contents, resolveDir }, bundle: true, format: 'esm', write: false, define });
    const daemon = await startDaemon(t, { hub: ACCESS });
    const { tab } = await visit(t);
    await tab.evaluate(`Object.assign(globalThis, { url: '${daemon.url}', token: '${tokenFor(['a'], 600)}' })`);
    await tab.addScriptTag({ type: 'module', content: outputFiles[0].text });
    const shows = (text) => until(async () => (await tab.textContent('p')).startsWith(text), text);
    await shows('connected  ada');
    await tab.click('text=publish');
    await shows('connected 0 ada');
    await tab.click('text=publish');
    await shows('connected 0,1 adapublish');
    assert.equal(await tab.evaluate('subscribed'), 1);
    await tab.click('text=leave');
    await until(() => tab.evaluate('subscribed == 0'));
    // Nobody needs the connection any more.
    await shows('idle 0,1 publish');
  });
}
