// The whole client: publishes and subscribes.
import { createPresence, type Enter } from './presence.js';
import { createPublisher, type Publisher, type PublisherEvents, type PublisherOptions } from './publish.js';
import {
  createSubscriber, type Gap, type Message, type Start, type Subscriber, type SubscriberEvents, type SubscriberOptions,
} from './subscribe.js';

export { createPublisher, createSubscriber };
export { WeirError } from './error.js';
export type { Change, Enter, Member, Presence } from './presence.js';
export type { Consent, PublishOptions, PublishResult, QueueStore } from './publish.js';
export type { State, Subscription } from './subscribe.js';
export type {
  Gap, Message, Publisher, PublisherEvents, PublisherOptions, Start, Subscriber, SubscriberEvents, SubscriberOptions,
};

export interface ClientOptions extends SubscriberOptions, Omit<PublisherOptions, 'source'> {
  /** The path of the source that takes the events; absent for a client that only subscribes. */
  source?: string;
}

type Events = PublisherEvents & SubscriberEvents;

export interface Client<E, C> extends Omit<Publisher<E>, 'on'>, Omit<Subscriber<C>, 'on' | 'close' | 'send'> {
  on<K extends keyof Events>(name: K, handler: (value: Events[K]) => void): () => void;
  /** Goes onto a channel as the user whom the token names, and learns who else is there. */
  presence: Enter;
  /** The events of a channel, to loop over. Whoever falls behind by `most` loses the oldest, with a `gap`. */
  messages<N extends (keyof C & string) | (string & {})>(
    channel: N, options?: Start & { signal?: AbortSignal; most?: number },
  ): AsyncGenerator<Message<N extends keyof C ? C[N] : any>, void>;
}

/**
 * A client of one daemon. Nothing is sent and nothing is connected before it is used.
 *
 * With `createTabs` from `weir-client/tabs` as `subscriberOf`, the tabs of a site share a connection.
 */
export function createClient<E = Record<string, any>, C = Record<string, any>>(
  options: ClientOptions = {}, subscriberOf: typeof createSubscriber = createSubscriber,
): Client<E, C> {
  const subscriber = subscriberOf<C>(options);
  const { source } = options;
  const publisher = source ? createPublisher<E>({ ...options, source }) : undefined;
  const publishing = () => {
    if (!publisher) throw new TypeError('`source` is needed to publish, as in createClient({ source: "/in/clicks" })');
    return publisher;
  };
  const gaps = new Set<(gap: Gap) => void>();
  return {
    get state() {
      return subscriber.state;
    },
    get queued() {
      return publisher?.queued ?? 0;
    },
    subscribe: subscriber.subscribe,
    presence: createPresence(subscriber),
    publish: (...event) => publishing().publish(...event),
    flush: async () => publisher?.flush() ?? 0,
    setConsent: (consent) => publisher?.setConsent(consent),
    on(name, handler) {
      const offs = [subscriber.on(name as any, handler as any), publisher?.on(name as any, handler as any)];
      if (name == 'gap') gaps.add(handler as any);
      return () => {
        for (const off of offs) off?.();
        gaps.delete(handler as any);
      };
    },
    async *messages(channel, { signal, most = 1_000, ...start } = {}) {
      const waiting: Message<any>[] = [];
      let wake = () => {};
      let seen: string | undefined;
      let lost: Message | undefined;
      const { unsubscribe, ready } = subscriber.subscribe(channel, (message) => {
        // The first of all stays, so that there is a place after which others are missing.
        if (waiting.push(message) > most) [lost] = waiting.splice(seen ? 0 : 1, 1);
        wake();
      }, start);
      let error: unknown;
      const stop = (thrown?: unknown) => {
        error = thrown;
        wake();
      };
      ready.catch(stop);
      const off = subscriber.on('state', () => wake());
      const end = () => wake();
      signal?.addEventListener('abort', end);
      try {
        while (!signal?.aborted && !error && subscriber.state.status != 'closed') {
          if (lost && seen) {
            const gap: Gap = { channel, reason: 'slow', missed_from: seen, cursor: lost.cursor };
            lost = undefined;
            for (const handler of gaps) handler(gap);
          }
          const message = waiting.shift();
          if (message) {
            seen = message.cursor;
            yield message;
          } else await new Promise<void>((done) => (wake = done));
        }
        if (error) throw error;
      } finally {
        off();
        signal?.removeEventListener('abort', end);
        unsubscribe();
      }
    },
    async close() {
      subscriber.close();
      await publisher?.close();
    },
  };
}
