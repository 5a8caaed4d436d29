/** Numbers and offsets of the console device, as VIRTIO 1.4 §5.3 spells them. */

export const VIRTIO_ID_CONSOLE = 3;

/** Feature bits (§5.3.3). */
export const VIRTIO_CONSOLE_F_SIZE = 1n << 0n;
export const VIRTIO_CONSOLE_F_MULTIPORT = 1n << 1n;
export const VIRTIO_CONSOLE_F_EMERG_WRITE = 1n << 2n;

/** struct virtio_console_config (§5.3.4). */
export const CONFIG = { COLS: 0, ROWS: 2, MAX_NR_PORTS: 4, EMERG_WR: 8, END: 12 } as const;

/** Virtqueues (§5.3.2): port 0 stands in front of the control queues, all others behind them. */
export const CONTROL_RECEIVEQ = 2;
export const CONTROL_TRANSMITQ = 3;
export const receiveq = (port: number): number => (port === 0 ? 0 : 2 + port * 2);
export const transmitq = (port: number): number => receiveq(port) + 1;
/** Port number of a data queue. */
export const portOf = (queue: number): number => (queue < 2 ? 0 : (queue >> 1) - 1);

/** QEMU's queue sizes. */
export const DATA_QUEUE_SIZE = 128;
export const CONTROL_QUEUE_SIZE = 32;

/** struct virtio_console_control (§5.3.6.2). */
export const CONTROL = { ID: 0, EVENT: 4, VALUE: 6, SIZE: 8 } as const;

export const VIRTIO_CONSOLE_DEVICE_READY = 0;
export const VIRTIO_CONSOLE_DEVICE_ADD = 1;
export const VIRTIO_CONSOLE_DEVICE_REMOVE = 2;
export const VIRTIO_CONSOLE_PORT_READY = 3;
export const VIRTIO_CONSOLE_CONSOLE_PORT = 4;
export const VIRTIO_CONSOLE_RESIZE = 5;
export const VIRTIO_CONSOLE_PORT_OPEN = 6;
export const VIRTIO_CONSOLE_PORT_NAME = 7;
