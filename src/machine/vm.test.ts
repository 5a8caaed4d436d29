import { describe, expect, it } from 'vitest';
import { VirtioRng } from '../virtio/device/rng/device.ts';
import { ManualClock } from '../core/clock.ts';
import { Tracer } from '../core/trace.ts';
import { FakeHost } from './fake-host.ts';
import type { MachineOptions } from './options.ts';
import { readMachineOptions } from './options.ts';
import { createVm } from './vm.ts';

const words = (options: MachineOptions): string[] =>
  readMachineOptions(options).given.map((one) => one.origin);

describe('options objects', () => {
  it('say what the command line says', () => {
    expect(
      words({
        m: '1G',
        machine: { type: 'q35', hpet: false },
        nographic: false,
        S: true,
        append: 'console=ttyS0 quiet',
        drive: [{ file: 'a,b.raw', if: 'virtio', format: 'raw', readonly: true }],
        chardev: { backend: 'socket', id: 'c', path: '/tmp/s', server: true, wait: false },
        netdev: { type: 'user', id: 'n', hostfwd: ['tcp::1-:2', 'tcp::3-:4'] },
        object: { 'qom-type': 'rng-builtin', id: 'r' },
        device: ['virtio-rng-pci,rng=r', { driver: 'virtio-net-pci', netdev: 'n', mq: true }],
        kernel: new URL('file:///boot/vm%20linuz'),
      }),
    ).toEqual([
      '-m 1G',
      '-machine q35,hpet=off',
      '-S',
      '-append console=ttyS0 quiet',
      '-drive file=a,,b.raw,if=virtio,format=raw,readonly=on',
      '-chardev socket,id=c,path=/tmp/s,server=on,wait=off',
      '-netdev user,id=n,hostfwd=tcp::1-:2,hostfwd=tcp::3-:4',
      '-object rng-builtin,id=r',
      '-device virtio-rng-pci,rng=r',
      '-device virtio-net-pci,netdev=n,mq=on',
      '-kernel /boot/vm linuz',
    ]);
  });

  it('are refused with what is near', () => {
    const bad = (options: unknown) => () => readMachineOptions(options as MachineOptions);
    expect(bad({ kernal: 'x' })).toThrow("no option 'kernal' (did you mean 'kernel'?)");
    expect(bad({ nographic: 'yes' })).toThrow('nographic is true or false');
    expect(bad({ m: ['1G'] })).toThrow('m is given once');
    expect(bad({ append: {} })).toThrow('append: expected text');
    expect(bad({ drive: { file: {} } })).toThrow('drive: file is object');
    expect(bad({ drive: { fil: 'x' } })).toThrow(
      "-drive fil=x: Invalid parameter 'fil' (did you mean 'file'?)",
    );
    expect(bad({ kernel: new URL('https://example.org/k') })).toThrow('only file: URLs');
  });

  it('are checked by the compiler', () => {
    // @ts-expect-error a misspelt key
    void ({ kernal: 'x' } satisfies MachineOptions);
    // @ts-expect-error a socket has no such property
    void ({ chardev: { backend: 'null', id: 'c', path: '/x' } } satisfies MachineOptions);
    // @ts-expect-error not one of the values
    void ({ drive: { file: 'x', media: 'tape' } } satisfies MachineOptions);
    void ({ rtc: { base: 'utc', clock: 'vm' }, smp: 1 } satisfies MachineOptions);
  });
});

const OFF = { net: 'none' } satisfies MachineOptions;

function echoGuest(host: FakeHost): void {
  host.program = (cpu) => {
    const { bus } = cpu;
    if (cpu.interrupt && bus.acknowledgeInterrupt() >= 0) bus.writePort(0x20, 1, 0x20);
    if ((bus.readPort(0x3fd, 1) & 1) === 0) return 'halted';
    const byte = bus.readPort(0x3f8, 1);
    if (byte === 0x71) bus.writePort(0x604, 2, 0x2000);
    else bus.writePort(0x3f8, 1, byte);
    return 'budget';
  };
}

