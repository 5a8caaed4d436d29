import { describe, expect, it } from 'vitest';
import { MonitorRig } from '../rig.ts';
import { HmpError } from './error.ts';
import { ExpressionReader } from './expression.ts';
import { Readline } from './readline.ts';

const DISK = '-drive file=null-co://,format=raw,if=virtio,cache=unsafe';

describe('the line editor', () => {
  function edit(keys: string, complete: (before: string) => string[] = () => []) {
    const lines: string[] = [];
    let screen = '';
    const readline = new Readline('> ', {
      print: (text) => {
        screen += text;
      },
      line: (text) => lines.push(text),
      complete,
    });
    let rest: Uint8Array = Buffer.from(keys);
    while (rest.length > 0) rest = rest.subarray(readline.feed(rest));
    return { lines, screen };
  }

  it.each([
    ['plain text', 'info\r', ['info']],
    ['line ends of all kinds', 'a\rb\nc\r\nd\r', ['a', 'b', 'c', 'd']],
    ['backspace in both forms', 'ax\x7fby\b\r', ['ab']],
    ['moves by Emacs’ keys', 'bc\x01a\x05d\x02\x02X\x06Y\r', ['abXcYd']],
    ['moves by cursor keys', 'ac\x1b[Db\x1b[C!\x1b[H<\x1b[F>\r', ['<abc!>']],
    ['deletes forwards', 'abc\x01\x04\x1b[3~\r', ['c']],
    [
      'cuts to the end, to the start and a word',
      'one two\x17x\r12\x02\x0b\r34\x02\x15\r',
      ['one x', '1', '4'],
    ],
    ['history', 'one\rtwo\r\x1b[A\x1b[A\r\x10\x10\x0e\r', ['one', 'two', 'one', 'one']],
    ['Ctrl-C forgets the line', 'bad\x03good\r', ['good']],
    ['characters of several bytes', 'ä€\x7f\r', ['ä']],
    ['sequences that it does not know', 'a\x1b[99;99Zb\x1b[5~c\r', ['abc']],
  ])('%s', (_, keys, lines) => {
    expect(edit(keys).lines).toEqual(lines);
  });

  it('completes what only one word can be, and lists what several can', () => {
    const words = ['stop', 'status', 'cont'];
    const complete = (before: string): string[] => words.filter((word) => word.startsWith(before));
    expect(edit('c\tx\r', complete).lines).toEqual(['cont x']);
    expect(edit('s\t\to\t\r', complete).lines).toEqual(['stop ']);
    expect(edit('s\t\t', complete).screen).toContain('status  stop\r\n> st');
  });

  it('bounds a line', () => {
    expect(edit(`${'x'.repeat(5000)}\r`).lines[0]).toHaveLength(4095);
  });
});

describe('expressions', () => {
  const registers = new Map([['rip', 0x1000n]]);
  const read = (text: string): bigint => new ExpressionReader(text, 0, (name) => registers.get(name)).sum();

  it.each<[string, bigint]>([
    ['1+2*3', 7n],
    ['(1+2)*3', 9n],
    ['0x10 | 1', 17n],
    ['1 + 6 & 3', 3n],
    ['010', 8n],
    ["'A'", 65n],
    ['-1', -1n],
    ['~0', -1n],
    ['$rip + 4', 0x1004n],
    ['0xffffffffffffffff', -1n],
    ['7 % 4 / 2', 1n],
    ['9223372036854775807 + 1', -(2n ** 63n)],
  ])('%s', (text, value) => {
    expect(read(text)).toBe(value);
  });

  it.each([
    ['', 'unexpected end of expression'],
    ['1/0', 'division by zero'],
    ['(1', "')' expected"],
    ['$zz', 'unknown register'],
    ['0x10000000000000000', 'number too large'],
    ['('.repeat(4000), 'expression too deep'],
  ])('%j is refused', (text, message) => {
    expect(() => read(text)).toThrow(new HmpError(message));
  });
});

