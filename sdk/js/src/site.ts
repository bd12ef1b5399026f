// Where the daemon is, and what shows it who asks.

/** A token, or what fetches one; a function is asked again when the daemon says it has expired. */
export type Token = string | (() => string | undefined | Promise<string | undefined>);

export interface SiteOptions {
  /** Where the daemon is, such as `https://live.example.com`. A page's own origin by default. */
  url?: string;
  token?: Token;
  /** What sends requests, if not the global `fetch`. */
  fetch?: typeof fetch;
}

export interface Site {
  fetch: typeof fetch;
  /** The address of a path. */
  at(path: string): string;
  /** The token; `isExpired` fetches a new one. */
  token(isExpired?: boolean): Promise<string | undefined>;
  /** The headers that show who asks, from what is known without waiting. */
  headers(): Record<string, string>;
}

/** How long a token may take. */
const TOKEN_TIMEOUT = 10_000;

/** The page's window, where there is one. */
export const page: any = (globalThis as any).document && globalThis;

export function createSite({ url, token, fetch: own }: SiteOptions): Site {
  const base = url ?? globalThis.location?.origin;
  if (!base) throw new TypeError('`url` is needed here: where is the daemon?');
  let known = typeof token == 'string' ? token : undefined;
  return {
    fetch: own ?? ((...request) => fetch(...request)),
    at: (path) => new URL(path, base).href,
    async token(isExpired) {
      if (typeof token == 'function' && (isExpired || known === undefined)) {
        known = await Promise.race([token(), sleep(TOKEN_TIMEOUT).then(() => known)]);
      }
      return known;
    },
    headers: () => (known ? { authorization: `Bearer ${known}` } : {}) as Record<string, string>,
  };
}

export function sleep(millis: number): Promise<void> {
  return new Promise((done) => setTimeout(done, millis));
}

/** A pause before attempt `attempt`: anything up to twice as long as the last, at most `max`. */
export function jitter(attempt: number, first: number, max: number): number {
  return Math.random() * Math.min(max, first * 2 ** attempt);
}

/** The pause that a reply asks for, in milliseconds. */
export function retryAfter(headers: Headers): number {
  const text = headers.get('retry-after');
  if (!text) return 0;
  const millis = isNaN(+text) ? Date.parse(text) - Date.now() : +text * 1000;
  // Longer than a day is a mistake, or no time at all.
  return millis > 0 && millis < 864e5 ? millis : 0;
}
