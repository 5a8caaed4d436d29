/**
 * `pc-testdev`: ports, interrupt lines and memory that do nothing but answer, for kernels that test a monitor
 * (kvm-unit-tests). Addresses as in QEMU's hw/misc/pc-testdev.c, which is what such kernels expect.
 */
import { UsageError } from '../../core/errors.ts';
import type { DeviceClass } from '../registry.ts';

/** Keeps what is written. */
const ECHO_PORT = 0xe0;
const ECHO_BYTES = 4;
/** A port for each ISA interrupt: its level. */
const IRQ_PORT = 0x2000;
const IRQ_LINES = 24;
const ISA_LINES = 16;
/** Device memory that keeps what is written. */
const MEMORY_AT = 0xff000000;
const MEMORY_BYTES = 0x10000;

export const testdevClass: DeviceClass = {
  name: 'pc-testdev',
  bus: 'ISA',
  category: 'Misc',
  properties: [],
  create: (context, request) => {
    const { ports, mmio } = context;
    const taken =
      !ports.isFree(ECHO_PORT, ECHO_BYTES) ||
      !ports.isFree(IRQ_PORT, IRQ_LINES) ||
      !mmio.isFree(MEMORY_AT, MEMORY_BYTES);
    if (taken) throw new UsageError('pc-testdev: its addresses are in use; a machine has one at most');
    ports.add({ name: 'pc-testdev-ioport', base: ECHO_PORT, size: ECHO_BYTES, handler: bytes(ECHO_BYTES) });
    const lines = Array.from({ length: ISA_LINES }, (_, irq) => context.isaIrq(irq));
    ports.add({
      name: 'pc-testdev-irq-line',
      base: IRQ_PORT,
      size: IRQ_LINES,
      handler: { read: () => 0, write: (offset, _size, value) => lines[offset]?.set(value !== 0) },
    });
    mmio.add({ name: 'pc-testdev-iomem', base: MEMORY_AT, size: MEMORY_BYTES, handler: bytes(MEMORY_BYTES) });
    return { id: request.id, className: request.className };
  },
};

/** Registers that are memory. */
function bytes(length: number): {
  read(offset: number, size: 1 | 2 | 4): number;
  write(offset: number, size: 1 | 2 | 4, value: number): void;
} {
  // room for an access that runs over the end
  const view = new DataView(new ArrayBuffer(length + 3));
  return {
    read: (offset, size) =>
      size === 1
        ? view.getUint8(offset)
        : size === 2
          ? view.getUint16(offset, true)
          : view.getUint32(offset, true),
    write: (offset, size, value) => {
      if (size === 1) view.setUint8(offset, value);
      else if (size === 2) view.setUint16(offset, value, true);
      else view.setUint32(offset, value, true);
    },
  };
}
