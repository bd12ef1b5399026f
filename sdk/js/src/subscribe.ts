// Subscribing: one connection for all channels, made again whenever it is cut, from where it was.
import { call, createEmitter, type Emitter } from './emitter.js';
import { isNew, matcher } from './cursor.js';
import { errorOf, WeirError } from './error.js';
import { createSite, jitter, page, type SiteOptions } from './site.js';
import { overSocket, overStream, query, type Connection, type End, type Frame } from './transport.js';

export { WeirError };

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

/** Events that a channel or pattern may have lost. */
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
  /** Presence of others, where the daemon tells it. */
  presence: Frame;
}

/** Where to start: after a cursor, or with the newest events of the history. Live by default. */
export interface Start {
  since?: string;
  last?: number;
}

export interface Subscription {
  /** When the daemon has taken it and the past has been handed over. Rejects if it is refused. */
  readonly ready: Promise<void>;
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
    channel: N, handler: (message: Message<N extends keyof C ? C[N] : any>) => void, start?: Start): Subscription;
  on: Emitter<SubscriberEvents>['on'];
  readonly state: State;
  close(): void;
}

interface Sub {
  channel: string;
  matches: (channel: string) => boolean;
  handler: (message: any) => void;
  cursor?: string;
  last?: number;
  /** Whether the daemon has taken it, on the connection there is. */
  isJoined?: boolean;
  /** What comes live while the past is loaded. */
  buffer?: Message[];
  done: (error?: WeirError) => void;
}

const WELCOME_TIMEOUT = 8_000;
const FIRST_PAUSE = 2_000;
const PAUSE_MAX = 20_000;
const IDLE_TIMEOUT = 5_000;
/** When a WebSocket is tried again: soon if it has worked before, since the daemon was down then. */
const SOCKET_AGAIN = [300_000, 30_000];
const BUFFER_MAX = 1_000;

