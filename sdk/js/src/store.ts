// Events that outlive their page.
import { ulid } from './ulid.js';

/** Keeps events that have no verdict yet. All it does may fail: the queue goes on in memory. */
export interface QueueStore {
  put(id: string, event: string): void;
  remove(id: string): void;
  /** Takes over what pages that are gone have put, in the order of their ids. */
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
    // Node has one too, which asks for a file; there is no page that it could outlive.
    storage = (globalThis.document && localStorage)!;
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
  addEventListener('pagehide', () => release?.());
  addEventListener('pageshow', (event) => event.persisted && hold());
  return {
    put: (id, event) => storage.setItem(own + id, event),
    remove: (id) => storage.removeItem(own + id),
    async adopt() {
      const adopted: [string, string][] = [];
      const take = (head: string) => {
        for (const key of Object.keys(storage)) {
          if (!key.startsWith(head)) continue;
          const [id, event] = [key.slice(head.length), storage[key]];
          storage.setItem(own + id, event);
          storage.removeItem(key);
          adopted.push([id, event]);
        }
      };
      const heads = Object.keys(storage).map((key) => key.slice(0, own.length));
      for (const head of new Set(heads)) {
        if (!head.startsWith(prefix) || head == own) continue;
        if (locks) await locks.request(head, { ifAvailable: true }, (lock) => lock && take(head));
        else take(head);
      }
      return adopted.sort(([one], [other]) => (one < other ? -1 : 1));
    },
  };
}
