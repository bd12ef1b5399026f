// Publishing: events wait in a bounded queue, go out in batches, and stay until they have a verdict.
import { createEmitter, type Emitter } from './emitter.js';
import { asError, WeirError } from './error.js';
import { createSite, jitter, retryAfter, type SiteOptions } from './site.js';
import { localStore, type QueueStore } from './store.js';
import { ulid } from './ulid.js';

export { WeirError };
export type { QueueStore };

/** Whether events may leave the page: `pending` holds them in memory, `denied` drops them. */
export type Consent = 'granted' | 'pending' | 'denied';

export interface PublisherOptions extends SiteOptions {
  /** The path of the source that takes the events, such as `/in/clicks`. */
  source: string;
  consent?: Consent;
  /** Whether Global Privacy Control in the browser counts as consent denied. */
  respectGPC?: boolean;
  /** Extension attributes of every event; names are lower-case letters and digits. */
  context?: () => Record<string, string | number | boolean>;
  /** How long an event may wait for others, in milliseconds; 2,000 by default. */
  interval?: number;
  /** Most events in a request; 50 by default. */
  batch?: number;
  /** Bounds of the queue: 1,000 events, 1 MiB, a day in milliseconds. Beyond them the oldest are dropped. */
  queue?: { events?: number; bytes?: number; age?: number };
  /** Where events outlive the page; `localStorage` by default where there is one. */
  store?: QueueStore | false;
}

export interface PublishOptions {
  /** An id of your own; an event with the same id is the same event. */
  id?: string;
  subject?: string;
  /** When it happened, in milliseconds; now by default. */
  time?: number;
}

/** What became of an event: the daemon's word for it, or `dropped` where it never got there. */
export interface PublishResult {
  id: string;
  status: 'delivered' | 'filtered' | 'spooled' | 'accepted' | 'duplicate' | 'dead-lettered' | 'rejected' | 'dropped';
  code?: string;
  message?: string;
}

export interface PublisherEvents {
  /** An event that nobody will get. */
  drop: PublishResult;
  /** Results of a request. */
  flush: PublishResult[];
  error: WeirError;
}

export interface Publisher<E> {
  /** Publishes an event. Never rejects: the result says what became of it. */
  publish<K extends keyof E & string>(type: K, data: E[K], options?: PublishOptions): Promise<PublishResult>;
  /** Sends what waits, now; answers how many events are left. */
  flush(): Promise<number>;
  setConsent(consent: Consent): void;
  on: Emitter<PublisherEvents>['on'];
  /** Events without a verdict. */
  readonly queued: number;
  /** Sends what waits, once, and ends; what is left stays for the next page where there is a store. */
  close(): Promise<void>;
}

interface Item {
  id: string;
  text: string;
  size: number;
  /** When it was published. */
  at: number;
  isSent?: boolean;
  isKept?: boolean;
  settle?: (result: PublishResult) => void;
}

/** What browsers let a page keep in flight while it is closed, with room for others. */
const KEEPALIVE_MAX = 60_000;
const GZIP_MIN = 1_024;
const POST_TIMEOUT = 30_000;
const FIRST_PAUSE = 1_000;
const PAUSE_MAX = 60_000;
const CLOSE_TIMEOUT = 5_000;
/** Codes of events that may be taken another time. */
const AGAIN = /^(rate_limited|overloaded|draining|unavailable|timeout)$/;
const NO_CONSENT = 'there is no consent';

