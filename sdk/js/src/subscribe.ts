// Subscribing: one connection for all channels, made again whenever it is cut, from where it was.
import { isNew, matcher } from './cursor.js';
import { call, createEmitter, type Emitter } from './emitter.js';
import { asError, WeirError } from './error.js';
import { createSite, jitter, type SiteOptions } from './site.js';
import { get, overSocket, overStream, type Frame, type Link } from './transport.js';

export { WeirError };
export type { Frame };

/** An event as subscribers get it: its CloudEvents attributes, its channel and its cursor. */
export interface Message<D = unknown> {
  id: string;
  type: string;
  source: string;
  subject?: string;
  time: string;
  data: D;
  channel: string;
  /** Where a subscription resumes after this event. */
  cursor: string;
  [attribute: string]: unknown;
}

/** Events after `missed_from`, up to `cursor`, that a channel or pattern may have lost. */
export interface Gap {
  channel: string;
  reason: 'expired' | 'restarted' | 'slow';
  missed_from: string;
  cursor: string;
}

export interface State {
  status: 'idle' | 'connecting' | 'connected' | 'reconnecting' | 'offline' | 'closed';
  transport?: 'ws' | 'sse';
  /** Failed attempts since it was last connected. */
  attempt: number;
  /** When the next attempt is made. */
  retryAt?: number;
  error?: WeirError;
}

export interface SubscriberEvents {
  state: State;
  gap: Gap;
  error: WeirError;
  /** Whatever the daemon says, as it comes; for what is built on top. */
  frame: Frame;
}

/** Where to start: after a cursor, or with the newest events of the history. Live by default. */
export interface Start {
  since?: string;
  last?: number;
}

export interface Subscription {
  /** When the daemon has taken it and the past has been handed over. Rejects if it is refused. */
  readonly ready: Promise<void>;
  /** Where another subscription would go on. */
  readonly cursor: string | undefined;
  unsubscribe(): void;
}

export interface SubscriberOptions extends SiteOptions {
  /** The hub; `main` by default. */
  hub?: string;
  /** A WebSocket class where there is no global one, as in Node 20; `false` for SSE alone. */
  WebSocket?: any;
}

export interface Subscriber<C> {
  /** Calls `handler` for every event on a channel, or on all that a pattern such as `chat.*` names. */
  subscribe<N extends (keyof C & string) | (string & {})>(
    channel: N, handler: (message: Message<N extends keyof C ? C[N] : any>) => void, start?: Start,
  ): Subscription;
  on: Emitter<SubscriberEvents>['on'];
  readonly state: State;
  /** Sends a frame, if there is a WebSocket that is connected; for what is built on top. */
  send?(frame: Frame): void;
  close(): void;
}

interface Sub {
  channel: string;
  matches: (channel: string) => boolean;
  handler: (message: any) => void;
  /** How much of the past is wanted and was not handed over yet. */
  last?: number;
  /** All up to here was handed over. */
  cursor?: string;
  /** What asked for it on the connection. */
  ref: number;
  /** Whether the daemon has taken it there. */
  isLive?: boolean;
  done: (error?: WeirError) => void;
}

/** Times in milliseconds. An enumeration, because a bundle holds the numbers alone. */
const enum Millis {
  Welcome = 8_000,
  FirstPause = 2_000,
  PauseMax = 20_000,
  Idle = 5_000,
  /** How long a connection may be silent, for each second between two pings. */
  Patience = 1_600,
  /** When a WebSocket is tried again while SSE works. */
  SocketAgain = 300_000,
}

