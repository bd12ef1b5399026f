// One connection for all tabs of a site: one of them leads, the others get their events from it.
import { isNew, matcher } from './cursor.js';
import { call, createEmitter } from './emitter.js';
import { WeirError } from './error.js';
import {
  createSubscriber, type Start, type State, type Subscriber, type SubscriberEvents, type SubscriberOptions,
  type Subscription,
} from './subscribe.js';
import { ulid } from './ulid.js';

/** A subscription of this tab. */
interface Own {
  channel: string;
  handler: (message: any) => void;
  start: Start;
  cursor?: string;
  done: (error?: WeirError) => void;
}

/** What tabs tell each other; `to` is a tab, `all` or whoever is the `leader`. */
interface Note {
  to: string;
  from: string;
  kind: 'sub' | 'unsub' | 'lead' | 'message' | 'reached' | 'refused' | 'state' | 'gap' | 'error';
  id?: string;
  body?: any;
}

/**
 * A subscriber that shares its connection with the other tabs of the site.
 *
 * The tab that holds a Web Lock connects. Every tab keeps its own cursors, so that events are
 * replayed and not skipped when another one takes over. Where a browser has no locks, and in
 * workers and Node, it is a subscriber like any other.
 */
export function createTabs<C = Record<string, any>>(options: SubscriberOptions = {}): Subscriber<C> {
  const locks = globalThis.navigator?.locks;
  if (!globalThis.document || !locks || !globalThis.BroadcastChannel) return createSubscriber<C>(options);
  const name = `weir:${options.url ?? ''}:${options.hub ?? 'main'}`;
  const tab = ulid();
  const { on, emit } = createEmitter<SubscriberEvents>();
  const own = new Map<string, Own>();
  /** What the leader subscribes to for each tab, by the subscription's id there. */
  const served = new Map<string, Map<string, Subscription>>();
  let state: State = { status: 'idle', attempt: 0 };
  let leader: Subscriber<any> | undefined;
  let post: BroadcastChannel | undefined;
  /** Ends what this tab waits for while it takes part. */
  let leaving: AbortController | undefined;
  let leave: (() => void) | undefined;
  /** Whether the others can see that this tab is there. */
  let isPresent = false;

  const say = (to: string, kind: Note['kind'], id?: string, body?: any) => {
    const note: Note = { to, from: tab, kind, id, body };
    if (to == tab || to == 'all') hear(note);
    if (to == 'leader' && leader) serve(note);
    else if (to != tab) post?.postMessage(note);
  };
  const ask = () => {
    for (const [id, { channel, start, cursor }] of own) say('leader', 'sub', id, { channel, start: cursor ? { since: cursor } : start });
  };
  const hear = ({ from, kind, id, body }: Note) => {
    const sub = own.get(id!);
    if (kind == 'message' && sub && isNew(sub.cursor, body.cursor)) {
      sub.cursor = body.cursor;
      call(sub.handler, body);
    } else if (kind == 'reached' && sub) {
      if (isNew(sub.cursor, body)) sub.cursor = body;
      sub.done();
    } else if (kind == 'refused') {
      own.delete(id!);
      sub?.done(errorOf(body));
    } else if (kind == 'state') {
      emit('state', (state = body));
    } else if (kind == 'error') {
      emit('error', errorOf(body));
    } else if (kind == 'gap') {
      const lost = [...own.values()].filter(({ channel }) => channel == body.channel);
      for (const sub of lost) sub.cursor = body.cursor;
      if (lost.length) emit('gap', body);
    } else if (kind == 'lead' && from != tab && isPresent) {
      ask();
    }
  };

  /** Does as leader what a tab wants. */
  const serve = ({ from, kind, id, body }: Note) => {
    if (!served.has(from)) {
      served.set(from, new Map());
      say(from, 'state', undefined, leader!.state);
      // Granted once that tab is gone.
      if (from != tab) locks.request(`${name}:${from}`, { signal: leaving!.signal }, () => forget(from)).catch(() => {});
    }
    const subscriptions = served.get(from)!;
    if (kind == 'unsub') {
      subscriptions.get(id!)?.unsubscribe();
      subscriptions.delete(id!);
    } else if (!subscriptions.has(id!)) {
      const subscription = leader!.subscribe(body.channel, (message) => say(from, 'message', id, message), body.start);
      subscriptions.set(id!, subscription);
      subscription.ready.then(
        () => say(from, 'reached', id, subscription.cursor),
        (error) => say(from, 'refused', id, told(error)),
      );
    }
  };
  const forget = (gone: string) => {
    for (const subscription of served.get(gone)?.values() ?? []) subscription.unsubscribe();
    served.delete(gone);
  };
  /** Takes part; the page was opened, or is taken from the back-forward cache. */
  const enter = () => {
    const left = new Promise<void>((done) => {
      leave = () => {
        leaving!.abort();
        // Whoever leads next need not read again what has come.
        for (const [other, subscriptions] of served) {
          for (const [id, { cursor }] of subscriptions) if (cursor) say(other, 'reached', id, cursor);
        }
        const led = leader;
        // That this one ends is no news for the others.
        leader = undefined;
        led?.close();
        served.clear();
        isPresent = false;
        // A page with an open channel is thrown out of the cache by the first message.
        post!.close();
        post = leave = undefined;
        done();
      };
    });
    leaving = new AbortController();
    post = new BroadcastChannel(name);
    post.onmessage = ({ data }: MessageEvent<Note>) => {
      if (data.to == 'leader') leader && serve(data);
      else if (data.to == tab || data.to == 'all') hear(data);
    };
    // Nothing is asked of the leader before, or it would take this tab for gone.
    locks.request(`${name}:${tab}`, () => {
      isPresent = true;
      ask();
      return left;
    });
    locks.request(name, { signal: leaving.signal }, () => {
      const mine = (leader = createSubscriber<any>(options));
      mine.on('state', (state) => leader == mine && say('all', 'state', undefined, state));
      mine.on('gap', (gap) => say('all', 'gap', undefined, gap));
      mine.on('error', (error) => say('all', 'error', undefined, told(error)));
      say('all', 'lead');
      if (isPresent) ask();
      return left;
    }).catch(() => {});
  };
  const hide = () => leave?.();
  const show = (event: PageTransitionEvent) => event.persisted && enter();
  addEventListener('pagehide', hide);
  addEventListener('pageshow', show);
  enter();

  return {
    on,
    get state() {
      return state;
    },
    subscribe(channel, handler, start = {}) {
      // Throws here what would throw in the tab that leads.
      matcher(channel);
      const id = ulid();
      let done!: Own['done'];
      const ready = new Promise<void>((resolve, reject) => {
        done = (error) => (error ? reject(error) : resolve());
      });
      ready.catch(() => {});
      const sub: Own = { channel, handler, start, cursor: start.since, done };
      own.set(id, sub);
      if (isPresent) say('leader', 'sub', id, { channel, start });
      return {
        ready,
        get cursor() {
          return sub.cursor;
        },
        unsubscribe() {
          own.delete(id);
          done();
          say('leader', 'unsub', id);
        },
      };
    },
    close() {
      removeEventListener('pagehide', hide);
      removeEventListener('pageshow', show);
      own.clear();
      leave?.();
      emit('state', (state = { status: 'closed', attempt: 0 }));
    },
  };
}

/** An error as it crosses to another tab, which gets the members of no class but its own. */
function told({ code, message, retryable, hint }: WeirError) {
  return { code, message, retryable, hint };
}

function errorOf({ code, message, retryable, hint }: ReturnType<typeof told>): WeirError {
  return new WeirError(code, message, retryable, undefined, hint);
}
