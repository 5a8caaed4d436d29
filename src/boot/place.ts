/**
 * Where a direct boot puts what goes beside the kernel: the command line at its fixed place, the initrd at the top
 * of the RAM that the kernel can reach, as QEMU and boot loaders do.
 */
import { UsageError } from '../core/errors.ts';
import type { GuestMemory } from '../core/memory.ts';
import { E820_RAM, type E820Entry } from '../pc/acpi/e820.ts';
import { hex } from './elf.ts';
import { LOW_LAYOUT } from './zeropage.ts';

const MIB = 0x100000;

/** Writes the command line, zero-terminated; refuses one that the kernel would cut. */
export function writeCmdline(memory: GuestMemory, cmdline: string, limit: number): void {
  const text = new TextEncoder().encode(`${cmdline}\0`);
  // The place ends where the next structure starts.
  const room = Math.min(limit, LOW_LAYOUT.scratch - LOW_LAYOUT.cmdline - 1);
  if (text.length - 1 > room)
    throw new UsageError(`-append: ${text.length - 1} bytes are more than this kernel takes (${room})`);
  memory.write(LOW_LAYOUT.cmdline, text);
}

/** Copies the initrd to the top of the RAM that the kernel can reach; returns where, 0 without one. */
export function placeInitrd(
  memory: GuestMemory,
  options: { readonly initrd?: Uint8Array | undefined; readonly e820: readonly E820Entry[] },
  kernel: { start: number; end: number },
  reach: { limit: number; above4G: boolean },
): number {
  const { initrd, e820 } = options;
  if (initrd === undefined || initrd.length === 0) return 0;
  const at =
    findRoom(e820, initrd.length, reach.limit, kernel) ??
    (reach.above4G ? findRoom(e820, initrd.length, Number.MAX_SAFE_INTEGER, kernel) : undefined);
  if (at === undefined || !memory.write(at, initrd))
    throw new UsageError(
      `initrd of ${initrd.length} bytes does not fit beside the kernel (which ends at ${hex(kernel.end)}); ` +
        'give the guest more memory with -m',
    );
  return at;
}

/**
 * The highest address, a multiple of `alignment`, where `size` bytes fit into RAM of the map below `limit` and
 * outside [avoidStart, avoidEnd); undefined when there is no room.
 */
export function findRoom(
  map: readonly E820Entry[],
  size: number,
  limit: number,
  avoid: { start: number; end: number },
  alignment = 4096,
): number | undefined {
  let best: number | undefined;
  for (const { base, size: length, type } of map) {
    // Below 1 MiB are our own structures.
    if (type !== E820_RAM || base < MIB) continue;
    const end = Math.min(base + length, limit);
    for (const [from, to] of [
      [Math.max(base, avoid.end), end],
      [base, Math.min(end, avoid.start)],
    ] as const) {
      const at = Math.floor((to - size) / alignment) * alignment;
      if (at >= from && (best === undefined || at > best)) best = at;
    }
  }
  return best;
}
