import { describe, expect, it } from 'vitest';
import { parseCommandLine } from '../qapi/parse-command-line.ts';
import type { CreatedMachine } from './create.ts';
import { createMachineFrom } from './create.ts';
import { configure } from './configure.ts';
import { FakeHost } from './fake-host.ts';

const BASE = '-display none -net none -monitor none';

async function create(line: string, host = new FakeHost()): Promise<CreatedMachine & { host: FakeHost }> {
  const { given, images } = parseCommandLine(`${BASE} ${line}`.trim().split(/ +/));
  const made = await createMachineFrom(configure(given, images, { streams: true }), host);
  return { ...made, host };
}

const refusal = (line: string): Promise<string> =>
  create(line).then(
    () => 'accepted',
    (error: Error) => error.message,
  );

/** `SLOT.FUNCTION label vendor:device` of each function, as `info pci` would order them. */
function pciList({ board }: CreatedMachine): string[] {
  return board.platform.pci.functions.map(
    ({ slot, function: fn, label, fn: pci }) =>
      `${slot.toString(16).padStart(2, '0')}.${fn} ${label} ${pci.word(0).toString(16)}:${pci.word(2).toString(16)}`,
  );
}

describe('devices on the command line', () => {
  it('get the slots that QEMU gives them, in the order of the command line', async () => {
    const good = await create(
      '-device virtio-serial-pci -device virtio-rng-pci,id=r0 -drive file=null-co://,format=raw,if=virtio -device virtio-rng-pci,addr=8',
    );
    expect(pciList(good)).toEqual([
      '00.0 i440FX 8086:1237',
      '01.0 PIIX3 8086:7000',
      '01.3 PIIX4_PM 8086:7113',
      '03.0 virtio-serial-pci 1af4:1003',
      '04.0 virtio-rng-pci,id=r0 1af4:1005',
      '05.0 virtio-blk-pci 1af4:1001',
      '08.0 virtio-rng-pci 1af4:1005',
    ]);
    await good.machine.quit();
  });

  it('use the slot of the video card when there is none', async () => {
    const made = await create('-nodefaults -vga none -device virtio-rng-pci');
    expect(pciList(made)).toContain('02.0 virtio-rng-pci 1af4:1005');
    await made.machine.quit();
  });

  it('are modern on the non-transitional variant and by disable-legacy', async () => {
    const made = await create(
      '-device virtio-rng-pci-non-transitional -device virtio-rng-pci,disable-legacy=on',
    );
    expect(pciList(made).filter((line) => line.includes('1af4:1044')).length).toBe(2);
    await made.machine.quit();
  });

  it('are refused with what, where and the nearest right name', async () => {
    expect(await refusal('-device virtio-rgn-pci')).toBe(
      "-device virtio-rgn-pci: 'virtio-rgn-pci' is not a valid device model name (did you mean 'virtio-rng-pci'?)",
    );
    expect(await refusal('-device virtio-rng-pci,max-byte=1')).toBe(
      "-device virtio-rng-pci,max-byte=1: Property 'virtio-rng-pci.max-byte' not found (did you mean 'max-bytes'?)",
    );
    expect(await refusal('-device virtio-rng-pci,addr=2 -device virtio-rng-pci,addr=2')).toMatch(
      /-device virtio-rng-pci,addr=2: PCI: slot 2 function 0 not available for virtio-rng-pci, in use by/,
    );
    expect(await refusal('-device virtio-rng-pci,addr=3 -device virtio-rng-pci,addr=3.1')).toContain(
      "PCI: single function device can't be populated in function 3.1",
    );
    expect(await refusal('-device virtio-rng-pci,id=a -device virtio-rng-pci,id=a')).toContain(
      "Duplicate ID 'a' for device",
    );
    expect(await refusal('-device virtio-rng-pci,bus=foo')).toContain("Bus 'foo' not found");
    expect(await refusal('-device virtio-rng-pci,rng=a')).toContain("Device 'a' not found");
    expect(await refusal('-device virtio-blk-pci')).toContain('drive property not set');
    expect(await refusal('-device virtio-blk-pci,drive=x')).toContain("can't find value 'x'");
    expect(await refusal('-device virtconsole')).toContain(
      "No 'virtio-serial-bus' bus found for device 'virtconsole'",
    );
    expect(await refusal('-drive file=/nonexist,if=virtio')).toBe(
      "-drive file=/nonexist,if=virtio: Could not open '/nonexist': No such file or directory",
    );
  });

  it('cards get addresses as QEMU counts them', async () => {
    const { given } = parseCommandLine(
      '-display none -nic user -nic user,mac=52:54:00:12:34:57 -device virtio-net-pci'.split(' '),
    );
    const made = await createMachineFrom(configure(given, [], { streams: true }), new FakeHost());
    expect(made.board.devices.map((device) => device.describe?.())).toEqual([
      'macaddr=52:54:00:12:34:56',
      'macaddr=52:54:00:12:34:57',
      'macaddr=52:54:00:12:34:58',
    ]);
    await made.machine.quit();
  });

  it('take a drive and a chardev once', async () => {
    expect(
      await refusal(
        '-drive file=null-co://,if=none,id=d -device virtio-blk-pci,drive=d -device virtio-blk-pci,drive=d',
      ),
    ).toBe("-device virtio-blk-pci,drive=d: Drive 'd' is already in use by another device");
    expect(
      await refusal(
        '-device virtio-serial -chardev null,id=c -device virtserialport,chardev=c -device virtserialport,chardev=c',
      ),
    ).toBe(
      "-device virtserialport,chardev=c: Property 'virtserialport.chardev' can't take value 'c': Device 'c' is in use",
    );
  });

  it('find virtio-serial buses by name, and by themselves', async () => {
    const made = await create(
      '-device virtio-serial,id=ser0,max_ports=2 -device virtio-serial,id=ser1 -chardev null,id=c -chardev null,id=d ' +
        '-device virtserialport,bus=ser1.0,chardev=c,name=one -device virtioconsole,chardev=d',
    );
    expect(made.board.devices.map((device) => device.describe?.() ?? '')).toEqual([
      '',
      '',
      'nr 1, name one',
      'nr 0',
    ]);
    await made.machine.quit();
  });
});

