// Builds dist/client.js, the file that the daemon serves; `--check` says whether it is what the
// sources give, and all sizes are within their limits.
import { readFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

/** Bytes of each entry, minified and compressed with gzip -9. */
export const SIZES = { index: 6_656, publish: 3_584, subscribe: 3_072 };

const at = (path) => fileURLToPath(new URL(path, import.meta.url));

/** The minified module of one entry. */
export async function bundle(entry) {
  const { outputFiles } = await build({
    entryPoints: [at(`src/${entry}.ts`)], bundle: true, minify: true, format: 'esm', target: 'es2022', write: false,
  });
  return outputFiles[0].text;
}

/** What is wrong, one line each. */
export async function check() {
  const faults = [];
  for (const [entry, max] of Object.entries(SIZES)) {
    const size = gzipSync(await bundle(entry), { level: 9 }).length;
    console.log(`${entry}: ${size} of ${max} bytes`);
    if (size > max) faults.push(`${entry} has ${size} bytes of ${max}`);
  }
  if (readFileSync(at('dist/client.js'), 'utf8') !== (await bundle('index'))) {
    faults.push('dist/client.js is not what the sources give: run `npm run build` in sdk/js');
  }
  return faults;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv.includes('--check')) {
    const faults = await check();
    for (const fault of faults) console.error(fault);
    process.exitCode = faults.length ? 1 : 0;
  } else {
    mkdirSync(at('dist'), { recursive: true });
    writeFileSync(at('dist/client.js'), await bundle('index'));
  }
}
