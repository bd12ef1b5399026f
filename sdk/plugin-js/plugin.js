// Write a Weir transform in JavaScript: one function over the events of a batch.
//
//   import { plugin, keep, drop } from '../weir/plugin.js';
//   export const { lifecycle, transform } = plugin(() => (event) => event.type === 'ping' ? drop() : keep());
//
// Events cross the sandbox as columns of a whole batch; this file hides them. plugin.d.ts has the types.
import host from 'weir:plugin/log@1.0.0';

// 0xffffffff, which marks an absent word; the engine hands u32 over as signed numbers.
const NONE = -1;

// The numbers of what a field is, as the contract has them.
const TEXT = 5;
const JSON_TEXT = 6;
const AMBIGUOUS = 128;

/** A failure of one event: throw it, or return `fail(...)`. */
export class Failure extends Error {
  constructor(message, kind = 'invalid') {
    super(message);
    this.kind = kind;
  }
}

export const keep = () => ({ verdict: 'keep' });
export const drop = () => ({ verdict: 'drop' });
export const replace = (data) => emit({ data });
/** Passes on with changes, made in this order: [path, value], and undefined takes a field away. */
export const patch = (...changes) => (changes.length ? { verdict: 'patch', changes } : keep());
export const set = (changes) => patch(...Object.entries(changes));
export const remove = (...paths) => patch(...paths.map((path) => [path, undefined]));
export const emit = (...rows) => (rows.length ? { verdict: 'emit', rows } : drop());
export const fail = (message, kind = 'invalid') => ({ verdict: 'fail', kind, message: String(message) });

