// Events that outlive their page.
import { page } from './site.js';
import { ulid } from './ulid.js';

/** Keeps events that have no verdict yet. All it does may fail: the queue goes on in memory. */
export interface QueueStore {
  put(id: string, event: string): void;
  remove(id: string): void;
  /** Whether `id` is still there: another page may have taken it over. */
  has(id: string): boolean;
  /** Takes over the events of pages that are gone, by id. */
  adopt(): Promise<[id: string, event: string][]>;
}

/**
 * Keeps events in `localStorage`, one key each, which is written in microseconds and while a page
 * is closed. Undefined where there is none, as in workers and Node.
 *
 * A page holds a Web Lock for as long as it lives, so that no other takes over its events.
 */
export function localStore(scope: string): QueueStore | undefined {
  let storage: Storage;
  try {
    storage = page?.localStorage;
    storage.length;
  } catch {
    return undefined;
  }
  const locks: LockManager | undefined = navigator.locks;
  const prefix = `weir:${scope}:`;
  const own = `${prefix}${ulid()}:`;
  let release: undefined | (() => void);
  const hold = () => {
    locks?.request(own, () => new Promise<void>((done) => (release = done))).catch(() => {});
  };
  hold();
  page.addEventListener('pagehide', () => release?.());
  page.addEventListener('pageshow', (event: PageTransitionEvent) => event.persisted && hold());
  return {
    put: (id, event) => storage.setItem(own + id, event),
    remove: (id) => storage.removeItem(own + id),
    has: (id) => storage.getItem(own + id) !== null,
    async adopt() {
      const adopted: [string, string][] = [];
      const heads = new Set<string>();
      for (const key of Object.keys(storage)) {
        const head = key.slice(0, key.lastIndexOf(':') + 1);
        if (key.startsWith(prefix) && head != own) heads.add(head);
      }
      const take = (head: string) => {
        for (const key of Object.keys(storage)) {
          if (!key.startsWith(head)) continue;
          const [id, event] = [key.slice(head.length), storage.getItem(key)!];
          storage.removeItem(key);
          storage.setItem(own + id, event);
          adopted.push([id, event]);
        }
      };
      for (const head of heads) {
        if (locks) await locks.request(head, { ifAvailable: true }, (lock) => lock && take(head));
        else take(head);
      }
      return adopted.sort(([one], [other]) => (one < other ? -1 : 1));
    },
  };
}
