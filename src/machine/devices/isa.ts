/** Devices at fixed I/O ports: the debug exit of test kernels, and serial ports by -device. */
import type { DeviceClass } from '../registry.ts';
import { UsageError } from '../../core/errors.ts';

/** QEMU's property default for "not given". */
const UNSET = 4294967295;

export const isaClasses: readonly DeviceClass[] = [
  {
    name: 'isa-debug-exit',
    bus: 'ISA',
    category: 'Misc',
    properties: [
      { name: 'iobase', type: 'uint32', default: 0x501, max: 0xffff, help: 'I/O port' },
      { name: 'iosize', type: 'uint32', default: 2, min: 1, max: 8, help: 'Ports that it answers at' },
    ],
    create: (context, request) => {
      const base = Number(request.values.iobase);
      const size = Number(request.values.iosize);
      if (!context.ports.isFree(base, size))
        throw new UsageError(`I/O port 0x${base.toString(16)} is in use`);
      context.ports.add({
        name: 'isa-debug-exit',
        base,
        size,
        handler: {
          read: () => 0,
          // "exit with (value << 1) | 1": QEMU's hw/misc/debugexit.c; the process status is its low byte.
          write: (_offset, _size, value) => context.control.exit(((value << 1) | 1) & 0xff),
        },
      });
      return { id: request.id, className: request.className };
    },
  },
  {
    name: 'isa-debugcon',
    bus: 'ISA',
    category: 'Misc',
    properties: [
      { name: 'chardev', type: 'chardev', help: 'ID of a chardev to use as a backend' },
      { name: 'iobase', type: 'uint32', default: 0xe9, max: 0xffff, help: 'I/O port' },
      { name: 'readback', type: 'uint32', default: 0xe9, help: 'What reading the port gives' },
    ],
    create: (context, request) => {
      if (request.values.chardev === undefined)
        throw new UsageError("Can't create debugcon device, empty char device");
      const base = Number(request.values.iobase);
      if (!context.ports.isFree(base, 1)) throw new UsageError(`I/O port 0x${base.toString(16)} is in use`);
      const chardev = context.backends.claimChardev(String(request.values.chardev), request.className);
      const byte = new Uint8Array(1);
      chardev.attach({ canReceive: () => 0, receive: () => {}, event: () => {}, writable: () => {} });
      context.ports.add({
        name: 'isa-debugcon',
        base,
        size: 1,
        handler: {
          read: () => Number(request.values.readback) & 0xff,
          // A port without a status has no way to say "later": what the chardev does not take is lost, as in QEMU.
          write: (_offset, _size, value) => {
            byte[0] = value;
            chardev.write(byte);
          },
        },
      });
      return { id: request.id, className: request.className };
    },
  },
  {
    name: 'isa-serial',
    bus: 'ISA',
    category: 'Input',
    properties: [
      { name: 'chardev', type: 'chardev', help: 'ID of a chardev to use as a backend' },
      { name: 'index', type: 'uint32', default: UNSET, help: '0 is COM1' },
      { name: 'iobase', type: 'uint32', default: UNSET, help: 'I/O port', ignored: 'the index decides' },
      { name: 'irq', type: 'uint32', default: UNSET, help: 'Interrupt', ignored: 'the index decides' },
    ],
    create: (context, request) => {
      if (request.values.chardev === undefined)
        throw new UsageError("Can't create serial device, empty char device");
      context.attachSerial(Number(request.values.index), request);
      return { id: request.id, className: request.className };
    },
  },
];
