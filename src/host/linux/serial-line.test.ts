/** What a port is told, by its numbers; and, through a pseudo-terminal, what its other users see of it. */
import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { nodeCharHost } from '../node/char.ts';
import { libc } from './libc.ts';
import { openPty } from './pty.ts';
import { TtyLine, withSettings } from './serial-line.ts';

const PLAIN = { baud: 9600, dataBits: 8, parity: 'none', stopBits: 1 } as const;
// CREAD and CLOCAL
const ALWAYS = 0o4200;

describe('c_cflag (termios(3))', () => {
  it('has the nearest speed', () => {
    const speed = (baud: number): number => withSettings(0, { ...PLAIN, baud }) & 0o10017;
    expect([50, 134.5, 9600, 38400, 57600, 115200].map(speed)).toEqual([
      0o1, 0o4, 0o15, 0o17, 0o10001, 0o10002,
    ]);
    expect([1, 115200 / 0x103, 1e6].map(speed)).toEqual([0o1, 0o10, 0o10002]);
  });

  it('has the frame, and no flow control of the host', () => {
    expect(withSettings(0o20000000000, PLAIN)).toBe(0o15 | 0o60 | ALWAYS);
    expect(withSettings(0o1077, { ...PLAIN, dataBits: 7, parity: 'even', stopBits: 2 })).toBe(
      0o15 | 0o40 | 0o400 | 0o100 | ALWAYS,
    );
    expect(withSettings(0, { ...PLAIN, dataBits: 5, parity: 'odd' })).toBe(0o15 | 0o1400 | ALWAYS);
  });
});

describe('modem lines and break (ioctl_tty(2))', () => {
  it('are read, and DTR and RTS set without the others', () => {
    const calls: string[] = [];
    let lines = 0x4000 | 0x120;
    const line = new TtyLine(
      {
        ioctl(fd: number, request: number, argument: Buffer) {
          calls.push(`${fd} ${request.toString(16)}`);
          if (request === 0x5415) argument.writeUInt32LE(lines);
          else if (request === 0x5418) lines = argument.readUInt32LE(0);
          return 0;
        },
        ioctlValue(fd: number, request: number) {
          calls.push(`${fd} ${request.toString(16)}`);
          return 0;
        },
      },
      () => 7,
    );
    expect(line.inputs()).toEqual({ cts: true, dsr: true, ri: false, dcd: false });
    line.setOutputs({ dtr: true, rts: true });
    expect(lines).toBe(0x4000 | 0x126);
    line.setOutputs({ dtr: false, rts: true });
    expect(lines).toBe(0x4000 | 0x124);
    calls.length = 0;
    line.setBreak(true);
    line.setBreak(false);
    expect(calls).toEqual(['7 5427', '7 5428']);
  });

  it('are nothing once the port is closed, or where it has none', () => {
    const never = () => {
      throw new Error('called');
    };
    const closed = new TtyLine({ ioctl: never, ioctlValue: never }, () => undefined);
    closed.configure(PLAIN);
    closed.setBreak(true);
    expect(closed.inputs()).toBeUndefined();
    const none = new TtyLine({ ioctl: () => 25, ioctlValue: () => 25 }, () => 3);
    none.setOutputs({ dtr: true, rts: true });
    expect(none.inputs()).toBeUndefined();
  });
});

describe.skipIf(libc() === undefined)('-chardev serial on a pseudo-terminal', () => {
  it('is 115200 8N1 at first, and as it is told afterwards', async () => {
    const pty = openPty();
    const port = nodeCharHost().openTty(pty.name);
    const stty = (): string => spawnSync('stty', ['-F', pty.name, '-a'], { encoding: 'utf8' }).stdout;
    expect(stty()).toContain('speed 115200 baud');
    expect(stty()).toMatch(/ -cstopb /);
    expect(stty()).toMatch(/ -icanon .*-echo /s);
    // A pseudo-terminal forgets the number of bits and parity.
    port.line!.configure({ ...PLAIN, stopBits: 2 });
    expect(stty()).toContain('speed 9600 baud');
    expect(stty()).toMatch(/ cstopb /);
    // It has no modem lines.
    expect(port.line!.inputs()).toBeUndefined();
    await port.close();
    await pty.stream.close();
    expect(port.line!.inputs()).toBeUndefined();
  });
});
