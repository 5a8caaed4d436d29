/**
 * What monitors act upon: one machine with its board, its back ends and the host it runs on. Monitors are there before
 * the board is (a socket may be waited for), so the board comes in later.
 */
import { assert } from '../core/errors.ts';
import type { Backends } from '../machine/backends.ts';
import type { PcBoard, PlacedDevice } from '../machine/board.ts';
import type { MachineHost } from '../machine/host.ts';
import type { ExitInfo, Machine } from '../machine/machine.ts';
import { VERSION } from '../machine/version.ts';
import type { JsonObject } from './json/value.ts';
import { balloonActual } from './qmp/commands/memory.ts';
import type { EventName } from './qmp/events.ts';
import type { QmpVersion } from './qmp/session.ts';

/** Programs look at this to know what they may ask: we answer as QEMU 7.2 does. */
export const QMP_VERSION: QmpVersion = { major: 7, minor: 2, micro: 0, package: `Paravane ${VERSION}` };

/** A file that is being written. */
export interface MonitorFile {
  write(data: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/** What a monitor may need of the operating system beyond the machine's host. */
export interface MonitorHost {
  /** Writes `data` to a file of this name; rejects with a `HostError` that ends in the reason. */
  writeFile?(path: string, data: Uint8Array): Promise<void>;
  /** Opens a file to write to, piece by piece; rejects with a `HostError` that ends in the reason. */
  createFile?(path: string): Promise<MonitorFile>;
  /** Number of the operating system's thread that runs the processor. */
  threadId?: number;
}

export class MonitorTarget {
  readonly machine: Machine;
  readonly backends: Backends;
  readonly host: MachineHost;
  readonly os: MonitorHost;
  /** Chardevs that monitors use. */
  readonly monitorChardevs = new Set<string>();
  /** Runs a line as if it were typed at the monitor for people; what it prints. */
  human: (line: string) => string | Promise<string> = () => '';
  /** Tells all monitors of something. */
  emit: (name: EventName, data?: JsonObject) => void = () => {};
  #board: PcBoard | undefined;

  constructor(machine: Machine, backends: Backends, host: MachineHost, os: MonitorHost = {}) {
    this.machine = machine;
    this.backends = backends;
    this.host = host;
    this.os = os;
  }

  get board(): PcBoard {
    assert(this.#board !== undefined, 'a monitor acts before the machine is complete');
    return this.#board;
  }

  set board(board: PcBoard) {
    this.#board = board;
  }

  /** False while the machine is being made: commands wait. */
  get ready(): boolean {
    return this.#board !== undefined;
  }

  /** The device with this id, or at this place in the object tree. */
  device(idOrPath: string): PlacedDevice | undefined {
    return this.board.placed.find(({ device, path }) => device.id === idOrPath || path === idOrPath);
  }

  /** Devices of virtio on PCI with their places. */
  *virtioDevices(): Generator<PlacedDevice & { readonly backendPath: string }> {
    for (const placed of this.board.placed)
      if (placed.device.pci !== undefined) yield { ...placed, backendPath: `${placed.path}/virtio-backend` };
  }
}

/** Where QEMU's object tree has the real-time clock of a machine made with -nodefaults. */
export const RTC_PATH = '/machine/unattached/device[7]';

/** QMP's reason for an end; those that QEMU has no word for are the nearest. */
export function shutdownReason(info: ExitInfo): string {
  return info.reason === 'debug-exit' ? 'guest-shutdown' : info.reason;
}

/** Tells `emit` of everything that happens to the machine and is an event of QMP's; returns the way to stop that. */
export function watchMachine(
  target: MonitorTarget,
  emit: (name: EventName, data?: JsonObject) => void,
): () => void {
  const { events } = target.machine;
  const forget = [
    events.on('resume', () => emit('RESUME')),
    events.on('stop', (state) => {
      if (state !== 'shutdown') emit('STOP');
    }),
    events.on('panic', (action) => {
      const words = { pause: 'pause', none: 'run', shutdown: 'poweroff', 'exit-failure': 'poweroff' };
      emit('GUEST_PANICKED', { action: words[action] });
    }),
    events.on('rtcChange', (offset) => emit('RTC_CHANGE', { offset, 'qom-path': RTC_PATH })),
    events.on('reset', (guest) =>
      emit('RESET', { guest, reason: guest ? 'guest-reset' : 'host-qmp-system-reset' }),
    ),
    events.on('powerdown', () => emit('POWERDOWN')),
    events.on('shutdown', (info) => {
      const reason = shutdownReason(info);
      emit('SHUTDOWN', { guest: reason.startsWith('guest'), reason });
      // With -no-shutdown the machine stops instead, and QEMU tells both, in this order.
      if (target.machine.actions.shutdown === 'pause' && info.reason.startsWith('guest-')) emit('STOP');
    }),
    events.on('deviceDeleted', (device, path) => emit('DEVICE_DELETED', { device, path })),
    events.on('portOpen', (id, open) => emit('VSERPORT_CHANGE', { open, id })),
    events.on('rxFilter', (name, path) => emit('NIC_RX_FILTER_CHANGED', { name, path })),
    events.on('balloon', () => emit('BALLOON_CHANGE', { actual: balloonActual(target) })),
    events.on('blockError', ({ device, node, operation, action, nospace, reason }) =>
      emit('BLOCK_IO_ERROR', {
        device,
        ...(node === undefined ? {} : { 'node-name': node }),
        operation,
        action,
        nospace,
        reason,
      }),
    ),
  ];
  return () => {
    for (const one of forget) one();
  };
}
