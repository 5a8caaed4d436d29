import { describe, expect, it } from 'vitest';
import type { CliProcess } from '../host/node/cli-process.ts';
import { FakeHost } from '../machine/fake-host.ts';
import { cli } from './cli.ts';
import { progressLine } from './progress.ts';

class FakeProcess implements CliProcess {
  readonly argv: readonly string[];
  readonly stdoutIsTerminal = false;
  readonly stderrIsTerminal: boolean = false;
  readonly stdinIsTerminal = false;
  readonly colour = false;
  out = '';
  err = '';
  /** Said of every machine without a kernel, which most of these are. */
  nothing = '';
  pidfiles: string[] = [];
  title = '';
  signal: (name: string) => void = () => {};

  constructor(line: string) {
    this.argv = line === '' ? [] : line.split(' ');
  }
  columns = () => 80;
  terminalSize = () => undefined;
  stdout(text: string): void {
    this.out += text;
  }
  stderr(text: string): void {
    if (text.includes('nothing to boot')) this.nothing += text;
    else this.err += text;
  }
  onSignal(call: (signal: string) => void): () => void {
    this.signal = call;
    return () => {
      this.signal = () => {};
    };
  }
  writePidFile(path: string): () => void {
    this.pidfiles.push(path);
    return () => void this.pidfiles.pop();
  }
  setTitle(title: string): void {
    this.title = title;
  }
  readText(): string {
    return '';
  }
  exit(): void {}
}

async function run(line: string, prepare: (host: FakeHost, process: FakeProcess) => void = () => {}) {
  const process = new FakeProcess(line);
  const host = new FakeHost();
  prepare(host, process);
  const code = await cli(process, (warn) => {
    host.warn = warn;
    return host;
  });
  return { code, process, host };
}

const QUIET = '-display none -net none -serial null -monitor none';

describe('exit codes', () => {
  it('0 when the guest powers off', async () => {
    const { code, process } = await run(`${QUIET} -name g,process=title -pidfile /run/p`, (host, process) => {
      host.program = (cpu) => {
        expect(process.pidfiles).toEqual(['/run/p']);
        cpu.bus.writePort(0x604, 2, 0x2000);
        return 'stopped';
      };
    });
    expect(code).toBe(0);
    expect(process.title).toBe('title');
    expect(process.pidfiles).toEqual([]);
    expect(process.err).toBe('');
    expect(process.nothing).toMatch(/^paravane: nothing to boot: there is no -kernel, .*\n$/);
  });

  it('and one warning, however often the guest faults', async () => {
    const { code, process } = await run(QUIET, (host) => {
      let turns = 0;
      host.program = (cpu) => {
        if (turns++ < 5) return 'shutdown';
        cpu.bus.writePort(0x604, 2, 0x2000);
        return 'stopped';
      };
    });
    expect(code).toBe(0);
    expect(process.err).toBe('paravane: warning: triple fault in the guest: the machine is reset\n');
  });

  it('1 when the host cannot do it', async () => {
    const { code, process } = await run(`${QUIET} -kernel /nonexist`);
    expect(code).toBe(1);
    expect(process.err).toBe(
      "paravane: -kernel /nonexist: Could not open '/nonexist': No such file or directory\n",
    );
  });

  it('2 for bad usage', async () => {
    const { code, process } = await run('-kernal x');
    expect(code).toBe(2);
    expect(process.err).toBe("paravane: -kernal: invalid option (did you mean '-kernel'?)\n");
    expect((await run('')).code).toBe(2);
    expect((await run('run')).code).toBe(2);
    expect((await run('run tinny')).process.err).toContain("(did you mean 'tiny'?)");
    expect((await run('image burn')).code).toBe(2);
  });

  it('what the debug exit device says', async () => {
    const { code } = await run(`${QUIET} -device isa-debug-exit`, (host) => {
      host.program = (cpu) => {
        cpu.bus.writePort(0x501, 2, 1);
        return 'stopped';
      };
    });
    expect(code).toBe(3);
  });

  it('0 after a signal, as with QEMU', async () => {
    const { code, process } = await run(QUIET, (host, process) => {
      host.program = () => {
        setTimeout(() => process.signal('SIGTERM'), 1);
        return 'budget';
      };
    });
    expect(code).toBe(0);
    expect(process.err).toContain('terminating on signal SIGTERM');
  });

  it('1 with the stack when the processor throws', async () => {
    const { code, process } = await run(QUIET, (host) => {
      host.program = () => {
        throw new TypeError('a mistake of ours');
      };
    });
    expect(code).toBe(1);
    expect(process.err).toContain('a bug of this program');
    expect(process.err).toContain('a mistake of ours');
  });
});

