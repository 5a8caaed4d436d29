import { describe, expect, it } from 'vitest';
import { parseCommandLine } from '../qapi/parse-command-line.ts';
import { configure } from './configure.ts';

const config = (text: string) => {
  const { given, images } = parseCommandLine(text === '' ? [] : text.split(' '));
  return configure(given, images);
};
const refusal = (text: string): string => {
  try {
    config(text);
    return 'accepted';
  } catch (error) {
    return (error as Error).message;
  }
};

describe("QEMU's defaults", () => {
  it('of a machine without options', () => {
    const made = config('-nographic');
    expect(made).toMatchObject({
      machine: 'pc',
      memory: 128 * 2 ** 20,
      hpet: true,
      acpi: true,
      videoSlot: true,
    });
    expect(made.cpu).toEqual({ model: 'max', add: [], remove: [] });
    expect(made.rtc).toEqual({ base: 'utc', clock: 'host' });
  });

  it('-nographic puts COM1 and the monitor on the terminal', () => {
    expect(config('-nographic').chardevs).toMatchObject([
      { id: 'serial0', type: 'stdio', mux: true, monitor: true, values: { signal: false } },
    ]);
    expect(config('-nographic -monitor none').chardevs).toMatchObject([
      { id: 'serial0', type: 'stdio', mux: false, monitor: false },
    ]);
    expect(config('-nographic -serial null')).toMatchObject({
      chardevs: [
        { id: 'serial0', type: 'null' },
        { id: 'compat_monitor0', type: 'stdio' },
      ],
      monitors: [{ chardev: 'compat_monitor0', mode: 'readline' }],
    });
    expect(config('-nographic -nodefaults').chardevs).toEqual([]);
    expect(config('-display none').chardevs).toMatchObject([{ type: 'null' }]);
    expect(config('-nographic -serial none -serial stdio').serials).toEqual([undefined, 'serial1']);
  });

  it('a card on the user network, unless the options say otherwise', () => {
    expect(config('-nographic').devices.map((device) => device.driver)).toEqual(['virtio-net-pci']);
    for (const none of ['-net none', '-nic none', '-nodefaults', '-netdev user,id=n'])
      expect(config(`-nographic ${none}`).devices, none).toEqual([]);
  });

  it('plugs cards of -nic first, then -device, then the disks of -drive', () => {
    const made = config(
      '-nographic -drive file=a,if=virtio -device virtio-rng-pci -nic user,model=virtio,mac=52:54:00:00:00:01 -drive file=b,if=virtio,id=x',
    );
    expect(
      made.devices.map(({ driver, entries }) => [
        driver,
        ...entries.map((one) => `${one.name}=${one.value}`),
      ]),
    ).toEqual([
      ['virtio-net-pci', 'netdev=net0', 'mac=52:54:00:00:00:01'],
      ['virtio-rng-pci'],
      ['virtio-blk-pci', 'drive=virtio0'],
      ['virtio-blk-pci', 'drive=x'],
    ]);
  });
});

