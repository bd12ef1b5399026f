// The two ways to a hub, WebSocket and SSE over fetch. Both bring the frames of `weir.v1`, and both
// end by rejecting with the reason.
import { WeirError } from './error.js';
import type { Site } from './site.js';

/** A frame of `weir.v1`. */
export type Frame = { type: string; [member: string]: any };

/** A connection as its subscriber sees it; to abort it ends it. */
export interface Link extends AbortController {
  /** What is wanted at first; asked once, when it is sent. */
  ask(): { channels: string[]; since?: string };
  onFrame(frame: Frame): void;
  /** Sends a frame; set once that is possible. */
  send?(frame: Frame): void;
}

const CUT = 'connection cut';

/** Over a WebSocket of this class. */
export async function overSocket(Socket: typeof WebSocket, site: Site, path: string, link: Link): Promise<never> {
  const token = await site.token();
  link.signal.throwIfAborted();
  const socket = new Socket(site.at(path + '/ws').replace(/^http/, 'ws'), 'weir.v1');
  const send = (frame: Frame) => socket.readyState == 1 && socket.send(JSON.stringify(frame));
  link.signal.addEventListener('abort', () => socket.close());
  socket.onopen = () => {
    if (token) send({ type: 'hello', token });
    send({ type: 'sub', ref: 0, ...link.ask() });
    link.send = send;
  };
  socket.onmessage = ({ data }) => {
    for (const line of data.split('\n')) link.onFrame(JSON.parse(line));
  };
  // A handler must be there: in Node the error is thrown otherwise. What follows is a close.
  socket.onerror = () => {};
  return new Promise((_, reject) => {
    socket.onclose = ({ code, reason }) => {
      const mayRetry = code == 4401 ? site.expire() : code < 4400;
      reject(new WeirError(`ws_${code}`, reason || CUT, mayRetry));
    };
  });
}

/** Over a reply that does not end. */
export async function overStream(site: Site, path: string, { ask, onFrame, signal }: Link): Promise<never> {
  const { channels, since } = ask();
  const reply = await get(site, `${path}/sse?${since ? 'since=' + since : ''}`, channels, signal);
  const reader = reply.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new WeirError('cut', CUT, true);
    const blocks = (rest + value).split('\n\n');
    rest = blocks.pop()!;
    for (const block of blocks) {
      const data = block.split(/^data: /m)[1];
      // What has no data shows that the daemon is there, and how far the hub has come.
      const frame = data ? JSON.parse(data) : { type: 'ping', cursor: block.split(/^id: /)[1] };
      onFrame(frame);
      if (frame.type == 'welcome') onFrame({ ...frame, type: 'subok', ref: 0 });
    }
  }
}

/** Reads about channels what is at `path`, which has a query. */
export async function get(site: Site, path: string, channels: string[], signal: AbortSignal): Promise<Response> {
  await site.token();
  const names = channels.map((channel) => '&channel=' + encodeURIComponent(channel));
  const reply = await site.fetch(site.at(path + names.join('')), { headers: site.headers(), signal });
  if (!reply.ok) throw site.refusal(reply, await reply.json().catch(() => {}));
  return reply;
}
