// What a machine's process takes beyond the guest's own memory. Linux only (/proc).
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';

const PAGE = 4096;

/**
 * MiB of the process `pid` that are in memory, and those without the pages of guest RAM that the guest has touched.
 * @param memory MiB of guest RAM
 * @param ramOffset bytes from the start of the processor's memory, the process's largest mapping, to guest RAM
 * @throws Error when the process has ended, or belongs to somebody else
 */
export function memoryBeyondGuest(pid, memory, ramOffset) {
  const resident = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
  let largest = { start: 0, end: 0 };
  for (const line of readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')) {
    const match = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line);
    if (match === null) continue;
    const [start, end] = [Number.parseInt(match[1], 16), Number.parseInt(match[2], 16)];
    if (end - start > largest.end - largest.start) largest = { start, end };
  }
  const pages = (memory * 1024 * 1024) / PAGE;
  const entries = Buffer.alloc(pages * 8);
  const file = openSync(`/proc/${pid}/pagemap`, 'r');
  readSync(file, entries, 0, entries.length, ((largest.start + ramOffset) / PAGE) * 8);
  closeSync(file);
  let present = 0;
  for (let i = 0; i < pages; i++) present += entries[8 * i + 7] >> 7;
  return { resident, beyond: resident - (present * PAGE) / 1024 / 1024 };
}