describe('a machine in a program', () => {
  it('talks over its console and ends by itself', async () => {
    const host = new FakeHost();
    echoGuest(host);
    // The interrupt of the UART is what wakes the guest.
    const vm = await createVm(OFF, host);
    expect(vm.state).toBe('prelaunch');
    expect(vm.commandLine).toBe('paravane -net none');
    const console = vm.serial[0]!;
    await vm.start();
    host.cpu!.bus.writePort(0x3f9, 1, 1);
    host.cpu!.bus.writePort(0x3fc, 1, 8);
    host.cpu!.bus.writePort(0x21, 1, 0xef);
    const typed = console.write('hello, guest!\n');
    expect(await console.waitFor(/guest./)).toBe('hello, guest!');
    await typed;
    await console.write('q');
    expect(await vm.wait()).toMatchObject({ reason: 'guest-shutdown', code: 0 });
    expect(vm.state).toBe('closed');
  });

  it('is closed by `await using`', async () => {
    const host = new FakeHost();
    let state = '';
    {
      await using vm = await createVm(OFF, host);
      await vm.start();
      vm.on('shutdown', () => (state = vm.state));
    }
    expect(state).not.toBe('');
  });

  it('ends when its signal is aborted', async () => {
    const host = new FakeHost();
    const abort = new AbortController();
    const vm = await createVm({ ...OFF, signal: abort.signal }, host);
    await vm.start();
    const end = vm.wait();
    abort.abort(new Error('enough'));
    await expect(end).rejects.toThrow('enough');
    await expect(createVm({ ...OFF, signal: abort.signal }, host)).rejects.toThrow('enough');
  });

  it('stops, goes on, and resets', async () => {
    const host = new FakeHost();
    host.program = () => 'budget';
    await using vm = await createVm(OFF, host);
    await vm.start();
    vm.stop();
    expect(vm.state).toBe('paused');
    const time = vm.time;
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(vm.time).toBe(time);
    await vm.reset();
    expect(host.cpu!.resets).toBe(1);
    vm.cont();
    expect(vm.state).toBe('running');
  });

  it('does not stall when nobody reads its console', async () => {
    const host = new FakeHost();
    let written = 0;
    host.program = ({ bus }) => {
      if (written > 200_000) {
        bus.writePort(0x604, 2, 0x2000);
        return 'stopped';
      }
      for (let i = 0; i < 100 && (bus.readPort(0x3fd, 1) & 0x20) !== 0; i++, written++)
        bus.writePort(0x3f8, 1, 0x61 + (written % 26));
      return 'budget';
    };
    const vm = await createVm(OFF, host);
    await vm.start();
    expect((await vm.wait()).reason).toBe('guest-shutdown');
    expect(vm.serial[0]!.recent.length).toBeGreaterThan(1000);
    expect(vm.serial[0]!.recent.length).toBeLessThan(70_000);
  });

  it('keeps a log of a console where it is asked for one', async () => {
    const host = new FakeHost();
    let at = 0;
    host.program = ({ bus }) => {
      if (at < 5) bus.writePort(0x3f8, 1, 'hello'.charCodeAt(at++));
      else bus.writePort(0x604, 2, 0x2000);
      return 'budget';
    };
    const vm = await createVm(
      { ...OFF, chardev: { backend: 'stream', id: 'c', logfile: '/log' }, serial: 'chardev:c' },
      host,
    );
    await vm.start();
    await vm.wait();
    expect(host.output.join('').replaceAll('/log:', '')).toBe('hello');
  });

  it('carries devices of the program', async () => {
    const host = new FakeHost();
    const device = new VirtioRng({
      backend: { fill: (view) => void view.fill(1) },
      clock: new ManualClock(),
      tracer: new Tracer(),
    });
    await using vm = await createVm({ ...OFF, plug: [device] }, host);
    void vm;
    // Configuration address of 00:03.0, register 0.
    host.cpu!.bus.writePort(0xcf8, 4, 0x80001800);
    expect(host.cpu!.bus.readPort(0xcfc, 4)).toBe(0x10051af4);
  });

  it('has consoles by the id of their chardev', async () => {
    await using vm = await createVm(
      {
        ...OFF,
        chardev: { backend: 'stream', id: 'agent' },
        device: ['virtio-serial-pci', 'virtserialport,chardev=agent'],
      },
      new FakeHost(),
    );
    expect(vm.console('agent').readable).toBeInstanceOf(ReadableStream);
    expect(() => vm.console('agnet')).toThrow('no console');
  });
});
