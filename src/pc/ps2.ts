/**
 * The two devices on the PC's PS/2 ports as the i8042 controller sees them: a keyboard that speaks scan code set 2
 * and a three-button mouse. They answer commands into a queue of bounded length. IBM Personal System/2 Hardware
 * Interface Technical Reference, "Keyboard" and "Auxiliary Device Port".
 */

const ACK = 0xfa;
const RESEND = 0xfe;
const SELF_TEST_OK = 0xaa;

/** Keys and movements that nobody reads are dropped beyond this, as the devices' own small buffers do. */
const QUEUE_LIMIT = 256;
/** Room kept for answers to commands, which must not be lost to a flood of events. */
const EVENT_LIMIT = 240;

export interface KeyboardState {
  /** Bytes for the controller, oldest first. */
  queue: number[];
  /** The command byte that a data byte is expected for; 0 for none. */
  expects: number;
  scanning: boolean;
  set: number;
  /** Bits of the last "set LEDs" command: scroll, num, caps. */
  leds: number;
}

export interface MouseState {
  queue: number[];
  expects: number;
  reporting: boolean;
  remote: boolean;
  wrap: boolean;
  scaling: boolean;
  resolution: number;
  sampleRate: number;
  buttons: number;
}

/** What the controller needs of a device. */
export abstract class Ps2Device {
  abstract state: { queue: number[] };
  /** Called when the queue has got bytes. */
  onData: () => void = () => {};

  /** A byte from the controller. */
  abstract write(value: number): void;
  abstract reset(): void;

  protected reply(...bytes: number[]): void {
    const { queue } = this.state;
    if (queue.length + bytes.length <= QUEUE_LIMIT) queue.push(...bytes);
    this.onData();
  }

  protected event(bytes: readonly number[]): void {
    const { queue } = this.state;
    if (queue.length + bytes.length > EVENT_LIMIT) return;
    queue.push(...bytes);
    this.onData();
  }
}

/**
 * Scan code set 2 to set 1, by set 2 code: the table inside every 8042 (codes from 80h translate to themselves, but
 * for F7's 83h and SysRq's 84h).
 */
const TRANSLATION: readonly number[] = [
  0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59, 0x65, 0x38,
  0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b, 0x67, 0x2e, 0x2d, 0x20,
  0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d, 0x69, 0x31, 0x30, 0x23, 0x22, 0x15,
  0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f, 0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60,
  0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61, 0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36,
  0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76, 0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b,
  0x47, 0x7e, 0x7f, 0x6f, 0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49,
  0x46, 0x54,
];

/** A set 2 code as the controller's translation to set 1 gives it. */
export function translateScanCode(code: number): number {
  if (code === 0x83) return 0x41;
  if (code === 0x84) return 0x54;
  return TRANSLATION[code] ?? code;
}

/** The other way: the set 2 code of a set 1 make code (01h to 7Fh). */
export function set2Of(set1: number): number {
  return set1 === 0x41 ? 0x83 : TRANSLATION.indexOf(set1);
}

export class Ps2Keyboard extends Ps2Device {
  state: KeyboardState = { queue: [], expects: 0, scanning: true, set: 2, leds: 0 };

  reset(): void {
    this.state = { queue: [], expects: 0, scanning: true, set: 2, leds: 0 };
  }

  /**
   * A key goes down or up.
   * @param set1 its make code in scan code set 1 (what a translating controller delivers), with E0h in the upper
   *   byte for the extended keys: 1Ch is Enter, E01Ch the one of the number pad
   */
  key(set1: number, down: boolean): void {
    if (!this.state.scanning) return;
    const code = set2Of(set1 & 0x7f);
    if (code < 0) return;
    const bytes = set1 > 0xff ? [set1 >> 8] : [];
    if (!down) bytes.push(0xf0);
    bytes.push(code);
    this.event(bytes);
  }

  write(value: number): void {
    const command = this.state.expects;
    this.state.expects = 0;
    if (command !== 0 && value < 0xed) {
      this.#data(command, value);
      return;
    }
    switch (value) {
      case 0xed:
      case 0xf0:
      case 0xf3:
        this.state.expects = value;
        this.reply(ACK);
        break;
      case 0xee:
        this.reply(0xee);
        break;
      case 0xf2:
        this.reply(ACK, 0xab, 0x83);
        break;
      case 0xf4:
        this.state.scanning = true;
        this.reply(ACK);
        break;
      case 0xf5:
        this.state.scanning = false;
        this.state.queue.length = 0;
        this.reply(ACK);
        break;
      case 0xf6:
        this.reset();
        this.reply(ACK);
        break;
      case 0xff:
        this.reset();
        this.reply(ACK, SELF_TEST_OK);
        break;
      case 0xf7:
      case 0xf8:
      case 0xf9:
      case 0xfa:
        // Key types of set 3: accepted, as nothing uses set 3.
        this.reply(ACK);
        break;
      default:
        this.reply(RESEND);
    }
  }

