/**
 * The I/O block behind PMBASE as a whole: PM1 and timer at 0, on the ICH9 also GPE0 at 20h, SMI registers at 30h and
 * the TCO watchdog at 60h. The last two are kept and do nothing: there is no SMI handler, and no watchdog bites.
 */
import type { AccessSize, IoHandler } from '../core/bus.ts';
import { byteHandler } from './ports.ts';

const PM1_SIZE = 12;
const GPE0 = 0x20;
const GPE0_SIZE = 16;
const SMI = 0x30;
const SMI_SIZE = 8;
const TCO = 0x60;
const TCO_SIZE = 0x20;

interface Part {
  readonly base: number;
  readonly size: number;
  readonly handler: IoHandler;
}

/** @param gpe0 on the ICH9 only: the PIIX4 has it elsewhere */
export function powerBlock(pm1: IoHandler, gpe0?: IoHandler): IoHandler {
  const parts: Part[] = [{ base: 0, size: PM1_SIZE, handler: pm1 }];
  if (gpe0 !== undefined) {
    parts.push({ base: GPE0, size: GPE0_SIZE, handler: gpe0 });
    parts.push({ base: SMI, size: SMI_SIZE, handler: storage(SMI_SIZE) });
    parts.push({ base: TCO, size: TCO_SIZE, handler: storage(TCO_SIZE) });
  }
  const find = (offset: number): Part | undefined =>
    parts.find((part) => offset >= part.base && offset < part.base + part.size);
  return {
    read(offset: number, size: AccessSize): number {
      const part = find(offset);
      return (
        part?.handler.read(offset - part.base, size) ?? (size === 4 ? 0xffffffff : (1 << (size * 8)) - 1)
      );
    },
    write(offset: number, size: AccessSize, value: number): void {
      const part = find(offset);
      part?.handler.write(offset - part.base, size, value);
    },
  };
}

function storage(size: number): IoHandler {
  const bytes = new Uint8Array(size);
  return byteHandler(size, {
    read: (offset) => bytes[offset]!,
    write: (offset, value) => {
      bytes[offset] = value;
    },
  });
}
