// Types of plugin.js: what a Weir transform in JavaScript or TypeScript sees.

/** One event: the attributes of CloudEvents 1.0 and the data. */
export interface Event {
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly subject: string | null;
  readonly contentType: string | null;
  /** When it happened, in microseconds since the Unix epoch. */
  readonly time: number;
  readonly extensions: Record<string, string>;
  /** A field of JSON data that the plugin named in `fields`; undefined where there is none, or the data is not JSON. */
  field(path: string): any;
  /** Whether an object on the way to the field names its key more than once; the last one counts. */
  isAmbiguous(path: string): boolean;
  /** The payload. Empty where the plugin names `fields`, unless it asks for `data` too. */
  readonly data: Uint8Array;
  /** The data as text; fails the event as invalid where it is not UTF-8. */
  text(): string;
  /** The data as JSON; fails the event as invalid where it is none. */
  json<T = unknown>(): T;
}

/** An event that takes the place of the one judged. What is not set is inherited; null takes it away. */
export interface Row {
  /** Bytes and strings are taken as they are, anything else is written as JSON. */
  data?: unknown;
  type?: string;
  subject?: string | null;
  contentType?: string | null;
  /** A named route of the step: `inputs = ["STEP.ROUTE"]` takes it. */
  route?: string;
  /** Set one by one; null takes one away. */
  extensions?: Record<string, string | null>;
}

/** Who is to blame: the event, something that may pass by itself, or the plugin. */
export type FailureKind = 'invalid' | 'transient' | 'internal';

/** What becomes of an event; made by the functions below. */
export type Verdict =
  | { verdict: 'keep' }
  | { verdict: 'drop' }
  | { verdict: 'patch'; changes: [path: string, value: unknown][] }
  | { verdict: 'emit'; rows: Row[] }
  | { verdict: 'fail'; kind: FailureKind; message: string };

/** It passes on untouched. */
export function keep(): Verdict;
/** It is dropped on purpose. */
export function drop(): Verdict;
/**
 * It passes on with these fields of its JSON data set: `set({ 'user.plan': 'pro' })`. Objects on the way are made where they are
 * missing; all that is not changed keeps its bytes.
 */
export function set(changes: Record<string, unknown>): Verdict;
/** It passes on without these fields of its JSON data. */
export function remove(...paths: string[]): Verdict;
/** It passes on with changes, made in this order; undefined takes a field away. */
export function patch(...changes: [path: string, value: unknown][]): Verdict;
/** It passes on with this data. */
export function replace(data: unknown): Verdict;
/** These take its place: one changes it, several split it. */
export function emit(...rows: Row[]): Verdict;
/** It cannot be judged; the step's `on_error` decides what becomes of it. */
export function fail(message: string, kind?: FailureKind): Verdict;

/** Thrown, it fails the event. */
export class Failure extends Error {
  constructor(message: string, kind?: FailureKind);
  readonly kind: FailureKind;
}

/** Lines for the daemon's log. */
export const log: Record<'trace' | 'debug' | 'info' | 'warn' | 'error', (...words: unknown[]) => void>;

/** Where the plugin runs. */
export interface Step {
  readonly pipeline: string;
  readonly name: string;
  readonly instance: number;
  readonly hostVersion: string;
}

/** Makes a plugin; export what it answers as `lifecycle` and `transform`. */
export function plugin<Config = Record<string, unknown>>(
  configure: (config: Config, step: Step) => (event: Event) => Verdict,
  options?: {
    /** JSON Schema of the config. */
    schema?: object;
    /** The fields of JSON data that it reads, such as `user.plan`, `items[0].sku`, `user["odd.key"]`. */
    fields?: string[] | ((config: Config) => string[]);
    /** Whether it wants the whole data as well; without `fields` it does. */
    data?: boolean;
  },
): { lifecycle: object; transform: object };
