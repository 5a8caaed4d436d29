/** `dump-guest-memory`: guest RAM and registers in a file that gdb, crash and readelf open. One at a time. */
import type { RamRegion } from '../../core/memory.ts';
import type { JsonObject } from '../json/value.ts';
import { pageTables } from '../paging.ts';
import { QmpError } from '../qmp/error.ts';
import { readSegments } from '../registers.ts';
import type { MonitorFile, MonitorTarget } from '../target.ts';
import type { Segment } from './elf.ts';
import { elfHead } from './elf.ts';

/** Bytes that are written at once, between turns of the host. */
const CHUNK = 4 * 2 ** 20;

export interface DumpRequest {
  readonly path: string;
  /** With the virtual addresses of what is mapped. */
  readonly paging: boolean;
  readonly begin?: number | undefined;
  readonly length?: number | undefined;
  /** Do not wait for the end. */
  readonly detach: boolean;
}

export type DumpStatus = 'none' | 'active' | 'completed' | 'failed';

interface Progress {
  status: DumpStatus;
  completed: number;
  total: number;
}

const PROGRESS = new WeakMap<MonitorTarget, Progress>();

/** How far the last dump has come. */
export const dumpProgress = (target: MonitorTarget): Readonly<Progress> =>
  PROGRESS.get(target) ?? { status: 'none', completed: 0, total: 0 };

/**
 * Dumps; the machine stands still meanwhile. Done when all is written, or with `detach` when it has begun.
 * @throws QmpError, HostError
 */
export async function dumpMemory(target: MonitorTarget, request: DumpRequest): Promise<void> {
  if (dumpProgress(target).status === 'active')
    throw new QmpError('There is a dump in process, please wait.');
  const { createFile } = target.os;
  if (createFile === undefined) throw new QmpError('this host has no files to dump memory to');
  const ram = selectRam(target.board.cpu.guestMemory.regions, request);
  const total = ram.reduce((sum, { size }) => sum + size, 0);
  const file = await createFile(request.path);
  if (total === 0) {
    await file.close();
    PROGRESS.set(target, { status: 'failed', completed: 0, total });
    throw new QmpError('dump: no guest memory to dump');
  }
  const progress: Progress = { status: 'active', completed: 0, total };
  PROGRESS.set(target, progress);
  const { machine } = target;
  const ran = machine.running;
  if (ran) machine.stop();
  const work = write(target, request, file, ram, progress).finally(() => {
    if (ran && machine.state === 'paused') machine.cont();
  });
  const finish = (error?: unknown): void => {
    progress.status = error === undefined ? 'completed' : 'failed';
    const message = error instanceof Error ? error.message : String(error);
    const result: JsonObject = { ...progress };
    target.emit('DUMP_COMPLETED', { result, ...(error === undefined ? {} : { error: message }) });
  };
  const done = work.then(
    () => finish(),
    (error: unknown) => {
      finish(error);
      if (!request.detach) throw error;
    },
  );
  if (!request.detach) await done;
}

async function write(
  target: MonitorTarget,
  request: DumpRequest,
  file: MonitorFile,
  ram: readonly RamRegion[],
  progress: Progress,
): Promise<void> {
  try {
    const segments = request.paging ? mapped(target, ram) : flat(ram);
    await file.write(elfHead(readSegments(target), segments));
    const { bytes } = target.board.cpu.guestMemory;
    for (const { offset, size } of ram)
      for (let done = 0; done < size; done += CHUNK) {
        const length = Math.min(CHUNK, size - done);
        // A copy: the file's thread must not see memory that Node takes for its own.
        await file.write(bytes.slice(offset + done, offset + done + length));
        progress.completed += length;
      }
  } finally {
    await file.close();
  }
}

/** What of RAM is asked for. */
function selectRam(regions: readonly RamRegion[], { begin, length }: DumpRequest): RamRegion[] {
  if (begin === undefined || length === undefined) return [...regions];
  const end = begin + length;
  return regions.flatMap(({ gpa, size, offset }) => {
    const low = Math.max(gpa, begin);
    const high = Math.min(gpa + size, end);
    return low < high ? [{ gpa: low, size: high - low, offset: offset + low - gpa }] : [];
  });
}

/** Physical addresses only. */
function flat(ram: readonly RamRegion[]): Segment[] {
  let offset = 0n;
  return ram.map(({ gpa, size }) => {
    const segment = { physical: BigInt(gpa), virtual: 0n, offset, size: BigInt(size) };
    offset += segment.size;
    return segment;
  });
}

/** What the page tables map, in runs; and RAM that nothing maps, so that none is missing. */
function mapped(target: MonitorTarget, ram: readonly RamRegion[]): Segment[] {
  const whole = flat(ram);
  const tables = pageTables(target);
  // Without paging virtual addresses are physical ones.
  if (tables === undefined) return whole.map((segment) => ({ ...segment, virtual: segment.physical }));
  const segments: Segment[] = [];
  for (const { virtual, physical, size } of tables.leaves)
    for (const block of whole) {
      const low = physical > block.physical ? physical : block.physical;
      const end = physical + size;
      const blockEnd = block.physical + block.size;
      const high = end < blockEnd ? end : blockEnd;
      if (low >= high) continue;
      const piece: Segment = {
        physical: low,
        virtual: BigInt.asUintN(64, virtual + (low - physical)),
        offset: block.offset + (low - block.physical),
        size: high - low,
      };
      const last = segments.at(-1);
      if (
        last !== undefined &&
        last.virtual + last.size === piece.virtual &&
        last.physical + last.size === piece.physical &&
        last.offset + last.size === piece.offset
      )
        segments[segments.length - 1] = { ...last, size: last.size + piece.size };
      else segments.push(piece);
    }
  return [...segments, ...whole];
}
