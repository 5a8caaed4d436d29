/** The PC's registers, access by access, beside those of a stopped QEMU. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { PcRig } from '../../src/pc/rig.ts';
import { QemuRegisters, haveQemu } from './qemu-monitor.ts';

// Each access is a question to another process.
vi.setConfig({ testTimeout: 60_000 });

/** `ignore`: bits in which we follow the data sheet and QEMU does not; each is explained where it is used. */
type Step =
  | readonly ['in', port: number, size?: 1 | 2 | 4, ignore?: number]
  | readonly ['out', port: number, value: number, size?: 1 | 2 | 4];

const hex = (value: number): string => value.toString(16);

describe.skipIf(!haveQemu()).each(['pc', 'q35'] as const)('registers of %s beside QEMU', (machine) => {
  let qemu: QemuRegisters;
  let ours: PcRig;

  beforeAll(() => {
    qemu = new QemuRegisters(machine);
    ours = new PcRig(machine);
    ours.platform.reset();
    ours.platform.attachSerial(0);
  });
  afterAll(() => qemu.close());

  /** Runs `steps` on both and compares what the reads give. */
  async function compare(steps: readonly Step[]): Promise<void> {
    const theirs: string[] = [];
    const mine: string[] = [];
    for (const [index, step] of steps.entries()) {
      if (step[0] === 'out') {
        const size = step[3] ?? 1;
        await qemu.out(step[1], size, step[2]);
        ours.ports.write(step[1], size, step[2]);
        continue;
      }
      const size = step[2] ?? 1;
      const keep = ~(step[3] ?? 0);
      theirs.push(`${index}: ${hex(step[1])} = ${hex(((await qemu.in(step[1], size)) & keep) >>> 0)}`);
      mine.push(`${index}: ${hex(step[1])} = ${hex((ours.ports.read(step[1], size) & keep) >>> 0)}`);
    }
    expect(mine).toEqual(theirs);
  }

  const functions: readonly (readonly [number, number])[] =
    machine === 'pc'
      ? [
          [0, 0],
          [1, 0],
          [1, 3],
        ]
      : [
          [0, 0],
          [31, 0],
          [31, 3],
        ];

  it('PCI configuration after power-on', async () => {
    for (const [slot, fn] of functions) {
      const steps: Step[] = [];
      for (let register = 0; register < 256; register += 4) {
        steps.push(['out', 0xcf8, 0x80000000 + (slot << 11) + (fn << 8) + register, 4]);
        steps.push(['in', 0xcfc, 4]);
      }
      await compare(steps);
    }
  });

  it('PCI configuration headers that a guest has written all over', async () => {
    for (const [slot, fn] of functions) {
      const steps: Step[] = [];
      // Behind the header QEMU lets a guest write every bit of its chipset functions, which no chip does.
      for (let register = 4; register < 0x40; register += 4) {
        // Parity errors: our functions have the bit, QEMU's do not.
        const ignore = register === 4 ? 0x40 : 0;
        steps.push(['out', 0xcf8, 0x80000000 + (slot << 11) + (fn << 8) + register, 4]);
        steps.push(
          ['out', 0xcfc, 0xffffffff, 4],
          ['in', 0xcfc, 4, ignore],
          ['out', 0xcfc, 0, 4],
          ['in', 0xcfc, 4, ignore],
        );
      }
      await compare(steps);
    }
  });

  it('battery-backed memory', async () => {
    const steps: Step[] = [];
    for (let index = 0; index < 128; index++) {
      // The disk types and the boot flags of drives that we do not have.
      if ([0x10, 0x12, 0x14, 0x19, 0x1a].includes(index)) continue;
      steps.push(['out', 0x70, index], ['in', 0x71]);
    }
    await compare(steps);
  });

  it('8259 pair', async () => {
    await compare([
      ['in', 0x4d0],
      ['in', 0x4d1],
      ['out', 0x4d0, 0xff],
      ['out', 0x4d1, 0xff],
      ['in', 0x4d0],
      ['in', 0x4d1],
      ['out', 0x4d0, 0],
      ['out', 0x4d1, 0x0c],
      ['out', 0x20, 0x11],
      ['in', 0x21],
      ['out', 0x21, 0x30],
      ['out', 0x21, 0x04],
      ['out', 0x21, 0x01],
      ['out', 0x21, 0xfb],
      ['in', 0x21],
      ['out', 0xa0, 0x11],
      ['out', 0xa1, 0x38],
      ['out', 0xa1, 0x02],
      ['out', 0xa1, 0x01],
      ['out', 0xa1, 0xaa],
      ['in', 0xa1],
      ['out', 0x20, 0x0a],
      ['in', 0x20],
      ['out', 0x20, 0x0b],
      ['in', 0x20],
      ['out', 0x20, 0x0c],
      ['in', 0x20],
    ]);
  });

  it('8254 and port 61h', async () => {
    const steps: Step[] = [];
    for (let channel = 0; channel < 3; channel++) {
      for (const mode of [0, 2, 3, 4]) {
        for (const access of [1, 2, 3]) {
          steps.push(['out', 0x43, (channel << 6) | (access << 4) | (mode << 1)]);
          steps.push(['out', 0x40 + channel, 0x34]);
          if (access === 3) steps.push(['out', 0x40 + channel, 0x12]);
          steps.push(['out', 0x43, 0xc0 | (2 << channel)]);
          // "OUT will be initially high" in modes 2 and 4 (8254): QEMU shows the inverse in the status byte.
          steps.push(['in', 0x40 + channel, 1, mode === 2 || mode === 4 ? 0x80 : 0]);
          steps.push(['in', 0x40 + channel]);
          if (access === 3) steps.push(['in', 0x40 + channel]);
          steps.push(['out', 0x43, channel << 6]);
          steps.push(['in', 0x40 + channel]);
          if (access === 3) steps.push(['in', 0x40 + channel]);
        }
      }
    }
    // OUT2 as above; QEMU's refresh bit toggles with each read, ours with time.
    for (const gate of [0, 1, 0]) steps.push(['out', 0x61, gate], ['in', 0x61, 1, 0x30]);
    await compare(steps);
  });

  it('keyboard controller, keyboard and mouse', async () => {
    const command = (value: number, ...data: number[]): Step[] => [
      ['out', 0x64, value],
      ...data.map((byte): Step => ['out', 0x60, byte]),
    ];
    // Status bit 3 tells commands from data; under QEMU it is always set.
    const drain = (count: number): Step[] =>
      Array.from({ length: count }, (): Step[] => [
        ['in', 0x64, 1, 0x08],
        ['in', 0x60],
      ]).flat();
    await compare([
      ['in', 0x64],
      ...command(0xaa),
      ...drain(1),
      ['in', 0x64],
      ...command(0x20),
      ...drain(1),
      ...command(0xab),
      ...drain(1),
      ...command(0xa9),
      ...drain(1),
      ...command(0xa7),
      ...command(0x20),
      ...drain(1),
      ...command(0xa8),
      ...command(0x20),
      ...drain(1),
      ...command(0x60, 0x47),
      ...command(0x20),
      ...drain(1),
      ...command(0xd3, 0x5a),
      ...drain(1),
      ...command(0xd2, 0x5b),
      ...drain(1),
      ['out', 0x60, 0xf2],
      ...drain(3),
      ['out', 0x60, 0xee],
      ...drain(1),
      ['out', 0x60, 0xed],
      ...drain(1),
      ['out', 0x60, 0x02],
      ...drain(1),
      ...command(0xd4, 0xf2),
      ...drain(2),
      ...command(0xd4, 0xff),
      ...drain(3),
      ...command(0xd4, 0xe9),
      ...drain(4),
      ['in', 0x64, 1, 0x08],
    ]);
  });

  it('16550A', async () => {
    const base = 0x3f8;
    const steps: Step[] = [];
    for (let register = 1; register < 8; register++) steps.push(['in', base + register]);
    steps.push(['out', base + 2, 0xc7], ['in', base + 2], ['out', base + 7, 0x5a], ['in', base + 7]);
    steps.push(['out', base + 3, 0x83], ['in', base], ['in', base + 1], ['out', base, 1], ['in', base]);
    steps.push(['out', base + 3, 0x03], ['out', base + 1, 0x02], ['in', base + 2], ['in', base + 2]);
    steps.push(['out', base + 1, 0xff], ['in', base + 1], ['out', base + 1, 0x00]);
    // The delta bits of MSR follow the looped-back lines; under QEMU they do not.
    const msr: Step = ['in', base + 6, 1, 0x0f];
    steps.push(['out', base + 4, 0x1f], ['in', base + 4], msr, msr);
    steps.push(['out', base + 4, 0x1a], msr, ['out', base, 0x41], ['in', base + 5], ['in', base]);
    steps.push(['in', base + 5], ['out', base + 4, 0x0b], msr, msr);
    await compare(steps);
  });

  it('other ports', async () => {
    await compare([
      // The A20 gate is always open here, and says so.
      ['in', 0x92, 1, 0x02],
      ['in', 0x80],
      ['in', 0xf0],
      ['in', 0xcf9],
      ['in', 0x3bc],
      ['in', 0x378],
      ['out', 0x510, 0, 2],
      ['in', 0x511],
      ['in', 0x511],
      ['in', 0x511],
      ['in', 0x511],
      ['in', 0x511],
      ['in', 0x514, 4],
      ['in', 0x518, 4],
      ['in', 0x510, 2],
      ['out', 0x87, 0x12],
      ['in', 0x87],
      ['in', 0x08],
      ['in', 0xb2],
      ['in', 0xb3],
    ]);
  });

  it('power management registers', async () => {
    const { power } = ours.platform.info;
    const address = machine === 'pc' ? 0x80000b40 : 0x8000f840;
    const enable: Step[] =
      machine === 'pc'
        ? [
            ['out', 0xcf8, 0x80000b80, 4],
            ['out', 0xcfc, 1],
          ]
        : [
            ['out', 0xcf8, 0x8000f844, 4],
            ['out', 0xcfc, 0x80],
          ];
    const block: Step[] = [0, 2, 4].map((offset): Step => ['in', power.base + offset, 2]);
    const gpe: Step[] = Array.from({ length: power.gpe0Length }, (_, i): Step => ['in', power.gpe0Block + i]);
    await compare([
      ['out', 0xcf8, address, 4],
      ['out', 0xcfc, 0x601, 4],
      ['in', 0xcfc, 4],
      ...enable,
      // QEMU has counted an overflow of the timer at time 0.
      ['out', power.base, 0xffff, 2],
      ...block,
      ['in', power.timerBlock, 4],
      ['out', power.base + 2, 0x0721, 2],
      ...block,
      ['out', power.base + 2, 0, 2],
      ['out', power.smiCommand, power.acpiEnable],
      ...block,
      ...gpe,
      ['out', power.gpe0Block + power.gpe0Length / 2, 0xff],
      ...gpe,
      ['out', power.gpe0Block + power.gpe0Length / 2, 0x00],
    ]);
  });

  it('I/O APIC and HPET', async () => {
    const addresses = [0xfec00000, 0xfec00010, 0xfed00000, 0xfed00004, 0xfed00010, 0xfed00020, 0xfed000f0];
    for (let timer = 0; timer < 3; timer++) {
      for (const offset of [0, 4, 8, 12]) addresses.push(0xfed00100 + 0x20 * timer + offset);
    }
    for (const address of addresses) {
      expect(`${hex(address)}: ${hex(ours.mmio.read(address, 4))}`).toBe(
        `${hex(address)}: ${hex(await qemu.memory(address))}`,
      );
    }
  });
});