describe('help', () => {
  it('goes to stdout', async () => {
    const { code, process } = await run('--help');
    expect(code).toBe(0);
    expect(process.err).toBe('');
    for (const name of ['-kernel FILE', '-drive file=', '-device DRIVER', '-nographic', 'Known from QEMU'])
      expect(process.out).toContain(name);
    for (const line of process.out.split('\n')) expect(line.length, line).toBeLessThan(100);
    expect((await run('--version')).process.out).toMatch(/^Paravane \d+\.\d+\.\d+\n$/);
  });

  it('answers what -device, -chardev, -netdev, -object, -machine, -cpu and -nic can be', async () => {
    const ask = async (line: string) => {
      const { code, process } = await run(line);
      expect(code, line).toBe(0);
      return process.out;
    };
    expect(await ask('-device help')).toContain('name "virtio-blk-pci", bus PCI, alias "virtio-blk"\n');
    expect(await ask('-device ?')).toContain('Storage devices:\n');
    expect(await ask('-device virtio-blk,help')).toMatch(
      /^virtio-blk-pci options:\n {2}a[\s\S]* {2}acpi-index=<uint32> {4}-/,
    );
    expect(await ask('-device virtserialport,?')).toContain('  nr=<uint32>            - ');
    expect(await ask('-chardev help')).toMatch(/^Available chardev backend types: \n {2}null\n {2}stdio/);
    expect(await ask('-chardev socket,help')).toContain('path=<str>');
    expect(await ask('-netdev help')).toBe('Available netdev backend types:\nuser\nhubport\ntap\n');
    expect(await ask('-netdev user,help')).toContain('hostfwd=<str>');
    expect(await ask('-object help')).toContain('  rng-builtin\n');
    expect(await ask('-object rng-random,help')).toContain('filename=<string>');
    expect(await ask('-machine help')).toContain('q35                  Standard PC (Q35 + ICH9, 2009)');
    expect(await ask('-cpu help')).toMatch(/x86 max[\s\S]*Recognized CPUID flags:/);
    expect(await ask('-net nic,model=?')).toContain('Supported NIC models:\nvirtio-net-pci\n');
    expect(await ask('-nic user,model=help')).toContain('virtio-net-pci-transitional');
    expect(await ask('-accel help')).toContain('tcg');
    expect(await ask('-d help')).toContain('guest_errors');
    expect(await ask('-trace help')).toContain('virtio.queue.pop\n');
    expect(await ask('-drive help')).toContain('-drive options:');
    expect(await ask('-m 1G -device help -kernel /nonexist')).toContain('virtio-rng-pci');
  });
});

describe('a machine by the command line', () => {
  it('starts paused with -S', async () => {
    const { host } = await run(`${QUIET} -S`, (_, process) => {
      setTimeout(() => process.signal('SIGINT'), 20);
    });
    expect(host.cpu!.instructionCount).toBe(0);
  });

  it('prints figures with -stats', async () => {
    const { process } = await run(`${QUIET} -stats`, (host) => {
      host.program = (cpu) => {
        cpu.bus.writePort(0x604, 2, 0x2000);
        return 'stopped';
      };
    });
    expect(process.err).toMatch(/instructions +\d+/);
  });

  it('traces to stderr or to a file', async () => {
    const off = (host: FakeHost): void => {
      host.program = (cpu) => {
        cpu.bus.writePort(0x80, 1, 0x42);
        cpu.bus.writePort(0x604, 2, 0x2000);
        return 'stopped';
      };
    };
    const { process } = await run(`${QUIET} -trace cpu.port.write`, off);
    expect(process.err).toMatch(/cpu\.port\.write port=0x80 size=1 value=0x42/);
    const { host } = await run(`${QUIET} -D /tmp/log -d trace:cpu.port.*`, off);
    expect(host.logs.get('/tmp/log')!.some((line) => line.includes('port=0x604'))).toBe(true);
    expect((await run(`${QUIET} -trace nothing.*`, off)).process.err).toContain('no trace point matches');
  });

  it('reads trace patterns from a file, and puts the time in front of messages', async () => {
    const { process } = await run(`${QUIET} -trace events=list -msg timestamp=on -d trace:nope.*`, (host) => {
      host.files.set('list', new TextEncoder().encode('# ports\ncpu.port.w*\n\n'));
      host.program = (cpu) => {
        cpu.bus.writePort(0x604, 2, 0x2000);
        return 'stopped';
      };
    });
    expect(process.err).toContain('cpu.port.write port=0x604');
    expect(process.err).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z paravane: warning: -trace nope/m);
    expect((await run(`${QUIET} -trace events=gone`)).process.err).toMatch(
      /-trace events=gone: Could not open/,
    );
  });

  it('tells of options without effect', async () => {
    const { process } = await run(`${QUIET} -m 64,slots=2`, (host) => {
      host.program = (cpu) => {
        cpu.bus.writePort(0x604, 2, 0x2000);
        return 'stopped';
      };
    });
    expect(process.err).toBe('paravane: warning: -m: slots=2 has no effect: memory cannot be plugged\n');
  });
});

describe('progress', () => {
  it('is silent in a pipe, and when the work is quick', async () => {
    const pipe = new FakeProcess('');
    progressLine(pipe).say('working');
    const terminal = Object.assign(new FakeProcess(''), { stderrIsTerminal: true });
    const line = progressLine(terminal);
    line.say('working');
    line.end();
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(pipe.err + terminal.err).toBe('');
    const slow = progressLine(terminal);
    slow.say('working');
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(terminal.err).toContain('working');
    slow.end();
    expect(terminal.err.endsWith('\r\u001b[K')).toBe(true);
  });
});
