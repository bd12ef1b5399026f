// Cursors are `epoch.seq`. Only the order of two of the same epoch is of interest.

/** Whether an event at `next` is new to whoever has all up to `cursor`. */
export function isNew(cursor: string | undefined, next: string): boolean {
  if (!cursor) return true;
  const [one, other] = [cursor.split('.'), next.split('.')];
  return one[0] != other[0] || +other[1] > +one[1];
}

/** A test for channels: in a pattern `*` is one segment and `**` any number. */
export function matcher(pattern: string): (channel: string) => boolean {
  if (!pattern.includes('*')) return (channel) => channel == pattern;
  const source = ('.' + pattern)
    .replace(/[^\w*.]/g, '\\$&')
    .replace(/\.(\*\*|\*|[^.]*)/g, (_, segment) =>
      segment == '**' ? '(\\.[^.]+)*' : segment == '*' ? '\\.[^.]+' : '\\.' + segment);
  const test = new RegExp(`^${source}$`);
  return (channel) => test.test('.' + channel);
}