  #data(command: number, value: number): void {
    if (command === 0xed) this.state.leds = value & 7;
    if (command === 0xf0) {
      if (value === 0) {
        this.reply(ACK, this.state.set);
        return;
      }
      // Only set 2 is spoken: sets 1 and 3 are refused, so that a driver stays with 2.
      if (value !== 2) {
        this.reply(RESEND);
        return;
      }
      this.state.set = value;
    }
    this.reply(ACK);
  }
}

/** "Set defaults": 100 samples a second, 4 counts a millimetre, linear scaling, stream mode, reporting off. */
const MOUSE_DEFAULTS = {
  reporting: false,
  remote: false,
  wrap: false,
  scaling: false,
  resolution: 2,
  sampleRate: 100,
} as const;

/** As much of a movement as one packet holds. */
const step = (counts: number): number => Math.max(-255, Math.min(255, counts));

export class Ps2Mouse extends Ps2Device {
  state: MouseState = { ...MOUSE_DEFAULTS, queue: [], expects: 0, buttons: 0 };

  reset(): void {
    this.state = { ...MOUSE_DEFAULTS, queue: [], expects: 0, buttons: this.state.buttons };
  }

  /**
   * The mouse moved (whole counts, right and up positive; a long way takes several packets, as many as there is room
   * for) and has these buttons down: 1 left, 2 right, 4 middle.
   */
  move(dx: number, dy: number, buttons: number): void {
    this.state.buttons = buttons & 7;
    if (!this.state.reporting || this.state.remote) return;
    for (let packets = 0; packets === 0 || ((dx !== 0 || dy !== 0) && packets < EVENT_LIMIT / 3); packets++) {
      const [x, y] = [step(dx), step(dy)];
      this.event(this.#packet(x, y));
      dx -= x;
      dy -= y;
    }
  }

  /** @param x counts from -255 to 255, as a packet holds, and likewise `y` */
  #packet(x: number, y: number): number[] {
    return [0x08 | this.state.buttons | (x < 0 ? 0x10 : 0) | (y < 0 ? 0x20 : 0), x & 0xff, y & 0xff];
  }

  write(value: number): void {
    const command = this.state.expects;
    this.state.expects = 0;
    if (command !== 0) {
      if (command === 0xe8) this.state.resolution = value & 3;
      else this.state.sampleRate = value;
      this.reply(ACK);
      return;
    }
    // In wrap mode everything but reset and "reset wrap mode" is echoed.
    if (this.state.wrap && value !== 0xec && value !== 0xff) {
      this.reply(value);
      return;
    }
    switch (value) {
      case 0xe6:
      case 0xe7:
        this.state.scaling = value === 0xe7;
        this.reply(ACK);
        break;
      case 0xe8:
      case 0xf3:
        this.state.expects = value;
        this.reply(ACK);
        break;
      case 0xe9:
        this.reply(ACK, this.#status(), this.state.resolution, this.state.sampleRate);
        break;
      case 0xea:
      case 0xf0:
        this.state.remote = value === 0xf0;
        this.reply(ACK);
        break;
      case 0xeb:
        this.reply(ACK, ...this.#packet(0, 0));
        break;
      case 0xec:
      case 0xee:
        this.state.wrap = value === 0xee;
        this.reply(ACK);
        break;
      case 0xf2:
        this.reply(ACK, 0x00);
        break;
      case 0xf4:
      case 0xf5:
        this.state.reporting = value === 0xf4;
        this.reply(ACK);
        break;
      case 0xf6:
        Object.assign(this.state, MOUSE_DEFAULTS);
        this.reply(ACK);
        break;
      case 0xff:
        this.reset();
        this.reply(ACK, SELF_TEST_OK, 0x00);
        break;
      default:
        this.reply(RESEND);
    }
  }

  #status(): number {
    const { left, right, middle } = {
      left: (this.state.buttons & 1) << 2,
      right: (this.state.buttons & 2) >> 1,
      middle: (this.state.buttons & 4) >> 1,
    };
    return (
      (this.state.remote ? 0x40 : 0) |
      (this.state.reporting ? 0x20 : 0) |
      (this.state.scaling ? 0x10 : 0) |
      left |
      right |
      middle
    );
  }
}