describe('commands', () => {
  it('print what QEMU prints', async () => {
    await using rig = await MonitorRig.create(
      `${DISK} -netdev user,id=n0 -device virtio-net-pci,netdev=n0,id=card -netdev user,id=lonely -name test`,
    );
    expect(await rig.human('info status')).toBe('VM status: paused (prelaunch)\n');
    await rig.human('c');
    expect(await rig.human('info status')).toBe('VM status: running\n');
    expect(await rig.human('info name')).toBe('test\n');
    expect(await rig.human('info block')).toBe(
      'virtio0 (#block001): null-co:// (null-co)\n' +
        '    Attached to:      /machine/peripheral-anon/device[0]/virtio-backend\n' +
        '    Cache mode:       writeback, ignore flushes\n',
    );
    expect((await rig.human('info network')).split('\n')).toEqual([
      'lonely: user',
      'card: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:12:34:56',
      ' \\ n0: user',
      '',
    ]);
    expect(await rig.human('info pci')).toContain(
      '    Ethernet controller: PCI device 1af4:1000\n      PCI subsystem 1af4:0001\n      IRQ ',
    );
    expect(await rig.human('info qtree')).toContain('dev: virtio-net-pci, id "card"');
    expect(await rig.human('info qom-tree')).toContain('    /card (virtio-net-pci)\n');
    expect(await rig.human('info mtree')).toContain('(prio 0, i/o): pci-conf');
    expect(await rig.human('info history')).toMatch(/^0: 'info status'\n1: 'c'\n/);
  });

  it('plug and unplug', async () => {
    await using rig = await MonitorRig.create('-device virtio-serial-pci,id=ser0');
    expect(await rig.human('device_add virtserialport,name=org.fedoraproject.port.0,id=port0')).toBe('');
    expect(rig.made.board.placed.map(({ device }) => device.id)).toEqual(['ser0', 'port0']);
    expect(await rig.human('device_del port0')).toBe('');
    expect(await rig.human('device_del port0')).toBe("Error: Device 'port0' not found\n");
    expect(await rig.human('device_del')).toBe(
      'device_del: string expected\nTry "help device_del" for more information\n',
    );
    expect(await rig.human('device_add virtserialport,help')).toContain('virtserialport options:');
  });

  it('show memory, virtual through four levels of tables', async () => {
    await using rig = await MonitorRig.create();
    const memory = rig.made.board.cpu.guestMemory;
    const entry = (at: number, value: bigint): boolean => {
      const data = new Uint8Array(8);
      new DataView(data.buffer).setBigUint64(0, value, true);
      return memory.write(at, data);
    };
    // ffffffff80000000 -> 0x5000: entries 511, 510, 0 (a table), 0.
    entry(0x1000 + 511 * 8, 0x2003n);
    entry(0x2000 + 510 * 8, 0x3003n);
    entry(0x3000, 0x4003n);
    entry(0x4000, 0x8000_0000_0000_5003n);
    memory.write(0x5000, Buffer.from('Hello'));
    rig.host.cpu!.describeRegisters = () =>
      'CR0=80000011 CR2=0000000000000000 CR3=0000000000001000 CR4=000000a0\nEFER=0000000000000500\n';
    expect(await rig.human('x /5c 0xffffffff80000000')).toBe(
      "ffffffff80000000: 'H' 'e' 'l' 'l' 'o' '\\x00' '\\x00' '\\x00' '\\x00' '\\x00' '\\x00' '\\x00' '\\x00' '\\x00' '\\x00' '\\x00'\nffffffff80000010: '\\x00' '\\x00' '\\x00' '\\x00'\n",
    );
    expect(await rig.human('x /1wx 0xffffffff80001000')).toBe('ffffffff80001000: Cannot access memory\n');
    expect(await rig.human('xp /5bx 0x5000')).toBe('0000000000005000: 0x48 0x65 0x6c 0x6c 0x6f\n');
    expect(await rig.human('print $cr3')).toBe('0x1000\n');
  });

  it('are found by help and by Tab', async () => {
    await using rig = await MonitorRig.create('-chardev null,id=nothing');
    expect(await rig.human('help stop')).toBe('stop|s  -- stop the processor\n');
    expect(await rig.human('help')).toContain('info [subcommand] -- ');
    expect(await rig.keys('chardev-send-break no\t\r')).toContain('chardev-send-break nothing \r\n(qemu) ');
    expect(await rig.keys('info sta\t\r')).toContain('VM status');
  });
});