const say = (level) => (...words) => host.log(level, words.map(text).join(' '));
export const log = { trace: say('trace'), debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') };

const text = (value) => (typeof value === 'string' ? value : value instanceof Error ? value.message : JSON.stringify(value));

/** One event: a view over the columns that reads only what is asked for. */
class Event {
  #columns;
  #index;

  constructor(columns, index) {
    this.#columns = columns;
    this.#index = index;
  }

  get id() {
    return this.#columns.ids.at(this.#index);
  }
  get source() {
    return this.#columns.word('sources', this.#index);
  }
  get type() {
    return this.#columns.word('types', this.#index);
  }
  get subject() {
    return this.#columns.word('subjects', this.#index);
  }
  get contentType() {
    return this.#columns.word('contentTypes', this.#index);
  }
  /** Microseconds since the Unix epoch. */
  get time() {
    return this.#columns.batch.times[this.#index];
  }
  /** The attributes beyond those of CloudEvents. */
  get extensions() {
    return this.#columns.extensions(this.#index);
  }
  /** A field that the plugin named in `fields`: undefined where there is none. */
  field(path) {
    return this.#columns.field(path, this.#index);
  }
  /** Whether an object on the way to the field names its key more than once; the last one counts. */
  isAmbiguous(path) {
    return this.#columns.isAmbiguous(path, this.#index);
  }
  /** The payload as bytes. */
  get data() {
    const [start, end] = span(this.#columns.batch.dataEnds, this.#index);
    return this.#columns.data.subarray(start, end);
  }
  /** The payload as text; an invalid event where it is not UTF-8. */
  text() {
    return decode(this.data);
  }
  /** The payload as JSON; an invalid event where it is none. */
  json() {
    try {
      return JSON.parse(this.text());
    } catch (error) {
      throw new Failure(`data is not JSON: ${error.message}`);
    }
  }
}

/** A column of strings whose ends count bytes. Where all of it is ASCII, bytes are characters. */
class Texts {
  constructor(text, ends) {
    this.text = text;
    this.ends = ends;
    this.bytes = text.length === (ends.length ? ends[ends.length - 1] : 0) ? null : encode(text);
  }
  at(index) {
    const [start, end] = span(this.ends, index);
    return this.bytes ? decode(this.bytes.subarray(start, end)) : this.text.slice(start, end);
  }
}

class Columns {
  #fields;
  #paths;

  constructor(batch, paths) {
    this.batch = batch;
    this.#paths = paths;
    this.#fields = batch.fields.map(({ kinds, ends, values }) => ({ kinds, texts: new Texts(values, ends) }));
    this.ids = new Texts(batch.ids, batch.idEnds);
    this.dictionary = new Texts(batch.dictionary, batch.dictionaryEnds);
    this.data = batch.data instanceof Uint8Array ? batch.data : Uint8Array.from(batch.data);
    const { extensions } = batch;
    this.values = extensions && new Texts(extensions.values, extensions.valueEnds);
  }
  #column(path) {
    const column = this.#fields[this.#paths.indexOf(path)];
    if (!column) throw new Error(`the plugin does not name the field ${path}: add it to "fields"`);
    return column;
  }
  field(path, index) {
    const { kinds, texts } = this.#column(path);
    const kind = kinds[index] & ~AMBIGUOUS;
    if (kind < 4 || kind > JSON_TEXT) return [undefined, null, false, true][kind];
    const text = texts.at(index);
    return kind === TEXT ? text : JSON.parse(text);
  }
  isAmbiguous(path, index) {
    return this.#column(path).kinds[index] >= AMBIGUOUS;
  }
  word(column, index) {
    const word = this.batch[column][index];
    return (word | 0) === NONE ? null : this.dictionary.at(word);
  }
  extensions(index) {
    const all = {};
    const { extensions } = this.batch;
    if (!extensions) return all;
    const [start, end] = span(extensions.rowEnds, index);
    for (let entry = start; entry < end; entry++) {
      all[extensions.names[extensions.nameOf[entry]]] = this.values.at(entry);
    }
    return all;
  }
}

/** The answer for a batch: verdicts come in, in the order of events; columns go out. */
class Answer {
  verdicts = [];
  failures = [];
  rows = [];
  changes = [];

  add(event, index, judged) {
    const { verdict } = judged;
    this.verdicts.push(verdict);
    if (verdict === 'fail') this.failures.push({ event: index, kind: judged.kind, message: judged.message });
    if (verdict === 'patch') for (const [path, value] of judged.changes) this.changes.push({ origin: index, path, value });
    if (verdict === 'emit') for (const row of judged.rows) this.rows.push({ origin: index, event, row });
  }

  finish() {
    const { verdicts, failures } = this;
    const patches = this.changes.length ? this.#patches() : null;
    return { verdicts, patches, emitted: this.rows.length ? this.#emitted() : null, failures };
  }

  #patches() {
    const names = new Map();
    const values = new Buffer();
    const [nameOf, kinds] = [[], []];
    for (const { path, value } of this.changes) {
      if (!names.has(path)) names.set(path, names.size);
      nameOf.push(names.get(path));
      const [kind, text] = valued(value);
      kinds.push(kind);
      values.push(encode(text));
    }
    const origins = this.changes.map(({ origin }) => origin);
    return { origins, names: [...names.keys()], nameOf, kinds: Uint8Array.from(kinds), ends: values.ends, values: decode(values.bytes()) };
  }

  #emitted() {
    const dictionary = new Buffer();
    const words = new Map();
    const intern = (word) => {
      if (word === null || word === undefined) return NONE;
      if (!words.has(word)) {
        words.set(word, words.size);
        dictionary.push(encode(String(word)));
      }
      return words.get(word);
    };
    // A column is left empty where every row inherits it.
    const column = (name, inherited) => {
      if (!this.rows.some(({ row }) => row[name] !== undefined)) return [];
      return this.rows.map(({ event, row }) => intern(row[name] === undefined ? inherited(event) : row[name]));
    };
    const data = new Buffer();
    if (this.rows.some(({ row }) => row.data !== undefined)) {
      for (const { event, row } of this.rows) data.push(row.data === undefined ? event.data : payload(row.data));
    }
    const types = column('type', (event) => event.type);
    const subjects = column('subject', (event) => event.subject);
    const contentTypes = column('contentType', (event) => event.contentType);
    const routes = column('route', () => null);
    return {
      origins: this.rows.map(({ origin }) => origin),
      dataEnds: data.ends,
      data: data.bytes(),
      dictionaryEnds: dictionary.ends,
      dictionary: decode(dictionary.bytes()),
      types,
      subjects,
      contentTypes,
      routes,
      extensions: this.#extensions(),
    };
  }

  #extensions() {
    if (!this.rows.some(({ row }) => row.extensions !== undefined)) return null;
    const names = [];
    const values = new Buffer();
    const [rowEnds, nameOf] = [[], []];
    for (const { event, row } of this.rows) {
      for (const [name, value] of Object.entries({ ...event.extensions, ...row.extensions })) {
        if (value === null || value === undefined) continue;
        if (!names.includes(name)) names.push(name);
        nameOf.push(names.indexOf(name));
        values.push(encode(String(value)));
      }
      rowEnds.push(nameOf.length);
    }
    return { names, rowEnds, nameOf, valueEnds: values.ends, values: decode(values.bytes()) };
  }
}

