// One connection for all tabs of a site: one of them leads, the others get their events from it.
import { call, createEmitter } from './emitter.js';
import { isNew } from './cursor.js';
import { page } from './site.js';
import {
  createSubscriber, type Message, type Start, type State, type Subscriber, type SubscriberEvents,
  type SubscriberOptions, type Subscription, type WeirError,
} from './subscribe.js';
import { ulid } from './ulid.js';

interface Own {
  channel: string;
  handler: (message: any) => void;
  start: Start;
  cursor?: string;
  done: (error?: WeirError) => void;
}

/**
 * A subscriber that shares its connection with the other tabs of the site.
 *
 * The tab that holds a Web Lock connects; every tab keeps its own cursors, so that events are
 * replayed and not skipped when another one takes over. Where a browser has no locks, each tab
 * connects for itself.
 */
export function createTabs<C = Record<string, any>>(options: SubscriberOptions = {}): Subscriber<C> {
  const locks = globalThis.navigator?.locks;
  if (!page || !locks || !globalThis.BroadcastChannel) return createSubscriber<C>(options);
  const name = `weir:${options.url ?? ''}:${options.hub ?? 'main'}`;
  const tab = ulid();
  const { on, emit } = createEmitter<SubscriberEvents>();
  const own = new Map<string, Own>();
  /** What the leader holds for all tabs, by tab and subscription. */
  let served = new Map<string, Map<string, Subscription>>();
  let state: State = { status: 'idle', attempt: 0 };
  let leader: Subscriber<any> | undefined;
  let post: BroadcastChannel | undefined;
  let leave: (() => void) | undefined;
  let resign: (() => void) | undefined;

  const say = (to: string, kind: string, id?: string, body?: any) => {
    const told = { to, kind, id, body, from: tab };
    if (to == tab || to == '*') hear(told);
    if (to == 'leader' && leader) serve(told);
    else if (to != tab) post?.postMessage(told);
  };
  const ask = (id: string, { channel, start, cursor }: Own) =>
    say('leader', 'sub', id, { channel, start: cursor ? { since: cursor } : start });
  const hear = ({ kind, id, body, from }: any) => {
    const sub = own.get(id);
    if (kind == 'message' && sub && isNew(sub.cursor, body.cursor)) {
      sub.cursor = body.cursor;
      call(sub.handler, body as Message);
    } else if (kind == 'ready') {
      sub?.done();
      if (sub) sub.cursor ??= body;
    } else if (kind == 'refused') {
      sub?.done(body);
      own.delete(id);
    } else if (kind == 'state' || kind == 'gap' || kind == 'presence' || kind == 'error') {
      if (kind == 'state') state = body;
      emit(kind, body);
    } else if (kind == 'lead' && from != tab) {
      for (const [id, sub] of own) ask(id, sub);
    }
  };
  /** What the others want of the tab that leads. */
  const serve = ({ kind, id, body, from }: any) => {
    const of = served.get(from) ?? new Map<string, Subscription>();
    if (kind == 'sub' && !of.has(id)) {
      // A tab that has crashed gives up its lock too.
      if (!served.has(from) && from != tab) void locks.request(`${name}:${from}`, () => forget(from));
      served.set(from, of);
      const subscription = leader!.subscribe(body.channel, (message) => say(from, 'message', id, message), body.start);
      of.set(id, subscription);
      subscription.ready.then(() => say(from, 'ready', id, subscription.cursor), (error) => say(from, 'refused', id, error));
    } else if (kind == 'unsub') {
      of.get(id)?.unsubscribe();
      of.delete(id);
    }
  };
  const forget = (gone: string) => {
    for (const subscription of served.get(gone)?.values() ?? []) subscription.unsubscribe();
    served.delete(gone);
  };
  const lead = () => {
    leader = createSubscriber<any>(options);
    leader.on('state', (state) => say('*', 'state', undefined, state));
    leader.on('gap', (gap) => say('*', 'gap', undefined, gap));
    leader.on('presence', (frame) => say('*', 'presence', undefined, frame));
    leader.on('error', (error) => say('*', 'error', undefined, error));
    for (const [id, sub] of own) ask(id, sub);
    say('*', 'lead');
    return new Promise<void>((done) => (resign = done));
  };

  const enter = () => {
    const abort = new AbortController();
    post = new BroadcastChannel(name);
    post.onmessage = ({ data }) => {
      if (data.to == 'leader') leader && serve(data);
      else if (data.to == tab || data.to == '*') hear(data);
    };
    // Held for as long as the tab lives: who gets it knows that the tab is gone.
    let part: () => void;
    void locks.request(`${name}:${tab}`, () => new Promise<void>((done) => (part = done)));
    locks.request(name, { signal: abort.signal }, lead).catch(() => {});
    for (const [id, sub] of own) ask(id, sub);
    leave = () => {
      abort.abort();
      leader?.close();
      leader = undefined;
      served = new Map();
      resign?.();
      part?.();
      post?.close();
      post = leave = undefined;
    };
  };
  const hidden = () => leave?.();
  const shown = (event: PageTransitionEvent) => event.persisted && enter();
  page.addEventListener('pagehide', hidden);
  page.addEventListener('pageshow', shown);
  enter();

  return {
    on,
    get state() {
      return state;
    },
    subscribe(channel, handler, start = {}) {
      const id = ulid();
      let done!: Own['done'];
      const ready = new Promise<void>((resolve, reject) => {
        done = (error) => (error ? reject(error) : resolve());
      });
      ready.catch(() => {});
      const sub: Own = { channel, handler, start, cursor: start.since, done };
      own.set(id, sub);
      ask(id, sub);
      return {
        ready,
        get cursor() {
          return sub.cursor;
        },
        unsubscribe() {
          own.delete(id);
          say('leader', 'unsub', id);
        },
      };
    },
    close() {
      page.removeEventListener('pagehide', hidden);
      page.removeEventListener('pageshow', shown);
      own.clear();
      leave?.();
      state = { status: 'closed', attempt: 0 };
      emit('state', state);
    },
  };
}
