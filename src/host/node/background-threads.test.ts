/** Which threads stand back, and by how much; and that the program's do. */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { standBack } from './background-threads.ts';
import { PACKAGE_ROOT } from './package-root.ts';

const NODE_26 = [
  { id: 11, name: 'DelayedTaskSche' },
  { id: 12, name: 'node-V8Worker' },
  { id: 13, name: 'node-V8Worker' },
  { id: 14, name: 'SignalInspector' },
  { id: 15, name: 'libuv-worker' },
];
const NODE_20 = [19, 17, 12, 13, 14, 15, 16].map((id) => ({ id, name: 'node' }));

function setUp(list: readonly { id: number; name: string }[], { nice = 0, processors = 2 } = {}) {
  const set: [number, number][] = [];
  const threads = {
    list: () => list,
    setPriority: (id: number, to: number) => void set.push([id, to]),
    nice,
    processors,
  };
  return { set, threads };
}

describe('threads that stand back', () => {
  it('are known by their names', () => {
    const { set, threads } = setUp(NODE_26);
    standBack(threads, '26.10.0', '');
    expect(set).toEqual([
      [12, 10],
      [13, 10],
    ]);
  });

  it('are the first where they have no names', () => {
    const { set, threads } = setUp(NODE_20);
    standBack(threads, '20.19.0', '');
    expect(set.map(([id]) => id)).toEqual([12, 13, 14, 15, 16]);
  });

  it('stay as they are where it is not known which they are', () => {
    const { set, threads } = setUp(NODE_20);
    standBack(threads, '20.19.0', '--v8-pool-size=1');
    expect(set).toEqual([]);
  });

  it('are behind a process that is nice itself', () => {
    const five = setUp(NODE_26, { nice: 5 });
    standBack(five.threads, '26.10.0', '');
    expect(five.set[0]).toEqual([12, 15]);
    const most = setUp(NODE_26, { nice: 12 });
    standBack(most.threads, '26.10.0', '');
    expect(most.set[0]).toEqual([12, 19]);
  });

  it('have equal rights on one processor', () => {
    const { set, threads } = setUp(NODE_26, { processors: 1 });
    standBack(threads, '26.10.0', '');
    expect(set).toEqual([]);
  });

  it('may be refused', () => {
    const { threads } = setUp(NODE_26);
    const setPriority = (): never => {
      throw new Error('EPERM');
    };
    expect(() => standBack({ ...threads, setPriority }, '26.10.0', '')).not.toThrow();
  });
});

const MAIN = join(PACKAGE_ROOT, 'dist/cli/main.js');

/** Nice values of a process's threads, the first of which is first: the 19th field of proc(5)'s stat. */
function niceOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`)
    .sort((a, b) => Number(a) - Number(b))
    .map((id) => readFileSync(`/proc/${pid}/task/${id}/stat`, 'latin1'))
    .map((stat) => Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]));
}

const canTell = process.platform === 'linux' && availableParallelism() > 1 && existsSync(MAIN);

describe.skipIf(!canTell)('the program', () => {
  it('has V8’s threads stand back', async () => {
    const child = spawn(process.execPath, [MAIN, '-S', '-display', 'none', '-monitor', 'stdio']);
    try {
      await new Promise((resolve, reject) => {
        child.stdout.once('data', resolve);
        child.once('exit', reject);
      });
      const [first, ...others] = niceOf(child.pid!);
      const own = niceOf(process.pid)[0]!;
      expect(first).toBe(own);
      const nicer = others.filter((nice) => nice > own);
      expect(nicer.length).toBeGreaterThanOrEqual(4);
      expect(new Set(nicer)).toEqual(new Set([Math.min(own + 10, 19)]));
    } finally {
      child.kill();
    }
  });
});