export function createSubscriber<C = Record<string, any>>(options: SubscriberOptions = {}): Subscriber<C> {
  const site = createSite(options);
  const path = `/live/${options.hub ?? 'main'}`;
  const Socket = options.WebSocket ?? globalThis.WebSocket;
  const { on, emit } = createEmitter<SubscriberEvents>();
  const subs = new Set<Sub>();
  let state: State = { status: 'idle', attempt: 0 };
  let connection: Link | undefined;
  let transport: State['transport'];
  /** The newest `ref` on it; undefined as long as nothing was asked. */
  let ref: number | undefined;
  /** What comes up to here may be a part of the past that one of them wanted. */
  let until: string | undefined;
  let attempt = 0;
  let socketFailures = 0;
  /** How long the connection may be silent. */
  let patience = 0;
  /** How long the daemon asks to stay away after it. */
  let after: number | undefined;
  let timer: any;
  let idle: any;
  let watch: any;
  let upgrade: any;

  const set = (status: State['status'], more: Partial<State> = {}) => emit('state', (state = { status, transport, attempt, ...more }));
  const end = () => {
    for (const one of [timer, idle, watch, upgrade]) clearTimeout(one);
    for (const sub of subs) sub.isLive = false;
    const ended = connection;
    timer = connection = transport = ref = undefined;
    ended?.abort();
  };
  const stop = (status: State['status'], error?: WeirError) => {
    end();
    set(status, { error });
  };
  const wait = (pause: number, error?: WeirError) => {
    clearTimeout(timer);
    timer = setTimeout(connect, pause);
    const isOffline = globalThis.navigator?.onLine === false;
    set(isOffline ? 'offline' : 'reconnecting', { retryAt: Date.now() + pause, error });
  };
  const fail = (thrown: unknown) => {
    const error = asError(thrown);
    if (transport == 'sse') socketFailures = 1;
    else if (state.status == 'connecting') socketFailures++;
    end();
    emit('error', error);
    if (error.retryable) return wait(error.after || after || jitter(attempt++, Millis.FirstPause, Millis.PauseMax), error);
    for (const sub of subs) drop(sub, error);
    stop('closed', error);
  };
  const drop = (sub: Sub, error?: WeirError) => {
    subs.delete(sub);
    sub.done(error);
    if (!subs.size) idle = setTimeout(stop, ref === undefined ? 0 : Millis.Idle, 'idle');
  };
  const listen = () => {
    clearTimeout(watch);
    watch = setTimeout(fail, patience, new WeirError('silent', 'no ping came', true));
  };

  const connect = () => {
    end();
    if (!subs.size) return set('idle');
    transport = Socket && socketFailures < 2 ? 'ws' : 'sse';
    const isMine = () => connection == link;
    const link: Link = Object.assign(new AbortController(), { ask, onFrame: (frame: Frame) => isMine() && obey(frame) });
    connection = link;
    patience = Millis.Welcome;
    after = 0;
    listen();
    if (Socket && transport == 'sse') {
      upgrade = setTimeout(() => {
        socketFailures = 1;
        connect();
      }, Millis.SocketAgain);
    }
    Promise.all([...subs].map((sub) => load(sub, link)))
      .then(() => (transport == 'ws' ? overSocket(Socket, site, path, link) : overStream(site, path, link)))
      .catch((thrown) => isMine() && fail(thrown));
    set('connecting');
  };
  /** What all want, since the oldest place, so that nobody misses any; who has seen more skips it. */
  const ask = () => {
    ref = 0;
    for (const sub of subs) sub.ref = 0;
    const cursors = [...subs].flatMap((sub) => sub.cursor ?? []);
    const since = cursors.reduce((one, other) => (isNew(other, one) ? other : one), cursors[0]!);
    return { channels: [...new Set([...subs].map((sub) => sub.channel))], since };
  };
  /** Hands over the newest events of the history, where they are wanted. */
  const load = async (sub: Sub, { signal }: Link) => {
    if (!sub.last) return;
    const reply = await get(site, `${path}/history?last=${sub.last}`, [sub.channel], signal);
    const told = await reply.json();
    signal.throwIfAborted();
    sub.last = undefined;
    sub.cursor = told.cursor;
    for (const frame of told.events) if (subs.has(sub)) call(sub.handler, messageOf(frame));
  };

  const obey = (frame: Frame) => {
    const { type, cursor } = frame;
    const asked = () => [...subs].filter((sub) => sub.ref === frame.ref);
    listen();
    emit('frame', frame);
    if (type == 'welcome') patience = frame.ping * Millis.Patience;
    if (type == 'event') reach(cursor, messageOf(frame));
    if (type == 'ping') {
      connection!.send?.({ type: 'pong' });
      until = undefined;
      if (cursor) reach(cursor);
    }
    if (type == 'bye') after = frame.after;
    if (type == 'gap') lose(frame as any);
    if (type == 'subok') {
      if (!frame.ref) {
        if (transport == 'ws') socketFailures = 0;
        attempt = 0;
        set('connected');
      }
      frame.gaps?.forEach(lose);
      for (const sub of asked()) {
        sub.isLive = true;
        if (!sub.cursor || frame.replayed === 0) sub.cursor = cursor;
        sub.done();
      }
      until = cursor;
    }
    if (type == 'error') {
      // What comes next shows another one.
      if (frame.code == 'token_expired') site.expire();
      const error = new WeirError(frame.code, frame.message, false, 0, frame.hint);
      if (frame.ref === 0) return fail(error);
      emit('error', error);
      for (const sub of asked()) drop(sub, error);
    }
  };
  /** The hub has come as far as `cursor`, with `message` if it is no other's. */
  const reach = (cursor: string, message?: Message) => {
    const isLive = isNew(until, cursor);
    for (const sub of subs) {
      const isWanted = message && sub.matches(message.channel);
      if (!sub.isLive || !isNew(sub.cursor, cursor) || !(isWanted || isLive)) continue;
      sub.cursor = cursor;
      if (isWanted) call(sub.handler, message);
    }
  };
  const lose = (gap: Gap) => {
    for (const sub of subs) if (sub.channel == gap.channel && sub.cursor) sub.cursor = gap.cursor;
    emit('gap', gap);
  };

  /** Takes a newcomer along: whatever is subscribed to in one go is asked for in one go. */
  const enlist = async (sub: Sub) => {
    clearTimeout(idle);
    const mine = connection;
    if (mine && ref === undefined && !sub.last) return;
    if (mine?.send) {
      await load(sub, mine).catch((thrown) => connection == mine && fail(thrown));
      if (connection != mine || !subs.has(sub)) return;
      // The daemon does not repeat on a connection what came to others there.
      const { channel, cursor } = sub;
      const mayOverlap = (other: Sub) =>
        other != sub && (other.channel == channel || (other.channel + channel).includes('*'));
      if (!cursor || ![...subs].some(mayOverlap)) {
        sub.ref = ++ref!;
        return mine.send({ type: 'sub', ref, channels: [channel], since: cursor });
      }
    }
    timer ??= setTimeout(connect);
  };
  const leave = (sub: Sub) => {
    if (!subs.has(sub)) return;
    drop(sub);
    const { channel } = sub;
    if (![...subs].some((other) => other.channel == channel)) connection?.send?.({ type: 'unsub', channels: [channel] });
  };

  /** Tries again at once: the network is back, or somebody looks at the page. */
  const now = () => {
    if (timer && !connection) wait(0);
  };
  const life = new AbortController();
  for (const name of ['online', 'visibilitychange']) globalThis.addEventListener?.(name, now, life);

  return {
    on,
    get state() {
      return state;
    },
    send: (frame) => connection?.send?.(frame),
    subscribe(channel, handler, { since, last } = {}) {
      let done!: Sub['done'];
      const ready = new Promise<void>((resolve, reject) => {
        done = (error) => (error ? reject(error) : resolve());
      });
      // Whoever does not ask is told by the event `error`.
      ready.catch(() => {});
      const sub: Sub = { channel, matches: matcher(channel), handler, last, cursor: since, ref: -1, done };
      subs.add(sub);
      enlist(sub);
      return {
        ready,
        get cursor() {
          return sub.cursor;
        },
        unsubscribe: () => leave(sub),
      };
    },
    close() {
      life.abort();
      for (const sub of subs) drop(sub);
      stop('closed');
    },
  };
}

function messageOf({ event, channel, cursor }: Frame): Message {
  return { ...event, channel, cursor };
}
