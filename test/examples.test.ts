/** The programs in examples/, run as a user would run them, on the tiny guest of the cache. */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'paravane');
const ready =
  existsSync('dist/index.js') &&
  existsSync('dist/x86/runtime.wasm') &&
  existsSync(cache) &&
  readdirSync(cache).some((name) => name.startsWith('tiny-'));

function run(args: readonly string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  child.stdout.on('data', (data: Buffer) => (out += data.toString()));
  child.stderr.on('data', (data: Buffer) => (err += data.toString()));
  return new Promise((resolve) => child.on('exit', (code) => resolve({ code, out, err })));
}

/** A boot takes a few seconds on an idle machine; a busy one is given its time. */
const LONG = 180_000;

describe.skipIf(!ready)('examples (need a build and the tiny guest: npm start makes both)', () => {
  it('run-command', { timeout: LONG }, async () => {
    const { code, out, err } = await run(['examples/run-command.mjs', 'echo $((6*7)); cat /proc/cmdline']);
    expect(err).toBe('');
    expect(out).toBe('42\nconsole=ttyS0 quiet\n');
    expect(code).toBe(0);
  });

  it('custom-device', { timeout: LONG }, async () => {
    const { code, out } = await run(['examples/custom-device.mjs']);
    const [first, ...rest] = /gave (.*)/.exec(out)![1]!.split(' ').map(Number);
    expect(rest).toEqual([1, 2, 3, 4, 5, 6, 7].map((step) => (first! + step) & 0xff));
    expect(code).toBe(0);
  });

  it('virtio-port', { timeout: LONG }, async () => {
    const { code, out } = await run(['examples/virtio-port.mjs']);
    expect(out).toMatch(/^uptime: [\d.]+ [\d.]+\nloadavg: .*\nsys\/kernel\/ostype: Linux\n$/);
    expect(code).toBe(0);
  });
});
