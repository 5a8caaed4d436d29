/** All modes of the processor in one program (modes.s), against what the manuals say and against QEMU. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { makeProcessor } from '../differential/guest.ts';
import { MODES_EXPECTED } from './expected.ts';
import { MODES_CODE } from './rom.ts';

const ROM_BYTES = 0x10000;

function rom(): Uint8Array {
  const bytes = new Uint8Array(ROM_BYTES);
  bytes.set(Buffer.from(MODES_CODE.replaceAll(/\s/g, ''), 'hex'));
  bytes.set([0xea, 0x00, 0x00, 0x00, 0xf0], 0xfff0); // jmp F000:0000
  return bytes;
}

/** The values, one event a line. */
function events(output: Uint8Array): string[] {
  const view = new DataView(output.buffer, output.byteOffset, output.length);
  const lines: string[] = [];
  for (let at = 0; at + 4 <= output.length; at += 4) {
    const value = view.getUint32(at, true);
    const word = value.toString(16).padStart(8, '0');
    if (/^[ab]00000/.test(word)) lines.push(word);
    else lines.push(`${lines.pop() ?? ''} ${word}`);
  }
  return lines;
}

describe('real, protected, long mode and back', () => {
  it.each([
    ['interpreted', Number.POSITIVE_INFINITY],
    ['translated', 1],
  ])('%s', (_name, threshold) => {
    const output: number[] = [];
    let done = -1;
    const cpu = makeProcessor(threshold, {
      writePort: (port, _size, value) => {
        if (port === 0xe9) output.push(value);
        else if (port === 0xf4) done = value;
      },
    });
    cpu.mapRom(0xf0000, rom());
    cpu.mapRom(0xffff0000, rom());
    expect(cpu.run(100_000)).toBe('halted');
    expect(events(Uint8Array.from(output))).toEqual(MODES_EXPECTED.map(([ours]) => ours));
    expect(done).toBe(0x10);
  });

  const qemu = 'qemu-system-x86_64';
  const present = process.platform === 'linux' && spawnSync(qemu, ['--version']).status === 0;
  it.runIf(present)('as QEMU has it', { timeout: 60_000 }, () => {
    const directory = mkdtempSync(join(tmpdir(), 'paravane-modes-'));
    try {
      writeFileSync(join(directory, 'rom'), rom());
      const { status } = spawnSync(
        qemu,
        ['-accel', 'tcg', '-cpu', 'max', '-m', '16', '-nodefaults', '-display', 'none', '-no-reboot']
          .concat(['-bios', join(directory, 'rom'), '-device', 'isa-debug-exit,iobase=0xf4'])
          .concat(['-chardev', `file,id=d,path=${join(directory, 'out')}`])
          .concat(['-device', 'isa-debugcon,iobase=0xe9,chardev=d']),
        { timeout: 50_000 },
      );
      expect(status).toBe((0x10 << 1) | 1);
      const theirs = events(readFileSync(join(directory, 'out')));
      for (const [ours, known] of MODES_EXPECTED) {
        if (theirs[0] !== ours && known === null) continue;
        const event = theirs.shift();
        if (event !== known) expect(event).toBe(ours);
      }
      expect(theirs).toEqual([]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
