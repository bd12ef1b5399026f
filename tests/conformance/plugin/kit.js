// The plugin of the conformance kit: each event's type says what is to become of it.
import { Failure, drop, emit, fail, keep, patch, plugin, remove, replace, set } from '../weir/plugin.js';

const fields = ['user.plan', 'n', 'items[0].sku', 'odd["a.b"]', '$'];

const kit = (config) => {
  if (!config.word) throw new Error('a word is needed');
  let seen = 0;
  const judges = {
    drop,
    replace: (event) => replace(`{"was":${event.text()}}`),
    nothing: () => emit(),
    same: () => emit({}),
    bare: () => emit({ subject: null }),
    split: () =>
      emit(
        { type: 'left', subject: 'ö', route: 'odd' },
        { data: 'right €', contentType: 'text/plain' },
        { extensions: { b: '3', a: null } },
      ),
    invalid: () => fail('as told'),
    transient: () => {
      throw new Failure('as told', 'transient');
    },
    internal: () => {
      throw new Error('as told');
    },
    text: (event) => replace(`${config.word} ${event.text()}`),
    count: () => replace(seen),
    fields: (event) => replace({ fields: fields.map((path) => event.field(path) ?? null), twice: event.isAmbiguous('n') }),
    absent: (event) => replace(fields.map((path) => event.field(path) === undefined)),
    set: () => set({ 'user.plan': 'ö "x"\n', seen: true, n: 2.5, list: [1, { a: null }], none: null }),
    remove: () => remove('user.email', 'items[0]'),
    patch: () => patch(['a.b', 1], ['a.c', undefined], ['n', false], ['a["odd.key"]', '']),
    untouched: () => patch(),
    show: ({ id, source, type, subject, contentType, time, data, extensions }) =>
      replace({ id, source, type, subject, contentType, time, bytes: data.length, extensions, word: config.word }),
  };
  return (event) => {
    seen += 1;
    return (judges[event.type] ?? keep)(event);
  };
};

export const { lifecycle, transform } = plugin(kit, { fields: () => fields, data: true });
