// A daemon with one app, the libraries pointed at it, and the endpoints of an application's server.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import Server from 'pusher';
import Client from 'pusher-js';

const BINARY = process.env.WEIR_BIN ?? fileURLToPath(new URL('../../../../target/debug/weir', import.meta.url));
const PATIENCE = 15_000;

export const APP = { id: '1', key: 'key-1', secret: 'secret-1' };
const MASTER_KEY = Buffer.alloc(32, 7).toString('base64');

const PIPELINE = `
[[source]]
type = "pusher"
app = "shop"

[[source]]
type = "http"
path = "/in"

[[sink]]
type = "broadcast"
`;

export const sleep = (millis) => new Promise((done) => setTimeout(done, millis));

/** Waits until `condition` holds, and answers what it answered. */
export async function until(condition, what = condition) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const held = await condition();
    if (held) return held;
    if (Date.now() > end) throw new Error(`in vain: ${what == condition ? what : what.call?.() ?? what}`);
    await sleep(10);
  }
}

export async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** Starts a daemon; `settings` are lines of `[app.shop]`. */
export async function startDaemon(t, settings = '', pipeline = PIPELINE) {
  const port = await freePort();
  const dir = mkdtempSync(join(tmpdir(), 'weir-pusher-'));
  mkdirSync(join(dir, 'pipelines'));
  writeFileSync(join(dir, 'pipelines/events.toml'), pipeline);
  const app = `[app.shop]\nid = "${APP.id}"\nkey = "${APP.key}"\nsecret = "${APP.secret}"\n`;
  const clientEvents = settings.includes('client_events') ? '' : 'client_events = true\n';
  writeFileSync(join(dir, 'weir.toml'), `${app}${clientEvents}${settings}\n`);
  const args = ['run', 'pipelines', '--listen', `127.0.0.1:${port}`, '--admin', '127.0.0.1:0', '--data-dir', dir];
  const child = spawn(BINARY, args, { cwd: dir, stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.on('data', (text) => (log += text));
  child.once('exit', (code) => code && console.error(log));
  const url = `http://127.0.0.1:${port}`;
  await until(() => fetch(`${url}/client.js`).then((reply) => reply.ok, () => false), () => `the daemon starts: ${log}`);
  const clients = [];
  const daemon = {
    url,
    port,
    log: () => log,
    /** The library of an application's server. */
    server: new Server({
      appId: APP.id, key: APP.key, secret: APP.secret,
      host: '127.0.0.1', port, useTLS: false, encryptionMasterKeyBase64: MASTER_KEY,
    }),
    /** A client as a page has it; `options` add to what points it here. */
    client(options = {}, key = APP.key) {
      const client = new Client(key, {
        cluster: '', wsHost: '127.0.0.1', wsPort: port, forceTLS: false, enabledTransports: ['ws', 'wss'],
        ...options,
      });
      clients.push(client);
      return client;
    },
    /** Lets it drain. */
    async stop() {
      child.kill('SIGTERM');
      if (child.exitCode === null) await once(child, 'exit');
    },
  };
  t.after(async () => {
    for (const client of clients) client.disconnect();
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    rmSync(dir, { recursive: true, force: true });
  });
  return daemon;
}

/** An application's server: says who each of `users` is, and signs what the library signs. */
export async function startApplication(t, daemon) {
  const application = http.createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    const form = new URLSearchParams(body);
    const url = new URL(request.url, 'http://x');
    const user = url.searchParams.get('user');
    const info = { name: `user ${user}` };
    const signed = url.pathname == '/user'
      ? daemon.server.authenticateUser(form.get('socket_id'), { id: user, user_info: info })
      : daemon.server.authorizeChannel(form.get('socket_id'), form.get('channel_name'),
        form.get('channel_name').startsWith('presence-') ? { user_id: user, user_info: info } : undefined);
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(signed));
  }).listen(0, '127.0.0.1');
  await once(application, 'listening');
  t.after(() => {
    application.closeAllConnections();
    application.close();
  });
  const base = `http://127.0.0.1:${application.address().port}`;
  /** What a page of `user` configures. */
  return (user) => ({
    channelAuthorization: { endpoint: `${base}/channel?user=${user}` },
    userAuthentication: { endpoint: `${base}/user?user=${user}` },
  });
}

/** Resolves with the data of the next event `name` of `target`. */
export function next(target, name) {
  return new Promise((done, failed) => {
    const late = setTimeout(() => failed(new Error(`no ${name} in time`)), PATIENCE);
    const handler = (data, metadata) => {
      clearTimeout(late);
      target.unbind(name, handler);
      done(metadata?.user_id ? { ...data, metadata } : data);
    };
    target.bind(name, handler);
  });
}

/** Resolves once `client` is connected. */
export async function connected(client) {
  if (client.connection.state != 'connected') await next(client.connection, 'connected');
  return client;
}

/** Subscribes and waits for the answer. */
export async function subscribed(client, name) {
  const channel = client.subscribe(name);
  const answer = await Promise.race([
    next(channel, 'pusher:subscription_succeeded').then((data) => ({ data })),
    next(channel, 'pusher:subscription_error').then((error) => ({ error })),
  ]);
  return { channel, ...answer };
}
