// Cursors are `epoch.seq`. Only the order of two of the same epoch is of interest. Hubs that daemons
// share have numbers beyond what a double holds.

/** Whether an event at `next` is new to whoever has all up to `cursor`. */
export function isNew(cursor: string | undefined = '', next: string): boolean {
  const [epoch, seq] = next.split('.');
  const [known, last] = cursor.split('.');
  return epoch != known || BigInt(seq!) > BigInt(last!);
}

const NAME = /^[^\s.]+(\.[^\s.]+)*$/;

/** A test for channels: in a pattern `*` is one segment and `**` any number. */
export function matcher(pattern: string): (channel: string) => boolean {
  if (!NAME.test(pattern)) throw new TypeError('no channel: ' + pattern);
  const source = pattern.split('.').map((segment) =>
    segment == '**' ? '(\\.[^.]+)*' : '\\.' + (segment == '*' ? '[^.]+' : segment.replace(/\W/g, '\\$&')));
  const test = new RegExp(`^${source.join('')}$`);
  return (channel) => test.test('.' + channel);
}