export function createPublisher<E = Record<string, any>>(options: PublisherOptions): Publisher<E> {
  const site = createSite(options);
  const { source, context, interval = 2_000, batch: most = 50 } = options;
  const { events: eventsMax = 1_000, bytes: bytesMax = 1 << 20, age: ageMax = 864e5 } = options.queue ?? {};
  const address = site.at(source);
  const { on, emit } = createEmitter<PublisherEvents>();
  let { consent = 'granted' } = options;
  if (options.respectGPC && (globalThis.navigator as any)?.globalPrivacyControl) consent = 'denied';
  let store: QueueStore | undefined;
  let queue: Item[] = [];
  let bytes = 0;
  /** Bytes in flight that count against the browser's limit. */
  let keptAlive = 0;
  /** Events in the next request at most; halved while a body is too large. */
  let limit = most;
  let failures = 0;
  /** Until then nothing is sent by itself. */
  let notBefore = 0;
  let timer: any;
  /** When `timer` fires. */
  let due = Infinity;
  let running: Promise<void> | undefined;
  let isClosed = false;

  const remove = (item: Item, result: PublishResult) => {
    const place = queue.indexOf(item);
    if (place < 0) return;
    queue.splice(place, 1);
    bytes -= item.size;
    if (item.isKept) attempt(() => store?.remove(item.id));
    if (/^(dropped|rejected)$/.test(result.status)) emit('drop', result);
    item.settle?.(result);
  };
  const drop = (item: Item, code: string, message: string) => remove(item, { id: item.id, status: 'dropped', code, message });
  /** Adds events at `place` and keeps within bounds. */
  const add = (place: number, ...items: Item[]) => {
    queue.splice(place, 0, ...items);
    for (const item of items) bytes += item.size;
    while (queue.length > eventsMax || bytes > bytesMax) {
      drop(queue.find((item) => !item.isSent) ?? queue.at(-1)!, 'queue_full', 'the queue is full');
    }
  };
  const keep = () => {
    if (!store || consent != 'granted') return;
    for (const item of queue) item.isKept ||= attempt(() => store!.put(item.id, item.at + item.text));
  };
  const take = (count: number, size: number) => {
    const taken: Item[] = [];
    for (const item of queue) {
      if (item.isSent) continue;
      size -= item.size + 1;
      if (taken.length >= count || (size < 0 && taken.length)) break;
      taken.push(item);
    }
    return taken;
  };

  const schedule = (pause: number) => {
    const at = Math.max(Date.now() + pause, notBefore);
    if (consent != 'granted' || isClosed || !queue.length || at >= due) return;
    clearTimeout(timer);
    due = at;
    timer = setTimeout(run, at - Date.now());
  };
  const unschedule = () => {
    clearTimeout(timer);
    due = Infinity;
  };
  /** Sends batch after batch while that works. */
  const run = () =>
    (running ??= (async () => {
      unschedule();
      let goesOn: boolean;
      do goesOn = await send().catch(fail);
      while (goesOn);
      running = undefined;
    })());

  /** Sends one batch; answers whether to go on. */
  const send = async (): Promise<boolean> => {
    for (const item of queue.filter(({ at }) => at < Date.now() - ageMax)) drop(item, 'expired', 'too old');
    await site.token();
    const items = take(limit, KEEPALIVE_MAX);
    if (!items.length || consent != 'granted') return false;
    const body = await pack(bodyOf(items));
    // A page that was left meanwhile has sent them itself.
    return items.some((item) => item.isSent || !queue.includes(item)) || post(items, body);
  };
  const post = async (items: Item[], body: Uint8Array<ArrayBuffer>): Promise<boolean> => {
    const keepalive = keptAlive + body.length <= KEEPALIVE_MAX;
    const size = keepalive ? body.length : 0;
    keptAlive += size;
    for (const item of items) item.isSent = true;
    // `text/plain` costs pages of other origins no preflight.
    const headers: Record<string, string> = { 'content-type': 'text/plain', ...site.headers() };
    if (body[0] == 0x1f) headers['content-encoding'] = 'gzip';
    try {
      const signal = AbortSignal.timeout(POST_TIMEOUT);
      const reply = await site.fetch(`${address}?format=weir`, { method: 'POST', headers, body, keepalive, signal });
      return settle(items, reply, await reply.json().catch(() => {}));
    } finally {
      keptAlive -= size;
      for (const item of items) item.isSent = false;
    }
  };
  /** Notes what a reply says. */
  const settle = (items: Item[], reply: Response, told: any): boolean => {
    if (told?.results) {
      const results = new Map<string, PublishResult>(told.results.map((result: PublishResult) => [result.id, result]));
      const final: PublishResult[] = [];
      for (const item of items) {
        const result = results.get(item.id);
        if (!result || AGAIN.test(result.code!)) continue;
        final.push(result);
        remove(item, result.code ? { ...result, status: 'rejected' } : result);
      }
      emit('flush', final);
      if (final.length < items.length) {
        throw new WeirError('unavailable', 'some events were not taken', true, retryAfter(reply.headers));
      }
      failures = 0;
      limit = Math.min(most, limit + 1);
      return true;
    }
    if (reply.status == 413 && items.length > 1) {
      limit = items.length >> 1;
      return true;
    }
    const error = site.refusal(reply, told);
    if (error.retryable || reply.ok) throw error;
    emit('error', error);
    for (const item of items) drop(item, error.code, error.message);
    return true;
  };
  /** Notes a failure, after which there is a pause. */
  const fail = (thrown: unknown) => {
    const error = asError(thrown);
    emit('error', error);
    // What was scheduled meanwhile waits too.
    unschedule();
    const pause = jitter(failures++, FIRST_PAUSE, PAUSE_MAX);
    // Who is told when to come back comes then, but not all at the same time.
    notBefore = Date.now() + (error.after ? error.after * (1 + Math.random() / 2) : pause);
    schedule(0);
    keep();
    return false;
  };

  /** The page may be gone after this: keeps everything, and sends what fits without waiting. */
  const leave = () => {
    if (consent != 'granted') return;
    keep();
    // What is kept can wait for as long as the daemon asks.
    if (store && Date.now() < notBefore) return;
    const items = take(eventsMax, KEEPALIVE_MAX - keptAlive - 64);
    const body = utf8(bodyOf(items));
    if (!items.length || keptAlive + body.length > KEEPALIVE_MAX) return;
    post(items, body).catch(fail);
  };
  /** Does what the consent asks for; while it is pending, nothing is stored or looked up. */
  const obey = async () => {
    const forget = () => {
      if (consent == 'denied') for (const item of [...queue]) drop(item, 'consent', NO_CONSENT);
    };
    forget();
    if (consent == 'pending' || options.store === false) return schedule(0);
    store ??= options.store ?? localStore(address);
    const adopted = (await store?.adopt().catch(() => {})) ?? [];
    add(0, ...adopted.map(([id, kept]) => {
      const text = kept.slice(kept.indexOf('{'));
      return { id, text, size: utf8(text).length, at: parseFloat(kept), isKept: true };
    }));
    forget();
    schedule(0);
  };
  const flush = async () => {
    await running;
    await run();
    return queue.length;
  };
  const setConsent = (to: Consent) => {
    consent = to;
    void obey();
  };
  const life = new AbortController();
  const occasions: [string, () => void][] = [
    ['pagehide', leave],
    ['visibilitychange', () => globalThis.document?.visibilityState == 'hidden' && leave()],
    ['online', () => {
      notBefore = 0;
      schedule(0);
    }],
  ];
  for (const [name, handler] of occasions) globalThis.addEventListener?.(name, handler, life);
  setConsent(consent);

  return {
    on,
    setConsent,
    get queued() {
      return queue.length;
    },
    publish: (type, data, { id = ulid(), subject, time = Date.now() } = {}) =>
      new Promise((settle) => {
        const refuse = (code: string, message: string) => {
          const result: PublishResult = { id, status: 'dropped', code, message };
          emit('drop', result);
          settle(result);
        };
        if (isClosed) return refuse('closed', 'this client is closed');
        if (consent == 'denied') return refuse('consent', NO_CONSENT);
        try {
          const text = JSON.stringify({ ...context?.(), id, type, subject, time, data });
          add(queue.length, { id, text, size: utf8(text).length, at: Date.now(), settle });
        } catch (error) {
          return refuse('bad_data', String(error));
        }
        if (failures) keep();
        schedule(queue.length < most ? interval : 0);
      }),
    flush,
    async close() {
      if (isClosed) return;
      isClosed = true;
      let timeout: any;
      await Promise.race([flush(), new Promise((done) => (timeout = setTimeout(done, CLOSE_TIMEOUT)))]);
      clearTimeout(timeout);
      unschedule();
      keep();
      life.abort();
      for (const item of queue.splice(0)) {
        item.settle?.({ id: item.id, status: item.isKept ? 'accepted' : 'dropped', code: 'closed' });
      }
    },
  };
}

function bodyOf(items: Item[]): string {
  return `{"sent":${Date.now()},"events":[${items.map((item) => item.text)}]}`;
}

/** The bytes of a body, compressed where that is worth it. */
async function pack(body: string): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = utf8(body);
  if (bytes.length < GZIP_MIN || !globalThis.CompressionStream) return bytes;
  const packed = new Blob([bytes]).stream().pipeThrough(new CompressionStream('gzip'));
  return new Uint8Array(await new Response(packed).arrayBuffer());
}

function utf8(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text) as Uint8Array<ArrayBuffer>;
}

/** Whether it worked; storage may be full, forbidden or gone. */
function attempt(what: () => void): boolean {
  try {
    what();
    return true;
  } catch {
    return false;
  }
}