describe.skipIf(!haveQemu()).each(['pc', 'q35'] as const)('what firmware leaves on %s', (machine) => {
  it('is what SeaBIOS leaves: chipset, interrupt routing, keyboard controller', async () => {
    const qemu = new QemuRegisters(machine);
    const ours = new PcRig(machine);
    ours.platform.reset();
    ours.platform.attachSerial(0);
    ours.platform.firmwareInit();
    try {
      // It has opened its interrupts in the second 8259A when it is through.
      for (let tries = 0; tries < 40 && (await qemu.in(0xa1, 1)) !== 0x8e; tries++) await qemu.run(500);
      await qemu.run(500);
      const theirs: string[] = [];
      const mine: string[] = [];
      for (const [slot, fn] of machine === 'pc'
        ? [
            [0, 0],
            [1, 0],
            [1, 3],
          ]
        : [
            [0, 0],
            [31, 0],
            [31, 3],
          ]) {
        for (let register = 0; register < 256; register += 4) {
          const at = `${slot}.${fn} ${hex(register)} `;
          await qemu.out(0xcf8, 4, 0x80000000 + (slot! << 11) + (fn! << 8) + register);
          theirs.push(at + hex(await qemu.in(0xcfc, 4)));
          mine.push(at + hex(ours.config(slot!, fn!, register)));
        }
      }
      for (const port of [0x4d0, 0x4d1, 0x92, 0x64, 0x602, 0x604]) {
        const size = port >= 0x600 ? 2 : 1;
        theirs.push(`port ${hex(port)} ${hex(await qemu.in(port, size))}`);
        mine.push(`port ${hex(port)} ${hex(ours.ports.read(port, size))}`);
      }
      expect(mine).toEqual(theirs);
    } finally {
      qemu.close();
    }
  }, 30_000);
});
