// A real daemon for the tests, and ways to make its network bad.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createHmac } from 'node:crypto';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const BINARY = process.env.WEIR_BIN ?? fileURLToPath(new URL('../../../target/debug/weir', import.meta.url));
const PATIENCE = 20_000;

/** Source to hub, without plugins; every event goes to the channel that its type names. */
const PIPELINE = `
[[source]]
type = "http"
path = "/in"
cors = ["*"]
max_decompressed = "64KiB"

[[source]]
type = "http"
path = "/in/demo"

[[sink]]
type = "broadcast"
hub = "main"
channel = "{{type}}"
`;

/** Waits until `condition` holds. */
export async function until(condition, what = condition) {
  const end = Date.now() + PATIENCE;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`in vain: ${what}`);
    await sleep(10);
  }
}

export const sleep = (millis) => new Promise((done) => setTimeout(done, millis));

/** `count` numbers from `first` on. */
export const numbers = (count, first = 0) => Array.from({ length: count }, (_, n) => first + n);

/** What signs the tokens of a hub that wants some. */
const SECRET = '0123456789abcdef0123456789abcdef';
export const ACCESS = `access = { jwt = { secret = "${SECRET}" }, anonymous = ["public.*"] }`;

/** A token of `sub` for `channels`, good for so many seconds; others may know `info`. */
export function tokenFor(channels, seconds, sub = 'ada', info = undefined) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Date.now() / 1_000 + seconds;
  const signed = `${part({ alg: 'HS256' })}.${part({ sub, info, channels, exp })}`;
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`;
}

const example = (path) => readFileSync(new URL(`../examples/${path}`, import.meta.url), 'utf8');

/** The settings and the pipeline of the chat for Pusher clients. */
export const CHAT = { hub: example('pusher/weir.toml'), pipelines: { chat: example('pusher/pipelines/chat.toml') } };

/**
 * A daemon at a port of its own, with a hub that keeps `history` events; `hub` are more settings of it, `pipelines` more files
 * beside the one that takes events.
 */
export async function startDaemon(t, { history = 10_000, hub = '', pipelines = {}, port } = {}) {
  port ??= await freePort();
  const dir = mkdtempSync(join(tmpdir(), 'weir-js-'));
  mkdirSync(join(dir, 'pipelines'));
  for (const [name, text] of Object.entries({ events: PIPELINE, ...pipelines })) writeFileSync(join(dir, `pipelines/${name}.toml`), text);
  writeFileSync(join(dir, 'weir.toml'), `[hub.main]\nhistory = { events = ${history} }\norigins = ["*"]\n${hub}\n`);
  const url = `http://127.0.0.1:${port}`;
  let process;
  const daemon = {
    url,
    port,
    async start() {
      const args = ['run', '--demo', 'pipelines', '--listen', `127.0.0.1:${port}`, '--admin', '127.0.0.1:0', '--data-dir', dir];
      process = spawn(BINARY, args, { cwd: dir, stdio: ['ignore', 'ignore', 'pipe'] });
      let log = '';
      process.stderr.on('data', (text) => (log += text));
      process.once('exit', (code) => code && console.error(log));
      await until(() => fetch(`${url}/client.js`).then((reply) => reply.ok, () => false), 'the daemon starts');
    },
    /** Ends it at once. */
    async kill() {
      process.kill('SIGKILL');
      await once(process, 'exit');
    },
    /** Lets it drain. */
    async stop() {
      process.kill('SIGTERM');
      if (process.exitCode === null) await once(process, 'exit');
    },
    /** Publishes events of `type` with data 0 to `count` - 1. */
    async publish(type, count, first = 0) {
      const body = numbers(count, first).map((n) => `{"n":${n}}`).join('\n');
      const headers = { 'content-type': 'application/x-ndjson' };
      const reply = await fetch(`${url}/in?type=${type}`, { method: 'POST', headers, body });
      if (!reply.ok) throw new Error(await reply.text());
    },
    /** All events on channels, from the history. */
    async events(channel = '**') {
      const events = [];
      let since = '&last=100000';
      for (;;) {
        const reply = await fetch(`${url}/live/main/history?channel=${channel}${since}`);
        const told = await reply.json();
        if (!told.events.length) return events;
        events.push(...told.events.map(({ event }) => event));
        since = `&since=${told.cursor}`;
      }
    },
  };
  await daemon.start();
  t.after(async () => {
    if (process.exitCode === null && process.signalCode === null) await daemon.kill();
    rmSync(dir, { recursive: true, force: true });
  });
  return daemon;
}

export async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** A TCP proxy before `daemon`, whose connections can be cut. */
export async function startWire(t, daemon) {
  const sockets = new Set();
  const server = net.createServer((near) => {
    const far = net.connect(daemon.port, '127.0.0.1');
    wire.connections++;
    near.once('data', (head) => (near.isLive = head.includes('/ws HTTP')));
    for (const [one, other] of [[near, far], [far, near]]) {
      sockets.add(one);
      one.on('error', () => {});
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const wire = {
    url: `http://127.0.0.1:${server.address().port}`,
    connections: 0,
    /** WebSockets that there are. */
    live: () => [...sockets].filter(({ isLive }) => isLive).length,
    cut() {
      for (const socket of sockets) socket.destroy();
    },
  };
  t.after(() => {
    server.close();
    wire.cut();
  });
  return wire;
}

/**
 * An HTTP proxy before `daemon`. `wire.answer(request)` may answer instead: a status, or
 * `{ status, headers, body }`, or 'cut' to forward the request and cut the connection instead of
 * replying. It lets no WebSocket through.
 */
export async function startGate(t, daemon) {
  const gate = { answer: () => undefined, requests: [] };
  const server = http.createServer(async (request, response) => {
    response.setHeader('access-control-allow-origin', '*');
    response.setHeader('access-control-expose-headers', 'retry-after');
    const { method, url, headers } = request;
    const parts = [];
    for await (const part of request) parts.push(part);
    const body = Buffer.concat(parts);
    const seen = { method, url, headers, body, at: Date.now() };
    gate.requests.push(seen);
    const own = gate.answer(seen);
    if (own && own != 'cut') {
      const { status, headers = {}, body = '' } = typeof own == 'number' ? { status: own } : own;
      return response.writeHead(status, headers).end(body);
    }
    const far = http.request({ port: daemon.port, host: '127.0.0.1', method, path: url, headers }, (reply) => {
      if (own == 'cut') return request.socket.destroy();
      response.writeHead(reply.statusCode, reply.headers);
      response.flushHeaders();
      reply.pipe(response);
      reply.on('close', () => request.socket.destroySoon());
    });
    far.on('error', () => request.socket.destroy());
    response.on('close', () => far.destroy());
    far.end(body);
  }).listen(0, '127.0.0.1');
  server.on('upgrade', (request, socket) => {
    gate.requests.push({ url: request.url, headers: request.headers, at: Date.now() });
    socket.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n');
  });
  await once(server, 'listening');
  gate.url = `http://127.0.0.1:${server.address().port}`;
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return gate;
}
