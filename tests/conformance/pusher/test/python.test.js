// The python libraries: `libraries.py` runs against a daemon, in the environment that `make` made.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { APP, startDaemon } from './daemon.js';

const file = (path) => fileURLToPath(new URL(path, import.meta.url));
const PYTHON = process.env.PUSHER_PYTHON ?? file('../../../../target/pusher-python/bin/python');
const skip = !existsSync(PYTHON) && !process.env.CI && '*** there is no Python with `pusher` and `pysher` ***';

test('the python libraries work unmodified', { skip }, async (t) => {
  const daemon = await startDaemon(t);
  const args = [file('libraries.py'), '127.0.0.1', daemon.port, APP.id, APP.key, APP.secret];
  const { stdout } = await promisify(execFile)(PYTHON, args, { timeout: 30_000 }).catch((error) => assert.fail(`${error.stdout}${error.stderr}`));
  assert.equal(stdout.trim().split('\n').length, 8, stdout);
});
