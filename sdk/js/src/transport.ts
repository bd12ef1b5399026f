// The two ways to a hub, WebSocket and SSE over fetch. Both bring the frames of `weir.v1`.
import { errorOf, WeirError } from './error.js';
import { retryAfter, type Site } from './site.js';

/** A frame of `weir.v1`. */
export type Frame = { type: string; [member: string]: any };

/** Why a connection ended. */
export interface End {
  error: WeirError;
  /** Whether another token may help. */
  isExpired?: boolean;
  /** How long the daemon asks to stay away, in milliseconds. */
  after?: number;
}

export interface Connection {
  send(frame: Frame): void;
  close(): void;
}

/** What is asked for at first. */
export interface Wanted {
  path: string;
  channels: string[];
  since?: string;
}

export type Connect = (site: Site, wanted: Wanted, onFrame: (frame: Frame) => void, onEnd: (end: End) => void) => Connection;

/** How often the daemon shows on an SSE connection that it is there, in seconds. */
const COMMENT_EVERY = 15;

/** Over a WebSocket of this class. */
export const overSocket = (Socket: typeof WebSocket): Connect => (site, { path, channels, since }, onFrame, onEnd) => {
  const socket = new Socket(site.at(path + '/ws').replace(/^http/, 'ws'), 'weir.v1');
  const send = (frame: Frame) => socket.readyState == 1 && socket.send(JSON.stringify(frame));
  let after: number | undefined;
  socket.onopen = async () => {
    const token = await site.token().catch(() => undefined);
    if (token) send({ type: 'hello', token });
    send({ type: 'sub', ref: 0, channels, since });
  };
  socket.onmessage = ({ data }) => {
    for (const line of data.split('\n')) {
      const frame = JSON.parse(line);
      if (frame.type == 'ping') send({ type: 'pong' });
      if (frame.type == 'bye') after = frame.after;
      onFrame(frame);
    }
  };
  // A handler must be there: in Node the error is thrown otherwise. What follows is a close.
  socket.onerror = () => {};
  socket.onclose = ({ code, reason }) => {
    const isExpired = code == 4401;
    const error = new WeirError(`ws_${code}`, reason || 'the connection was cut', code < 4400 || isExpired);
    onEnd({ error, isExpired, after });
  };
  return { send, close: () => socket.close() };
};

/** Over an answer that does not end. */
export const overStream: Connect = (site, { path, channels, since }, onFrame, onEnd) => {
  const abort = new AbortController();
  const read = async (): Promise<End> => {
    let after: number | undefined;
    try {
      await site.token();
      const reply = await site.fetch(site.at(`${path}/sse?${query(channels, { since })}`), { headers: site.headers(), signal: abort.signal });
      const { status } = reply;
      if (!reply.ok) {
        const isExpired = status == 401;
        const error = errorOf(await reply.json().catch(() => 0), `http_${status}`, isExpired || status == 408 || status == 429 || status >= 500);
        return { error, isExpired, after: retryAfter(reply.headers) };
      }
      let rest = '';
      const decoder = new TextDecoder();
      const reader = reply.body!.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        const lines = (rest + decoder.decode(value, { stream: true })).split('\n');
        rest = lines.pop()!;
        for (const line of lines) {
          if (!line.startsWith('data: ')) continue;
          const frame = JSON.parse(line.slice(6));
          if (frame.type == 'bye') after = frame.after;
          if (frame.type == 'welcome') onFrame({ ...frame, ping: COMMENT_EVERY });
          onFrame(frame.type == 'welcome' ? { ...frame, type: 'subok', ref: 0 } : frame);
        }
        // A comment alone is a sign of life.
        onFrame({ type: 'ping' });
      }
      return { error: new WeirError('cut', 'the connection was cut', true), after };
    } catch (error) {
      return { error: new WeirError('network', String(error), true), after };
    }
  };
  read().then(onEnd);
  return { send() {}, close: () => abort.abort() };
};

/** A query that names channels and where to start. */
export function query(channels: string[], start: { since?: string; last?: number }): string {
  const query = new URLSearchParams(channels.map((channel) => ['channel', channel]));
  for (const [name, value] of Object.entries(start)) if (value !== undefined) query.set(name, String(value));
  return query.toString();
}