/** Bytes that are appended piece by piece, and where each piece ends. */
class Buffer {
  ends = [];
  #pieces = [];
  #length = 0;

  push(piece) {
    this.#pieces.push(piece);
    this.#length += piece.length;
    this.ends.push(this.#length);
  }
  bytes() {
    const all = new Uint8Array(this.#length);
    let at = 0;
    for (const piece of this.#pieces) {
      all.set(piece, at);
      at += piece.length;
    }
    return all;
  }
}

const span = (ends, index) => [index ? ends[index - 1] : 0, ends[index]];

/** The kind of a value and its text. */
const valued = (value) => {
  if (value === undefined) return [0, ''];
  if (value === null) return [1, ''];
  if (typeof value === 'boolean') return [value ? 3 : 2, ''];
  if (typeof value === 'string') return [TEXT, value];
  return [JSON_TEXT, JSON.stringify(value) ?? 'null'];
};

const payload = (data) => {
  if (data instanceof Uint8Array) return data;
  return encode(typeof data === 'string' ? data : JSON.stringify(data));
};

// The engine has no TextEncoder and no TextDecoder.
function encode(string) {
  const bytes = [];
  for (const character of string) {
    const code = character.codePointAt(0);
    if (code < 0x80) bytes.push(code);
    else if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 63));
    else if (code < 0x10000) bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    else bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
  }
  return Uint8Array.from(bytes);
}

function decode(bytes) {
  let string = '';
  for (let at = 0; at < bytes.length; ) {
    const first = bytes[at++];
    if (first < 0x80) {
      string += String.fromCharCode(first);
      continue;
    }
    const more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
    let code = first & (0x3f >> more);
    for (let left = more; left; left--) {
      const next = bytes[at++];
      if ((next & 0xc0) !== 0x80) throw new Failure('data is not UTF-8');
      code = (code << 6) | (next & 0x3f);
    }
    const least = [0, 0x80, 0x800, 0x10000][more];
    const isValid = first >= 0xc2 && first < 0xf5 && code >= least && code < 0x110000 && (code & 0x1ff800) !== 0xd800;
    if (!isValid) throw new Failure('data is not UTF-8');
    string += String.fromCodePoint(code);
  }
  return string;
}

/**
 * Makes a plugin of `configure`, which is called once with the step's config and answers the function that
 * judges each event. What `configure` throws refuses the pipeline; what the function throws fails its event.
 * `fields` are the fields of JSON data that it reads with `event.field`: paths, or a function of the config that
 * answers them. The daemon finds them; a plugin that names some gets no `data`, unless it says so.
 */
export function plugin(configure, { schema = null, fields = [], data = !fields.length } = {}) {
  let judge;
  let paths;
  return {
    lifecycle: {
      configure(config, step) {
        try {
          const settings = JSON.parse(config || '{}');
          judge = configure(settings, step);
          paths = typeof fields === 'function' ? fields(settings) : fields;
        } catch (error) {
          throw error instanceof Error ? error.message : String(error);
        }
        if (typeof judge !== 'function') throw 'the plugin answers no function that judges events';
        return { fields: paths, data };
      },
      schema: () => (schema ? JSON.stringify(schema) : null),
    },
    transform: {
      process(batch) {
        const columns = new Columns(batch, paths);
        const answer = new Answer();
        for (let index = 0; index < batch.times.length; index++) {
          const event = new Event(columns, index);
          answer.add(event, index, judged(judge, event));
        }
        return answer.finish();
      },
    },
  };
}

function judged(judge, event) {
  let answer;
  try {
    answer = judge(event);
  } catch (error) {
    return fail(error?.message ?? error, error instanceof Failure ? error.kind : 'internal');
  }
  const isVerdict = ['keep', 'drop', 'patch', 'emit', 'fail'].includes(answer?.verdict);
  return isVerdict ? answer : fail('the plugin gave no verdict: return keep(), drop(), set(…), replace(…), emit(…) or fail(…)', 'internal');
}
