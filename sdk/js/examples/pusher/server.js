// The application's own server, as it would be with Pusher: it serves the page, says who may go
// onto which channel, and publishes what people say.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import Pusher from 'pusher';

const { PORT = 3000, WEIR_HOST = '127.0.0.1', WEIR_PORT = 8080, CHAT_SECRET = 'chat-secret' } = process.env;
const KEY = 'chat-key';
const TEXT_LEN_MAX = 500;

const pusher = new Pusher({ appId: '1', key: KEY, secret: CHAT_SECRET, host: WEIR_HOST, port: WEIR_PORT, useTLS: false });
const library = createRequire(import.meta.url).resolve('pusher-js/dist/web/pusher.min.js');
const file = (type, path) => [type, readFileSync(new URL(path, import.meta.url))];
const FILES = {
  '/': file('text/html; charset=utf-8', 'chat.html'),
  '/chat.js': file('text/javascript; charset=utf-8', 'chat.js'),
  '/style.css': file('text/css; charset=utf-8', '../style.css'),
  '/pusher.js': ['text/javascript; charset=utf-8', readFileSync(library)],
  '/settings.json': ['application/json', JSON.stringify({ key: KEY, wsHost: WEIR_HOST, wsPort: +WEIR_PORT })],
};

/** The form that a request brings. */
async function form(request) {
  let text = '';
  for await (const part of request) {
    text += part;
    if (text.length > 4_096) throw new RangeError('too much');
  }
  return new URLSearchParams(text);
}

/** Who asks. A real application knows that from its session. */
function userOf(headers) {
  const name = decodeURIComponent(headers['x-user'] ?? '').trim().slice(0, 40);
  if (!name) throw new RangeError('nobody');
  return name;
}

async function answer(request) {
  const { method, url, headers } = request;
  if (method == 'GET') return FILES[url.split('?')[0]] ?? ['text/plain', 'not found', 404];
  const user = userOf(headers);
  const fields = await form(request);
  if (url == '/auth') {
    const [socket, channel] = [fields.get('socket_id'), fields.get('channel_name')];
    if (channel != 'presence-chat') return ['text/plain', 'not yours', 403];
    const told = pusher.authorizeChannel(socket, channel, { user_id: user, user_info: { name: user } });
    return ['application/json', JSON.stringify(told)];
  }
  if (url == '/say') {
    await pusher.trigger('presence-chat', 'said', { user, text: fields.get('text').slice(0, TEXT_LEN_MAX) });
    return ['application/json', '{}'];
  }
  return ['text/plain', 'not found', 404];
}

http.createServer(async (request, response) => {
  const [type, body, status = 200] = await answer(request).catch((error) => {
    const isTheirs = error instanceof RangeError || error instanceof URIError;
    if (!isTheirs) console.error(error);
    return ['text/plain', isTheirs ? 'that makes no sense' : 'Weir does not answer', isTheirs ? 400 : 502];
  });
  response.writeHead(status, { 'content-type': type }).end(body);
}).listen(PORT, '127.0.0.1', function () {
  console.log(`http://127.0.0.1:${this.address().port}`);
});
