// Publishing: events wait in a bounded queue, go out in batches, and stay until they have a verdict.
import { createEmitter, type Emitter } from './emitter.js';
import { errorOf, WeirError } from './error.js';
import { createSite, jitter, page, retryAfter, sleep, type Site, type SiteOptions } from './site.js';
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
  /** Bounds of the queue: 1,000 events, 1 MiB, a day. Beyond them the oldest are dropped. */
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
  status: 'delivered' | 'filtered' | 'spooled' | 'accepted' | 'duplicate' | 'dead-lettered'
    | 'rejected' | 'dropped';
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
  at: number;
  isSent?: boolean;
  isKept?: boolean;
  settle?: (result: PublishResult) => void;
}

/** What browsers let a page keep in flight while it is closed, with room for others. */
const KEEPALIVE_MAX = 60_000;
const GZIP_MIN = 1_024;
const POST_TIMEOUT = 30_000;
const PAUSE_MAX = 60_000;
const CLOSE_TIMEOUT = 5_000;
/** Codes of events that may be taken another time. */
const AGAIN = /^(rate_limited|overloaded|draining|unavailable|timeout)$/;

export function createPublisher<E = Record<string, any>>(options: PublisherOptions): Publisher<E> {
  const site: Site = createSite(options);
  const { source, context, interval = 2_000, batch: most = 50 } = options;
  const { events: eventsMax = 1_000, bytes: bytesMax = 1 << 20, age: ageMax = 864e5 } = options.queue ?? {};
  const address = site.at(source);
  const { on, emit } = createEmitter<PublisherEvents>();
  const store = options.store === false ? undefined : (options.store ?? localStore(address));
  let consent = options.consent ?? 'granted';
  if (options.respectGPC && (globalThis.navigator as any)?.globalPrivacyControl) consent = 'denied';
  let queue: Item[] = [];
  let bytes = 0;
  let keptAlive = 0;
  let failures = 0;
  let isClosed = false;
  let timer: any;
  /** When `timer` fires. */
  let due = Infinity;
  let running: Promise<void> | undefined;
  /** Events in the next request at most; halved while a body is too large. */
  let limit = most;

  const remove = (item: Item, result?: PublishResult) => {
    const place = queue.indexOf(item);
    if (place < 0) return;
    queue.splice(place, 1);
    bytes -= item.size;
    if (item.isKept) attempt(() => store?.remove(item.id));
    if (!result) return;
    if (result.status == 'dropped' || result.status == 'rejected') emit('drop', result);
    item.settle?.(result);
  };
  const drop = (item: Item, code: string, message?: string) =>
    remove(item, { id: item.id, status: 'dropped', code, message });
  const keep = () => {
    for (const item of queue) {
      if (!item.isKept && store && consent == 'granted') item.isKept = attempt(() => store.put(item.id, item.text));
    }
  };
  const add = (item: Item) => {
    const place = item.settle ? queue.length : queue.findIndex((other) => other.id > item.id);
    queue.splice(place < 0 ? queue.length : place, 0, item);
    bytes += item.size;
    while (queue.length > eventsMax || bytes > bytesMax) {
      drop(queue.find((other) => !other.isSent) ?? item, 'queue_full', 'the queue is full');
    }
    if (failures) keep();
  };
  const schedule = (pause: number) => {
    if (consent != 'granted' || isClosed || Date.now() + pause >= due) return;
    clearTimeout(timer);
    due = Date.now() + pause;
    timer = setTimeout(() => {
      due = Infinity;
      run();
    }, pause);
  };

  /** Sends batch after batch while that works. */
  const run = (): Promise<void> => {
    running ??= (async () => {
      let pause = 0;
      do pause = await send();
      while (pause == 0 && queue.some((item) => !item.isSent));
      running = undefined;
      if (pause > 0 && queue.length) {
        due = Infinity;
        schedule(pause);
      }
    })();
    return running;
  };

  const take = (count: number, size: number): Item[] => {
    const taken: Item[] = [];
    for (const item of queue) {
      if (item.isSent) continue;
      size -= item.size + 1;
      if (taken.length >= count || (size < 0 && taken.length)) break;
      taken.push(item);
    }
    return taken;
  };
  const expire = () => {
    for (const item of queue.filter(({ at }) => at < Date.now() - ageMax)) drop(item, 'expired', 'too old');
  };

  /** Sends one batch; answers how long to wait before the next, below 0 if there is nothing to do. */
  const send = async (): Promise<number> => {
    if (consent != 'granted') return -1;
    expire();
    await site.token().catch(fail);
    const items = take(limit, KEEPALIVE_MAX);
    if (!items.length) return -1;
    const body = await pack(bodyOf(items));
    const size = typeof body == 'string' ? utf8(body).length : body.length;
    // A page that was left meanwhile has sent them itself.
    const rest = items.filter((item) => !item.isSent && queue.includes(item));
    return rest.length < items.length ? 0 : post(items, body, size);
  };

  const post = async (items: Item[], body: string | Uint8Array<ArrayBuffer>, size: number): Promise<number> => {
    for (const item of items) item.isSent = true;
    const isText = typeof body == 'string';
    const keepalive = keptAlive + size <= KEEPALIVE_MAX;
    if (keepalive) keptAlive += size;
    // `text/plain` costs pages of other origins no preflight.
    const headers = { 'content-type': 'text/plain', ...site.headers(), ...(isText ? {} : { 'content-encoding': 'gzip' }) };
    try {
      const signal = AbortSignal.timeout(POST_TIMEOUT);
      const reply = await site.fetch(`${address}?format=weir`, { method: 'POST', headers, body, keepalive, signal });
      return await settle(items, reply);
    } catch (error) {
      return fail(new WeirError('network', String(error), true));
    } finally {
      if (keepalive) keptAlive -= size;
      for (const item of items) item.isSent = false;
    }
  };

  /** Notes what a reply says; answers how long to wait. */
  const settle = async (items: Item[], reply: Response): Promise<number> => {
    const told: any = await reply.json().catch(() => undefined);
    const { status } = reply;
    const wait = retryAfter(reply.headers);
    let again = 0;
    if (told?.results) {
      const results = new Map<string, PublishResult>(told.results.map((result: PublishResult) => [result.id, result]));
      const final: PublishResult[] = [];
      for (const item of items) {
        const result = results.get(item.id);
        if (!result || AGAIN.test(result.code ?? '')) {
          again++;
          continue;
        }
        final.push(result);
        remove(item, result.code ? { ...result, status: 'rejected' } : result);
      }
      emit('flush', final);
      if (again) return fail(errorOf(told.results.find(({ code }: any) => code), 'unavailable', true), wait);
      failures = 0;
      limit = Math.min(most, limit * 2);
      return 0;
    }
    const error = errorOf(told, `http_${status}`, status == 408 || status == 429 || status >= 500 || reply.ok);
    if (status == 401 && failures == 0 && typeof options.token == 'function') {
      await site.token(true);
      fail(error);
      return 1;
    }
    if (error.retryable) return fail(error, wait);
    if (status == 413 && items.length > 1) {
      limit = items.length >> 1;
      return 0;
    }
    emit('error', error);
    for (const item of items) drop(item, error.code, error.message);
    return 0;
  };

  /** Notes a failure; answers how long to wait. */
  const fail = (error: WeirError, wait = 0): number => {
    emit('error', error);
    const pause = Math.max(wait, jitter(++failures, 1_000, PAUSE_MAX), 1);
    keep();
    return pause;
  };

  /** The page may be gone after this: keeps everything, and sends what fits without waiting. */
  const leave = () => {
    if (consent != 'granted') return;
    keep();
    const items = take(eventsMax, KEEPALIVE_MAX - keptAlive - 64);
    const body = bodyOf(items);
    const size = utf8(body).length;
    if (!items.length || keptAlive + size > KEEPALIVE_MAX) return;
    void post(items, body, size).then((pause) => pause > 0 && schedule(pause));
  };

  const adopt = async () => {
    if (!store || consent == 'pending') return;
    for (const [id, text] of await store.adopt()) {
      if (consent == 'denied') {
        store.remove(id);
        continue;
      }
      const at = attempt(() => JSON.parse(text)) ? JSON.parse(text).time : 0;
      if (!queue.some((item) => item.id == id)) add({ id, text, size: utf8(text).length, at, isKept: true });
    }
    if (queue.length) schedule(0);
  };

  const listeners: [any, string, (event: any) => void][] = page
    ? [
        [page, 'pagehide', leave],
        [page.document, 'visibilitychange', () => page.document.visibilityState == 'hidden' && leave()],
        [page, 'online', () => schedule(0)],
        [page, 'pageshow', (event) => {
          if (!event.persisted) return;
          // Another page may have delivered what this one had kept.
          for (const item of [...queue]) {
            if (item.isKept && !store!.has(item.id)) remove(item, { id: item.id, status: 'accepted', code: 'adopted' });
          }
          schedule(0);
        }],
      ]
    : [];
  for (const [target, name, handler] of listeners) target.addEventListener(name, handler);
  adopt().catch(() => {});

  return {
    on,
    get queued() {
      return queue.length;
    },
    publish(type, data, { id = ulid(), subject, time = Date.now() } = {}) {
      return new Promise((settle) => {
        const refuse = (code: string, message: string) => {
          const result: PublishResult = { id, status: 'dropped', code, message };
          emit('drop', result);
          settle(result);
        };
        if (isClosed) return refuse('closed', 'this client is closed');
        if (consent == 'denied') return refuse('consent', 'there is no consent');
        try {
          const text = JSON.stringify({ ...context?.(), id, type, subject, time, data });
          add({ id, text, size: utf8(text).length, at: Date.now(), settle });
        } catch (error) {
          return refuse('bad_data', String(error));
        }
        if (!failures) schedule(queue.length >= most ? 0 : interval);
      });
    },
    async flush() {
      await running;
      clearTimeout(timer);
      due = Infinity;
      await run();
      return queue.length;
    },
    setConsent(to) {
      consent = to;
      if (to == 'denied') for (const item of [...queue]) drop(item, 'consent', 'there is no consent');
      adopt().catch(() => {});
      schedule(0);
    },
    async close() {
      if (isClosed) return;
      isClosed = true;
      await Promise.race([this.flush(), sleep(CLOSE_TIMEOUT)]);
      clearTimeout(timer);
      keep();
      for (const [target, name, handler] of listeners) target.removeEventListener(name, handler);
      for (const item of queue) {
        item.settle?.({ id: item.id, status: item.isKept ? 'accepted' : 'dropped', code: 'closed' });
      }
      queue = [];
    },
  };
}

function bodyOf(items: Item[]): string {
  return `{"sent":${Date.now()},"events":[${items.map((item) => item.text)}]}`;
}

/** Compresses a body where that is worth it. */
async function pack(body: string): Promise<string | Uint8Array<ArrayBuffer>> {
  if (body.length < GZIP_MIN || !globalThis.CompressionStream) return body;
  const packed = new Blob([body]).stream().pipeThrough(new CompressionStream('gzip'));
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