export function createSubscriber<C = Record<string, any>>(options: SubscriberOptions = {}): Subscriber<C> {
  const site = createSite(options);
  const path = `/live/${options.hub ?? 'main'}`;
  const Socket = options.WebSocket ?? globalThis.WebSocket;
  const { on, emit } = createEmitter<SubscriberEvents>();
  const subs = new Set<Sub>();
  const asked = new Map<number, string[]>();
  let state: State = { status: 'idle', attempt: 0 };
  let connection: Connection | undefined;
  /** Channels named on the connection. */
  let named = new Set<string>();
  /** The newest event seen. */
  let head: string | undefined;
  let ref = 0;
  let attempt = 0;
  let socketFailures = 0;
  let socketWorked = 0;
  let hasFreshToken = false;
  let timer: any;
  let idle: any;
  let watch: any;
  let retry: any;
  let heardAt = 0;

  const set = (status: State['status'], more: Partial<State> = {}) => {
    state = { status, attempt, ...more };
    emit('state', state);
  };
  const end = () => {
    clearTimeout(watch);
    clearTimeout(retry);
    const ended = connection;
    connection = undefined;
    for (const sub of subs) sub.isJoined = false;
    ended?.close();
  };
  const wait = (pause: number, error?: WeirError) => {
    clearTimeout(timer);
    const isOffline = globalThis.navigator?.onLine === false;
    if (pause > 1) set(isOffline ? 'offline' : 'reconnecting', { retryAt: Date.now() + pause, error });
    timer = setTimeout(connect, pause);
  };
  const stop = (status: 'idle' | 'closed', error?: WeirError) => {
    clearTimeout(timer);
    timer = undefined;
    end();
    set(status, { error });
    if (error) emit('error', error);
  };

  const connect = () => {
    timer = undefined;
    end();
    if (!subs.size) return;
    const isSocket = Socket && socketFailures < 2;
    const transport = isSocket ? 'ws' : 'sse';
    const cursors = [...subs].flatMap((sub) => sub.cursor ?? []);
    // The oldest; one of another epoch has missed everything since.
    const since = cursors.reduce((one, other) => (isNew(other, one) ? other : one), cursors[0]);
    named = new Set([...subs].map((sub) => sub.channel));
    asked.clear();
    asked.set(0, [...named]);
    set('connecting', { transport });
    let isWelcome = false;
    let made: Connection | undefined;
    let limit = WELCOME_TIMEOUT;
    heardAt = Date.now();
    const isCurrent = () => made && connection == made;
    const onFrame = (frame: Frame) => {
      if (!isCurrent()) return;
      heardAt = Date.now();
      if (frame.type == 'welcome') limit = (frame.ping || 25) * 1_600;
      if (frame.type == 'subok' && !isWelcome) {
        isWelcome = true;
        attempt = 0;
        hasFreshToken = false;
        if (isSocket) socketFailures = 0;
        if (isSocket) socketWorked = 1;
        else if (Socket) {
          retry = setTimeout(() => {
            socketFailures = 1;
            connect();
          }, SOCKET_AGAIN[socketWorked]);
        }
        set('connected', { transport });
      }
      obey(frame);
    };
    const onEnd = ({ error, isExpired, after }: End) => {
      if (!isCurrent()) return;
      if (isSocket && !isWelcome) socketFailures++;
      // Without a daemon neither works: begin with the better one again.
      if (!isSocket && !isWelcome) socketFailures = 0;
      end();
      if (isExpired && typeof options.token == 'function' && !hasFreshToken) {
        hasFreshToken = true;
        site.token(true).then(() => wait(1), () => wait(jitter(attempt++, FIRST_PAUSE, PAUSE_MAX), error));
        return;
      }
      if (!error.retryable || (isExpired && hasFreshToken)) {
        for (const sub of subs) sub.done(error);
        return stop('closed', error);
      }
      emit('error', error);
      wait(after || jitter(attempt++, FIRST_PAUSE, PAUSE_MAX), error);
    };
    const guard = () => {
      const left = heardAt + limit - Date.now();
      if (left > 0) watch = setTimeout(guard, left);
      else onEnd({ error: new WeirError('silent', 'nothing is heard of the daemon', true) });
    };
    made = connection = (isSocket ? overSocket(Socket) : overStream)(site, { path, channels: [...named], since }, onFrame, onEnd);
    watch = setTimeout(guard, limit);
  };

  const obey = (frame: Frame) => {
    const { type } = frame;
    if (type == 'event') deliver(frame);
    if (type == 'gap') lose(frame as any);
    if (type == 'presence') emit('presence', frame);
    if (type == 'ping' && frame.cursor) advance(frame.cursor);
    if (type == 'subok') {
      const channels = asked.get(frame.ref) ?? [];
      asked.delete(frame.ref);
      if (isNew(head, frame.cursor)) head = frame.cursor;
      for (const gap of frame.gaps ?? []) lose(gap);
      for (const sub of subs) {
        if (channels.includes(sub.channel)) join(sub, frame.cursor, frame.replayed === 0, !frame.ref);
      }
    }
    if (type == 'error') {
      const channels = asked.get(frame.ref) ?? [];
      asked.delete(frame.ref);
      const error = errorOf(frame, frame.code, false);
      emit('error', error);
      for (const sub of subs) {
        if (!channels.includes(sub.channel)) continue;
        subs.delete(sub);
        named.delete(sub.channel);
        sub.done(error);
      }
    }
  };
  const deliver = ({ event, channel, cursor }: Frame) => {
    const message = Object.assign(event, { channel, cursor });
    if (isNew(head, cursor)) head = cursor;
    for (const sub of [...subs]) hand(sub, message);
  };
  const hand = (sub: Sub, message: Message) => {
    if (sub.buffer) {
      if (sub.matches(message.channel)) sub.buffer.push(message);
    } else if (sub.isJoined && isNew(sub.cursor, message.cursor)) {
      sub.cursor = message.cursor;
      if (sub.matches(message.channel)) call(sub.handler, message);
    }
  };
  const advance = (cursor: string) => {
    for (const sub of subs) if (sub.isJoined && !sub.buffer && isNew(sub.cursor, cursor)) sub.cursor = cursor;
  };
  const lose = (gap: Gap) => {
    for (const sub of subs) if (sub.channel == gap.channel && sub.cursor && !sub.buffer) sub.cursor = gap.cursor;
    emit('gap', gap);
  };

  /** Makes a subscription live from `cursor` on; its past is loaded first if it wants one. */
  const join = (sub: Sub, cursor: string, isComplete: boolean, isFirst: boolean) => {
    if (sub.isJoined) return;
    sub.isJoined = true;
    if (sub.last !== undefined || (sub.cursor && !isFirst)) return void load(sub, cursor);
    if (!sub.cursor || (isComplete && isNew(sub.cursor, cursor))) sub.cursor = cursor;
    sub.done();
  };
  const load = async (sub: Sub, until: string) => {
    const mine = connection;
    const buffer: Message[] = (sub.buffer = []);
    const isMine = () => connection == mine && subs.has(sub) && sub.buffer == buffer;
    try {
      do {
        const start = sub.last === undefined ? { since: sub.cursor } : { last: sub.last };
        const address = site.at(`${path}/history?${query([sub.channel], start)}`);
        const reply = await site.fetch(address, { headers: site.headers(), signal: AbortSignal.timeout(WELCOME_TIMEOUT) });
        const told: any = await reply.json();
        if (!isMine()) return;
        if (!reply.ok) throw errorOf(told, `http_${reply.status}`, reply.status >= 500);
        for (const gap of told.gaps) emit('gap', gap);
        for (const { event, channel, cursor } of told.events) call(sub.handler, Object.assign(event, { channel, cursor }));
        sub.cursor = told.cursor;
        sub.last = undefined;
        // What did not fit is in the history too.
        if (buffer.length > BUFFER_MAX) until = buffer.splice(0).pop()!.cursor;
      } while (isNew(sub.cursor, until));
      sub.buffer = undefined;
      for (const message of buffer) hand(sub, message);
      if (isNew(sub.cursor, until)) sub.cursor = until;
      sub.done();
    } catch (error: any) {
      if (!isMine()) return;
      sub.buffer = undefined;
      if (error.retryable === false) {
        subs.delete(sub);
        emit('error', error);
        return sub.done(error);
      }
      end();
      wait(jitter(attempt++, FIRST_PAUSE, PAUSE_MAX), error);
    }
  };

  /** Takes a newcomer along. */
  const enlist = (sub: Sub) => {
    clearTimeout(idle);
    if (state.status == 'closed') set('idle');
    if (!connection) {
      // Whatever is subscribed to in one go is asked for in one go.
      if (timer === undefined) timer = setTimeout(connect, 0);
    } else if (named.has(sub.channel)) {
      if (state.status == 'connected') join(sub, head!, false, false);
    } else if (state.transport == 'ws') {
      if (state.status == 'connecting') return void (timer ??= setTimeout(connect, 0));
      named.add(sub.channel);
      asked.set(++ref, [sub.channel]);
      connection.send({ type: 'sub', ref, channels: [sub.channel] });
    } else timer ??= setTimeout(connect, 0);
  };

  const now = () => {
    if (timer !== undefined && !connection) wait(0);
  };
  const visible = () => page.document.visibilityState == 'visible' && now();
  const restored = (event: PageTransitionEvent) => event.persisted && subs.size && wait(0);
  const offline = () => connection || set('offline', state);
  const listeners: [any, string, any][] = page
    ? [[page, 'online', now], [page, 'offline', offline], [page, 'pageshow', restored], [page.document, 'visibilitychange', visible]]
    : [];
  for (const [target, name, handler] of listeners) target.addEventListener(name, handler);

  return {
    on,
    get state() {
      return state;
    },
    subscribe(channel, handler, { since, last } = {}) {
      let done!: Sub['done'];
      const ready = new Promise<void>((resolve, reject) => {
        done = (error) => (error ? reject(error) : resolve());
      });
      // Whoever does not ask is told by the event `error`.
      ready.catch(() => {});
      const sub: Sub = { channel, matches: matcher(channel), handler, cursor: since, last, done };
      subs.add(sub);
      enlist(sub);
      return {
        ready,
        get cursor() {
          return sub.cursor;
        },
        unsubscribe() {
          if (!subs.delete(sub)) return;
          done();
          if (!subs.size) {
            idle = setTimeout(() => subs.size || stop('idle'), IDLE_TIMEOUT);
          } else if (connection && ![...subs].some((other) => other.channel == channel)) {
            named.delete(channel);
            connection.send({ type: 'unsub', ref: ++ref, channels: [channel] });
          }
        },
      };
    },
    close() {
      for (const [target, name, handler] of listeners) target.removeEventListener(name, handler);
      clearTimeout(idle);
      subs.clear();
      stop('closed');
    },
  };
}
