const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
let counter = 0;

/** A new id: a ULID. Ids that one page makes sort in the order in which it made them. */
export function ulid(now: number = Date.now()): string {
  let id = '';
  for (let time = now, digit = 0; digit < 10; digit++, time = Math.floor(time / 32)) {
    id = DIGITS[time % 32] + id;
  }
  // Within a millisecond the counter orders; the rest is chance.
  counter = (counter + 1) % 32 ** 4;
  for (let shift = 15; shift >= 0; shift -= 5) id += DIGITS[(counter >> shift) & 31];
  for (const byte of crypto.getRandomValues(new Uint8Array(12))) id += DIGITS[byte & 31];
  return id;
}