describe('options', () => {
  it('-m', () => {
    expect(config('-nographic -m 1G').memory).toBe(2 ** 30);
    expect(config('-nographic -m 1024').memory).toBe(2 ** 30);
    expect(config('-nographic -m size=512M,slots=2,maxmem=1G').memory).toBe(2 ** 29);
    expect(config('-nographic -m 0').memory).toBe(128 * 2 ** 20);
    expect(refusal('-m 5G')).toMatch(/^-m 5G: 5G of guest memory is more than the/);
    expect(refusal('-m 100k')).toContain('too little');
  });

  it('-smp, -accel, -machine', () => {
    expect(config('-nographic -smp 1,sockets=1 -machine q35,accel=kvm:tcg,hpet=off')).toMatchObject({
      machine: 'q35',
      hpet: false,
    });
    expect(config('-nographic -machine pc-i440fx-7.2').machine).toBe('pc');
    expect(refusal('-smp cores=2')).toBe('-smp cores=2: 2 processors are not available yet: one is (-smp 1)');
    expect(config('-nographic -accel tcg')).toMatchObject({ keepTranslations: true, translationBytes: 0 });
    expect(config('-nographic -accel tcg,tb-size=32,tb-cache=off')).toMatchObject({
      keepTranslations: false,
      translationBytes: 32 * 2 ** 20,
    });
    expect(refusal('-accel tcg,tb-size=-1')).toContain("Parameter 'tb-size' expects uint32_t");
    expect(refusal('-accel kvm')).toMatch(/^-accel kvm: accelerator 'kvm' is not available yet/);
    expect(refusal('-machine q35,accel=foo')).toContain('invalid accelerator foo');
    expect(refusal('-machine q36')).toContain("(did you mean 'q35'?)");
  });

  it('-cpu', () => {
    expect(config('-nographic -cpu qemu64,+movbe,-sse3').cpu).toEqual({
      model: 'qemu64',
      add: ['movbe'],
      remove: ['sse3'],
    });
    expect(config('-nographic -cpu max,la57=off').cpu.remove).toEqual(['la57']);
    expect(refusal('-nographic -cpu qemu65')).toContain('qemu64');
  });

  it('-rtc, -uuid, -name', () => {
    expect(config('-nographic -rtc base=localtime,clock=vm').rtc).toEqual({ base: 'localtime', clock: 'vm' });
    expect(config('-nographic -rtc base=2006-06-17T16:01:21').rtc.base).toBe(
      Date.UTC(2006, 5, 17, 16, 1, 21),
    );
    expect(refusal('-nographic -rtc base=foo')).toContain('invalid datetime format');
    expect(config('-nographic -name guest1,process=p')).toMatchObject({ name: 'guest1', processTitle: 'p' });
  });

  it('-icount and -seed', () => {
    const of = (text: string) => config(`-nographic ${text}`.trim());
    expect(of('').icount).toBeUndefined();
    expect(of('').seed).toBeUndefined();
    expect(of('-icount 5')).toMatchObject({ icount: { shift: 5, sleep: true, align: false }, seed: 0n });
    expect(of('-icount shift=0,sleep=off -seed 9')).toMatchObject({
      icount: { shift: 0, sleep: false, align: false },
      seed: 9n,
    });
    expect(of('-icount auto')).toMatchObject({ icount: { shift: 'auto' }, seed: undefined });
    expect(of('-icount sleep=off').icount).toBeUndefined();
    for (const [text, message] of [
      ['shift=11', 'icount: Invalid shift value'],
      ['shift=-1', 'icount: Invalid shift value'],
      ['x', 'icount: Invalid shift value'],
      ['align=on', 'Please specify shift option when using align'],
      ['shift=2,align=on,sleep=off', 'align=on and sleep=off are incompatible'],
      ['shift=auto,align=on', 'shift=auto and align=on are incompatible'],
      ['shift=auto,sleep=off', 'shift=auto and sleep=off are incompatible'],
      ['shift=2,rr=record', 'rr: recording and replaying inputs is not available yet'],
    ] as const)
      expect(refusal(`-nographic -icount ${text}`)).toBe(`-icount ${text}: ${message}`);
    expect(refusal('-nographic -icount shift=2,foo=1')).toContain("Invalid parameter 'foo'");
    expect(refusal('-nographic -seed x')).toBe('-seed x: Invalid seed number: x');
  });

  it('-drive', () => {
    const [drive] = config(
      '-nographic -snapshot -drive file=x,if=none,id=guest,cache=unsafe,readonly',
    ).drives;
    expect(drive).toMatchObject({ id: 'guest', snapshot: true, values: { cache: 'unsafe', readonly: true } });
    expect(refusal('-drive file=x')).toContain('if=ide (the default)');
    expect(refusal('-drive file=x,if=foo')).toContain("unsupported bus type 'foo'");
    expect(refusal('-drive if=none,id=a -drive if=none,id=a')).toContain("Duplicate ID 'a' for drive");
    expect(refusal('-drive if=virtio')).toContain('Device needs media, but drive is empty');
  });

  it('-netdev, -nic, -net', () => {
    const [net] = config('-nographic -netdev user,id=n,hostfwd=tcp::2222-:22,hostfwd=udp::53-:53').netdevs;
    expect(net).toMatchObject({ id: 'n', lists: { hostfwd: ['tcp::2222-:22', 'udp::53-:53'] } });
    expect(refusal('-netdev user,id=n,hostfwd=foo')).toContain(
      "Invalid host forwarding rule 'foo' (No : separators)",
    );
    expect(refusal('-netdev user,id=n,hostfwd=tcp::99999-:22')).toContain('Bad host port');
    expect(refusal('-netdev user')).toBe("-netdev user: Parameter 'id' is missing");
    expect(refusal('-netdev foo,id=a')).toContain("Parameter 'type' does not accept value 'foo'");
    expect(refusal('-nic user,model=foo')).toContain('Unsupported NIC model: foo');
    const old = config('-nographic -net nic,model=virtio,macaddr=52:54:00:00:00:02 -net user');
    expect(old.devices[0]!.entries).toEqual([
      { name: 'netdev', value: '#net001' },
      { name: 'mac', value: '52:54:00:00:00:02' },
    ]);
    expect(old.hubPorts).toEqual([
      { port: 'hub0port1', netdev: '#net001', card: false },
      { port: 'hub0port0', netdev: '#net001', card: true },
    ]);
    const hub = config('-nographic -net nic -net nic -net user,id=u');
    expect(hub.netdevs.map(({ id, type, values }) => [id, type, values.netdev])).toEqual([
      ['u', 'user', undefined],
      ['hub0port2', 'hubport', 'u'],
      ['hub0port0', 'hubport', undefined],
      ['hub0port1', 'hubport', undefined],
    ]);
    expect(hub.devices.map(({ entries }) => entries[0]!.value)).toEqual(['hub0port0', 'hub0port1']);
  });

  it('-echr', () => {
    expect(config('-nographic').escapeKey).toBe(1);
    expect(config('-nographic -echr 0x14').escapeKey).toBe(0x14);
    expect(config('-nographic -echr 024').escapeKey).toBe(0x14);
    expect(refusal('-echr foo')).toContain('-echr foo: Bad argument to echr');
    expect(refusal('-echr 300')).toContain('Bad argument to echr');
  });

  it('-chardev and -serial', () => {
    expect(refusal('-chardev stdio')).toBe('-chardev stdio: chardev: no id specified');
    expect(refusal('-chardev foo,id=x')).toContain("'foo' is not a valid char driver name");
    expect(refusal('-chardev stdio,id=a -chardev stdio,id=b')).toContain(
      'cannot use stdio by multiple character devices',
    );
    expect(refusal('-nographic -chardev stdio,id=c')).toContain(
      'cannot use stdio by multiple character devices',
    );
    expect(refusal('-chardev file,id=x')).toContain('no filename given');
    expect(refusal('-chardev null,id=a -chardev null,id=a')).toContain("Duplicate ID 'a' for chardev");
    expect(refusal('-serial chardev:x')).toContain("no chardev with id 'x'");
    expect(refusal('-chardev socket,id=s,path=/x,wait=on')).toContain(
      'incompatible with socket in client connect mode',
    );
    expect(refusal('-chardev stream,id=s')).toContain('for programs');
  });

  it('-kernel and its companions', () => {
    expect(refusal('-nographic -append x')).toBe('-append only allowed with -kernel option');
    expect(refusal('-nographic -initrd x')).toBe('-initrd only allowed with -kernel option');
    expect(refusal('disk.img')).toContain("write '-drive file=disk.img,if=virtio'");
  });

  it('-d and -trace', () => {
    expect(config('-nographic -d guest_errors,trace:virtio.* -trace pci.*,file=/tmp/t').trace).toMatchObject({
      patterns: ['virtio.*', 'pci.*'],
      guestErrors: true,
      file: '/tmp/t',
    });
    expect(refusal('-nographic -d gest_errors')).toContain("(did you mean 'guest_errors'?)");
  });
});

describe('-d and -dfilter', () => {
  it('choose trace points and addresses', () => {
    const { trace } = config('-d in_asm,op,out_asm -D log -dfilter 0x1000..0x1fff,0x8000+16,200-8');
    expect(trace.patterns).toEqual([
      'cpu.translate',
      'cpu.translate.in',
      'cpu.translate.op',
      'cpu.translate.out',
    ]);
    expect(trace.ranges).toEqual([
      { start: 0x1000n, end: 0x1fffn },
      { start: 0x8000n, end: 0x800fn },
      { start: 193n, end: 200n },
    ]);
    expect(config('').trace.ranges).toEqual([]);
  });

  it('refuse what is no range', () => {
    expect(refusal('-dfilter 1000')).toBe(
      "-dfilter 1000: '1000' is no range of addresses (START..END, START+LENGTH or START-LENGTH)",
    );
    expect(refusal('-dfilter 5..4')).toContain("the range '5..4' is empty");
  });
});
