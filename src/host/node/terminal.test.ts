import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { NodeClock } from './clock.ts';
import { cacheFolder, fillRandom, yieldToHost } from './process.ts';

it('time runs, stands still while stopped, and fires timers in order', async () => {
  const clock = new NodeClock({ epoch: 1000 });
  const fired: number[] = [];
  const start = clock.now();
  clock.schedule(start + 20e6, () => fired.push(2));
  clock.schedule(start + 10e6, () => fired.push(1));
  clock.schedule(start + 15e6, () => fired.push(9)).cancel();
  await new Promise((resolve) => setTimeout(resolve, 60));
  expect(fired).toEqual([1, 2]);
  clock.stop();
  const stopped = clock.now();
  clock.schedule(stopped + 1e6, () => fired.push(3));
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(clock.now()).toBe(stopped);
  expect(clock.wallClock()).toBe(1000 + stopped / 1e6);
  expect(fired).toEqual([1, 2]);
  clock.resume();
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(fired).toEqual([1, 2, 3]);
  expect(clock.poll()).toBe(Number.POSITIVE_INFINITY);
  clock.close();
});

it('without waking, timers fire when polled', async () => {
  const clock = new NodeClock({ wake: false });
  let fired = false;
  clock.schedule(clock.now() + 1e6, () => (fired = true));
  await new Promise((resolve) => setTimeout(resolve, 10));
  expect(fired).toBe(false);
  clock.poll();
  expect(fired).toBe(true);
});

it('fills shared memory with random bytes', async () => {
  const data = new Uint8Array(new SharedArrayBuffer(200000));
  fillRandom(data);
  await yieldToHost();
  const counts = new Uint32Array(256);
  for (const byte of data) counts[byte]!++;
  expect(Math.min(...counts)).toBeGreaterThan(500);
});

it('keeps its cache where XDG says', () => {
  const base = fs.mkdtempSync(path.join(os.tmpdir(), 'paravane-test-'));
  const before = process.env['XDG_CACHE_HOME'];
  process.env['XDG_CACHE_HOME'] = base;
  expect(cacheFolder('guests')).toBe(path.join(base, 'paravane', 'guests'));
  expect(fs.statSync(path.join(base, 'paravane', 'guests')).isDirectory()).toBe(true);
  if (before === undefined) delete process.env['XDG_CACHE_HOME'];
  else process.env['XDG_CACHE_HOME'] = before;
  fs.rmSync(base, { recursive: true });
});

/** Runs a program on a terminal of its own (util-linux `script`) and returns what stty says after it. */
async function onTerminal(program: string): Promise<string> {
  const child = spawn('script', ['-qec', `stty -g; ${program}; stty -g`, '/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout.on('data', (data: Buffer) => (out += data.toString()));
  await new Promise((resolve) => child.once('exit', resolve));
  return out;
}

const built = path.resolve('dist/host/node/terminal.js');
it.skipIf(!fs.existsSync('/usr/bin/script') || !fs.existsSync(built))(
  'leaves the terminal as it was, however it ends',
  async () => {
    const open = `import { openStdio } from ${JSON.stringify(built)}; openStdio({ signals: false });`;
    for (const end of [
      'process.exit(0)',
      'throw new Error("x")',
      'process.kill(process.pid, "SIGTERM")',
      'process.on("SIGHUP", () => process.exit(1)); process.kill(process.pid, "SIGHUP")',
    ]) {
      const script = `${open} setTimeout(() => { ${end} }, 50)`;
      const lines = (
        await onTerminal(`node --input-type=module -e '${script.replaceAll("'", "'\\''")}' 2>/dev/null`)
      )
        .trim()
        .split(/\r?\n/);
      expect(lines.at(-1)).toBe(lines[0]);
    }
  },
);
