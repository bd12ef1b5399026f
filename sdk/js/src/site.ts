// Where the daemon is, what shows it who asks, and what it says when it refuses.
import { WeirError } from './error.js';

/** A token, or what fetches one; a function is asked again once the daemon refuses its token. */
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
  token(): Promise<string | undefined>;
  /** Forgets the token; answers whether there may be another. */
  expire(): boolean;
  /** The headers that show who asks, from what is known without waiting. */
  headers(): Record<string, string>;
  /** What a reply that refuses a request says; `told` is its body. */
  refusal(reply: Response, told: any): WeirError;
}

export function createSite({ url, token, fetch: own }: SiteOptions): Site {
  const base = url ?? globalThis.location?.origin;
  if (!base) throw new TypeError('`url` is missing');
  const ask = typeof token == 'function' && token;
  let known = ask ? undefined : (token as string | undefined);
  const site: Site = {
    fetch: own ?? ((...request) => fetch(...request)),
    at: (path) => new URL(path, base).href,
    async token() {
      if (ask) known ??= await ask();
      return known;
    },
    expire() {
      if (ask) known = undefined;
      return !!ask;
    },
    headers: () => (known ? { authorization: `Bearer ${known}` } : {}) as Record<string, string>,
    refusal({ status, headers }, told) {
      const mayRetry = status == 401 ? site.expire() : status == 408 || status == 429 || status > 499;
      return new WeirError(
        told?.code ?? `http_${status}`, told?.detail ?? `status ${status}`, mayRetry, retryAfter(headers), told?.hint,
      );
    },
  };
  return site;
}

/** A pause before attempt `attempt`: anything up to twice as long as the last, at most `max`. */
export function jitter(attempt: number, first: number, max: number): number {
  return Math.random() * Math.min(max, first * 2 ** attempt);
}

/** The pause that a reply asks for, in milliseconds; what is no number of seconds within a day is none. */
export function retryAfter(headers: Headers): number {
  const millis = +headers.get('retry-after')! * 1_000;
  return millis > 0 && millis < 864e5 ? millis : 0;
}
