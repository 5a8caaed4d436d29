/**
 * Has V8's own threads stand back behind the machine's. While much code is new, four of them compile without a pause; at
 * equal rights on two processors they take a third of its time from the machine's thread, which could go on without them.
 */
import { readdirSync, readFileSync } from 'node:fs';
import os from 'node:os';
import { majorVersion, nodeOptions } from './process.ts';

/** How much nicer than the process they get (setpriority(2)): a tenth of its share, where there is not enough for all. */
const NICER = 10;
const NICEST = 19;
/** The first major version whose threads have names of their own. */
const NAMED = 24;
/** Threads that older versions begin with, before any that reads files: one for delayed tasks, four of V8's. */
const FIRST = 5;

interface Thread {
  readonly id: number;
  readonly name: string;
}

interface Threads {
  /** Those of this process but for its first; @throws Error where the system does not say */
  list(): readonly Thread[];
  /** @throws Error where that may not be changed */
  setPriority(id: number, nice: number): void;
  readonly nice: number;
  /** How many processors there are for the process. */
  readonly processors: number;
}

/** Linux has a priority for each thread; elsewhere processes have one. */
const linux: Threads = {
  list() {
    const ids = readdirSync('/proc/self/task').map(Number);
    return ids
      .filter((id) => id !== process.pid)
      .map((id) => ({ id, name: readFileSync(`/proc/self/task/${id}/comm`, 'latin1').trim() }));
  },
  setPriority: (id, nice) => os.setPriority(id, nice),
  get nice() {
    return os.getPriority();
  },
  get processors() {
    return os.availableParallelism();
  },
};

/**
 * For programs only: all of the process's compiling and collecting is concerned. To be called as the process begins.
 * With one processor nothing changes, for whoever compiles takes its time from the guest there in any case.
 */
export function standBack(
  threads: Threads | undefined = process.platform === 'linux' ? linux : undefined,
  version?: string,
  options: string = nodeOptions(),
): void {
  if (threads === undefined || threads.processors < 2) return;
  const named = majorVersion(version) >= NAMED;
  // then it is not known how many there are
  if (!named && options.includes('v8-pool-size')) return;
  try {
    const all = [...threads.list()].sort((a, b) => a.id - b.id);
    const chosen = named ? all.filter(({ name }) => name.endsWith('V8Worker')) : all.slice(0, FIRST);
    const nice = Math.min(threads.nice + NICER, NICEST);
    for (const { id } of chosen) threads.setPriority(id, nice);
  } catch {
    // without /proc, or in a sandbox: as it was
  }
}