describe('life', () => {
  it('ends with 0 when the guest powers off through ACPI', async () => {
    const made = await create('');
    // SLP_EN with SLP_TYP of S5 in PM1a_CNT.
    made.host.program = (cpu) => {
      cpu.bus.writePort(0x604, 2, 0x2000);
      return 'stopped';
    };
    made.machine.cont();
    expect(await made.machine.wait()).toEqual({ reason: 'guest-shutdown', code: 0 });
    expect(made.machine.state).toBe('closed');
  });

  it('resets through the reset control register, and ends there with -no-reboot', async () => {
    const reboot = (host: FakeHost) => {
      host.program = (cpu) => {
        if (cpu.resets > 0) cpu.bus.writePort(0x604, 2, 0x2000);
        else cpu.bus.writePort(0xcf9, 1, 0x06);
        return 'stopped';
      };
    };
    const made = await create('');
    reboot(made.host);
    let resets = 0;
    made.machine.events.on('reset', () => resets++);
    made.machine.cont();
    expect((await made.machine.wait()).reason).toBe('guest-shutdown');
    expect(resets).toBe(1);
    const other = await create('-no-reboot');
    reboot(other.host);
    other.machine.cont();
    expect(await other.machine.wait()).toEqual({ reason: 'guest-reset', code: 0 });
  });

  it('resets after a triple fault', async () => {
    const made = await create('');
    made.host.program = (cpu) => {
      if (cpu.resets === 0) return 'shutdown';
      cpu.bus.writePort(0x604, 2, 0x2000);
      return 'stopped';
    };
    made.machine.cont();
    expect((await made.machine.wait()).reason).toBe('guest-shutdown');
    expect(made.host.cpu!.resets).toBe(1);
  });

  it('stays with -no-shutdown, and goes on after a reset', async () => {
    const made = await create('-no-shutdown');
    made.host.program = (cpu) => {
      cpu.bus.writePort(0x604, 2, 0x2000);
      return 'stopped';
    };
    const stopped = new Promise((resolve) => made.machine.events.on('stop', resolve));
    made.machine.cont();
    expect(await stopped).toBe('shutdown');
    expect(() => made.machine.cont()).toThrow('Resetting the Virtual Machine is required');
    const reset = new Promise((resolve) => made.machine.events.on('reset', resolve));
    made.machine.reset();
    await reset;
    expect(made.machine.state).toBe('prelaunch');
    await made.machine.quit();
  });

  it('ends with the code of the debug exit device', async () => {
    const made = await create('-device isa-debug-exit,iobase=0xf4,iosize=4');
    made.host.program = (cpu) => {
      cpu.bus.writePort(0xf4, 1, 0x10);
      return 'stopped';
    };
    made.machine.cont();
    expect(await made.machine.wait()).toEqual({ reason: 'debug-exit', code: 33 });
  });

  it('gives the program the serial port as streams', async () => {
    const made = await create('');
    let got = '';
    made.host.program = (cpu) => {
      while ((cpu.bus.readPort(0x3fd, 1) & 1) !== 0) got += String.fromCharCode(cpu.bus.readPort(0x3f8, 1));
      if (got === 'hello') {
        for (const byte of Buffer.from('bye')) cpu.bus.writePort(0x3f8, 1, byte);
        cpu.bus.writePort(0x604, 2, 0x2000);
        return 'stopped';
      }
      return 'budget';
    };
    const { readable, writable } = made.board.backends.stream('serial0');
    made.machine.cont();
    await writable.getWriter().write(Buffer.from('hello'));
    let text = '';
    for await (const chunk of readable as unknown as AsyncIterable<Uint8Array>)
      text += Buffer.from(chunk).toString();
    expect(text).toBe('bye');
    await made.machine.wait();
  });

  it('presses the power button', async () => {
    const made = await create('');
    let seen = false;
    made.host.program = (cpu) => {
      // PM1a status: bit 8 is the power button.
      if ((cpu.bus.readPort(0x600, 2) & 0x100) !== 0) {
        seen = true;
        cpu.bus.writePort(0x604, 2, 0x2000);
        return 'stopped';
      }
      return 'budget';
    };
    made.machine.cont();
    made.machine.powerdown();
    await made.machine.wait();
    expect(seen).toBe(true);
  });
});

describe('files', () => {
  it('that are missing, empty or no kernel are named with the option', async () => {
    expect(await refusal('-kernel /nonexist')).toBe(
      "-kernel /nonexist: Could not open '/nonexist': No such file or directory",
    );
    const host = new FakeHost();
    host.files.set('empty', new Uint8Array(0));
    host.files.set('text', new TextEncoder().encode('root:x:0:0:root:/root:/bin/bash\n'.repeat(100)));
    const with_ = (line: string) =>
      create(line, host).then(
        () => 'accepted',
        (error: Error) => error.message,
      );
    expect(await with_('-kernel empty')).toBe('-kernel empty: the file is empty');
    expect(await with_('-kernel text')).toMatch(/^-kernel text: kernel image is neither/);
    expect(await with_('-kernel text -initrd gone')).toMatch(/^-initrd gone: Could not open 'gone'/);
    expect(await refusal('-object rng-random,id=r,filename=/gone')).toMatch(
      /^-object rng-random.*Could not open '\/gone'/,
    );
  });
});
