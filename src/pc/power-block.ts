/**
 * The I/O block behind PMBASE as a whole: PM1 and timer at 0, on the ICH9 also GPE0 at 20h, SMI registers at 30h and
 * the TCO watchdog at 60h. The last two are kept and do nothing: there is no SMI handler, and no watchdog bites.
 */
import type { AccessSize, IoHandler } from '../core/bus.ts';
import type { Tracer } from '../core/trace.ts';
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

/** In the TCO block: the upper byte of TCO1_CNT, and its bit that halts the timer. */
const TCO1_CNT_HIGH = 0x09;
const TCO_TMR_HLT = 0x08;

/** @param gpe0 on the ICH9 only: the PIIX4 has it elsewhere */
export function powerBlock(pm1: IoHandler, gpe0?: IoHandler, tracer?: Tracer): IoHandler {
  const tcoWritten = (offset: number, old: number, value: number): void => {
    if (offset === TCO1_CNT_HIGH && (old & ~value & TCO_TMR_HLT) !== 0) {
      tracer?.warn('ich9-tco', 'the guest started the watchdog timer, which never expires here');
    }
  };
  const parts: Part[] = [{ base: 0, size: PM1_SIZE, handler: pm1 }];
  if (gpe0 !== undefined) {
    parts.push({ base: GPE0, size: GPE0_SIZE, handler: gpe0 });
    parts.push({ base: SMI, size: SMI_SIZE, handler: storage(SMI_SIZE) });
    parts.push({ base: TCO, size: TCO_SIZE, handler: storage(TCO_SIZE, tcoWritten) });
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

function storage(
  size: number,
  onWrite: (offset: number, old: number, value: number) => void = () => {},
): IoHandler {
  const bytes = new Uint8Array(size);
  return byteHandler(size, {
    read: (offset) => bytes[offset]!,
    write: (offset, value) => {
      onWrite(offset, bytes[offset]!, value);
      bytes[offset] = value;
    },
  });
}
