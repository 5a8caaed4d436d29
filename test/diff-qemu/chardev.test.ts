/**
 * Chardevs of QEMU 7.2 and of ours side by side: what the command line is told when it is wrong, what `chardev-add`
 * and its kin answer, and how chardevs are called in `query-chardev` with and without a peer. Skipped where QEMU is
 * missing.
 */
import type { ChildProcess } from 'node:child_process';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { haveQemu } from '../pc/qemu-monitor.ts';

// Each case starts a program or two.
vi.setConfig({ testTimeout: 60_000 });

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const MACHINE = ['-M', 'pc', '-m', '16', '-display', 'none', '-nodefaults', '-S'];

const ready = haveQemu() && existsSync(MAIN);
const PROGRAMS = {
  theirs: ['qemu-system-x86_64'],
  ours: [process.execPath, MAIN],
} as const;
type Side = keyof typeof PROGRAMS;

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'paravane-chardev-'));
  writeFileSync(join(folder, 'in'), 'x');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What is wrong with the options, without the program's name and our hints. */
function refusal(side: Side, options: readonly string[]): string {
  const [program, ...args] = PROGRAMS[side];
  const { stderr, status } = spawnSync(program!, [...args, ...MACHINE, ...options], {
    cwd: folder,
    encoding: 'utf8',
    timeout: 20_000,
  });
  expect(status, `${side} ${options.join(' ')}: ${stderr}`).toBeGreaterThan(0);
  return stderr
    .split('\n')[0]!
    .replace(/^(?:qemu-system-x86_64|paravane): /, '')
    .replace(/ \((?:did you mean|none is defined|defined: |it takes )[^)]*\)$/, '');
}

describe.runIf(ready)('options that are wrong', () => {
  it.each([
    ['-chardev', 'bogus,id=a'],
    ['-chardev', 'id=a'],
    ['-chardev', 'null'],
    ['-chardev', 'null,id=9a'],
    ['-chardev', 'null,id=a,foo=bar'],
    ['-chardev', 'null,id=a,logfile=/nope/x'],
    ['-chardev', 'file,id=a'],
    ['-chardev', 'file,id=a,path=/nope/file'],
    ['-chardev', 'pipe,id=a'],
    ['-chardev', 'pipe,id=a,path=nopipe'],
    ['-chardev', 'serial,id=a'],
    ['-chardev', 'serial,id=a,path=/dev/nope'],
    ['-chardev', 'udp,id=a,host=localhost'],
    ['-chardev', 'mux,id=a'],
    ['-chardev', 'mux,id=a,chardev=x'],
    ['-chardev', 'ringbuf,id=a,size=1000'],
    ['-chardev', 'socket,id=a,host=localhost'],
    ['-chardev', 'socket,id=a,fd=foo'],
    ['-chardev', 'socket,id=a,fd=99'],
    ['-chardev', 'socket,id=a,path=nosuch'],
    ['-chardev', 'socket,id=a,path=/nope/s,server=on,wait=off'],
    ['-chardev', 'socket,id=a,host=127.0.0.1,port=1'],
    ['-chardev', 'socket,id=a,host=127.0.0.1,port=http-or-so'],
    ['-chardev', 'socket,id=a,host=x.invalid,port=1'],
    ['-chardev', `socket,id=a,path=${'a'.repeat(120)}`],
    ['-chardev', `socket,id=a,path=${'a'.repeat(120)},abstract=on,server=on,wait=off`],
    ['-chardev', 'socket,id=a,path=.,server=on,wait=off'],
    ['-chardev', 'socket,id=a,path=s,wait=off'],
    ['-chardev', 'socket,id=a,path=s,server=on,reconnect=1'],
    ['-chardev', 'socket,id=a,path=s,websocket=on'],
    ['-chardev', 'socket,id=a,path=s,server=on,wait=off,tls-authz=x'],
    ['-chardev', 'socket,id=a,host=127.0.0.1,port=1,tls-creds=x'],
    ['-object', 'rng-builtin,id=x', '-chardev', 'socket,id=a,host=127.0.0.1,port=1,tls-creds=x'],
    ['-serial', 'foo'],
    ['-serial', 'mon:foo'],
    ['-serial', 'null,id=x'],
    ['-serial', 'unix:nosuch'],
    ['-serial', 'tcp:127.0.0.1:1'],
    ['-serial', 'tcp:127.0.0.1:1,foo=bar'],
    ['-serial', 'telnet:127.0.0.1:1'],
    ['-serial', 'websocket:127.0.0.1:1'],
    ['-serial', 'file:/nope/a,b'],
    ['-serial', 'pipe:nopipe'],
    ['-serial', '/dev/nope'],
    ['-monitor', 'foo'],
    ['-qmp', 'foo'],
    ['-debugcon', 'foo'],
    ['-mon', 'x'],
  ])('%s %s', (...options) => {
    expect(refusal('ours', options)).toBe(refusal('theirs', options));
  });

  it('ends with 1 where the host could not, after the path and the reason', () => {
    const { status, stderr } = spawnSync(
      process.execPath,
      [MAIN, ...MACHINE, '-chardev', 'socket,id=a,path=foo'],
      { cwd: folder, encoding: 'utf8' },
    );
    expect(stderr).toContain("Failed to connect to 'foo': No such file or directory");
    expect(status).toBe(1);
  });
});

describe.runIf(existsSync(MAIN))('a socket that the program was started with', () => {
  it('is a chardev by its number', { timeout: 30_000 }, async () => {
    const server = net.createServer({ pauseOnConnect: true }).listen(join(folder, 'inherited'));
    const accepted = new Promise<net.Socket>((resolve) => server.once('connection', resolve));
    const ours = await connect(join(folder, 'inherited'));
    const options = ['-chardev', 'socket,id=q,fd=3', '-mon', 'q,mode=control'];
    const child = spawn(process.execPath, [MAIN, ...MACHINE, ...options], {
      stdio: ['ignore', 'ignore', 'inherit', await accepted],
    });
    const greeting = await new Promise<string>((resolve) => {
      ours.once('data', (data) => resolve(String(data)));
    });
    expect(greeting).toContain('{"QMP": ');
    child.kill('SIGKILL');
    ours.destroy();
    server.close();
  });
});

interface Message {
  readonly [key: string]: unknown;
}

/** A machine with a monitor on a unix socket. */
class Vm {
  readonly folder: string;
  readonly #child: ChildProcess;
  #socket!: net.Socket;
  #text = '';
  readonly #answers: Message[] = [];
  #wake: () => void = () => {};

  constructor(side: Side) {
    this.folder = mkdtempSync(join(folder, side));
    writeFileSync(join(this.folder, 'in'), 'x');
    const [program, ...args] = PROGRAMS[side];
    const chardevs = ['-chardev', 'null,id=vport', '-chardev', 'null,id=dc', '-chardev', 'ringbuf,id=hm'];
    const devices = ['-serial', 'null', '-device', 'isa-debugcon,chardev=dc', '-mon', 'hm'];
    const monitor = ['-qmp', 'unix:qmp,server=on,wait=off'];
    this.#child = spawn(program!, [...args, ...MACHINE, ...monitor, ...chardevs, ...devices], {
      cwd: this.folder,
      stdio: ['ignore', 'ignore', 'ignore'],
    });
  }

  async connect(): Promise<void> {
    for (let tries = 0; ; tries++) {
      try {
        this.#socket = await connect(join(this.folder, 'qmp'));
        break;
      } catch (error) {
        if (tries > 200) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
    this.#socket.on('data', (data) => this.#take(String(data)));
    await this.#next();
    await this.ask('qmp_capabilities');
  }

  #take(text: string): void {
    this.#text += text;
    const lines = this.#text.split('\n');
    this.#text = lines.pop()!;
    for (const line of lines) {
      const message = JSON.parse(line) as Message;
      if (!('event' in message)) this.#answers.push(message);
    }
    this.#wake();
  }

  async #next(): Promise<Message> {
    while (this.#answers.length === 0)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    return this.#answers.shift()!;
  }

  ask(execute: string, given: Message = {}): Promise<Message> {
    this.#socket.write(`${JSON.stringify({ execute, arguments: given })}\n`);
    return this.#next();
  }

  async human(line: string): Promise<string> {
    const answer = await this.ask('human-monitor-command', { 'command-line': line });
    return String(answer.return);
  }

  /** What `query-chardev` calls each. */
  async names(): Promise<Record<string, string>> {
    const { return: list } = await this.ask('query-chardev');
    const entries = (list as { label: string; filename: string }[]).map(
      ({ label, filename }) => [label, filename] as const,
    );
    return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  close(): void {
    this.#socket?.destroy();
    this.#child.kill('SIGKILL');
  }
}

const connect = (where: string | number): Promise<net.Socket> =>
  new Promise((resolve, reject) => {
    const socket = typeof where === 'string' ? net.connect(where) : net.connect(where, '127.0.0.1');
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });

const inet = (host: string, port: string, more: Message = {}) => ({
  type: 'inet',
  data: { host, port, ...more },
});
const unix = (path: string, more: Message = {}) => ({ type: 'unix', data: { path, ...more } });
const quiet = { server: true, wait: false };

/** `chardev-add` with the id, the type, and its data. */
const ADD: readonly (readonly [string, string, Message])[] = [
  ['n', 'null', {}],
  ['n', 'null', {}],
  ['n2', 'null', { foo: 1 }],
  ['f', 'file', { out: 'out' }],
  ['f2', 'file', { in: 'in', out: 'out2', append: true }],
  ['f3', 'file', { out: '/nope/no' }],
  ['f4', 'file', {}],
  ['f5', 'file', { out: 5 }],
  ['p', 'pty', {}],
  ['r', 'ringbuf', {}],
  ['r2', 'ringbuf', { size: 1000 }],
  ['r3', 'memory', { size: 64 }],
  ['ser', 'serial', { device: '/dev/null' }],
  ['ser2', 'serial', { device: '/dev/nope' }],
  ['pi', 'pipe', { device: '/nope' }],
  ['u', 'udp', { remote: inet('127.0.0.1', '99') }],
  ['u2', 'udp', { remote: inet('127.0.0.1', '99'), local: inet('', '0') }],
  ['u3', 'udp', { remote: unix('/x') }],
  ['u4', 'udp', {}],
  ['s1', 'socket', { addr: unix('s1'), ...quiet }],
  ['s2', 'socket', { addr: unix('s2'), server: true }],
  ['s3', 'socket', { addr: unix('s3') }],
  ['s4', 'socket', { addr: inet('127.0.0.1', '0'), ...quiet }],
  ['s5', 'socket', { addr: inet('127.0.0.1', '0'), ...quiet, telnet: true }],
  ['s6', 'socket', { addr: inet('127.0.0.1', '0'), ...quiet, websocket: true }],
  ['s7', 'socket', { addr: inet('', '0'), ...quiet }],
  ['s8', 'socket', { addr: inet('127.0.0.1', '1'), server: false }],
  ['s9', 'socket', { addr: inet('127.0.0.1', '1'), server: false, reconnect: 60 }],
  ['s10', 'socket', { addr: inet('127.0.0.1', '1'), server: true, reconnect: 1 }],
  ['s11', 'socket', { addr: inet('127.0.0.1', '1'), server: false, wait: true }],
  ['s12', 'socket', { addr: { type: 'fd', data: { str: 'foo' } }, server: false }],
  ['s13', 'socket', { addr: unix(`paravane-${process.pid}`, { abstract: true }), ...quiet }],
  ['s14', 'socket', { addr: unix('s14'), server: false, websocket: true }],
  ['s15', 'socket', { addr: unix('s15'), server: false, reconnect: 60 }],
  ['s16', 'socket', { addr: inet('127.0.0.1', 'abc'), ...quiet }],
  ['s17', 'socket', { addr: { type: 'zz', data: {} } }],
  ['s18', 'socket', { addr: unix('s18', { zz: 1 }) }],
  ['s19', 'socket', { addr: inet('127.0.0.1', '1'), server: false, 'tls-creds': 'x' }],
  ['vc', 'vc', {}],
  ['mx', 'mux', { chardev: 'n' }],
  ['mx2', 'mux', { chardev: 'nope' }],
  ['bo', 'bogus', {}],
  ['lg', 'null', { logfile: '/nope/no' }],
];

const CHANGE: readonly (readonly [string, string, Message])[] = [
  ['nope', 'null', {}],
  ['serial0', 'ringbuf', {}],
  ['serial0', 'file', { out: '/nope/no' }],
  ['serial0', 'null', {}],
  ['mx', 'null', {}],
  ['n', 'null', {}],
  ['dc', 'null', {}],
  ['hm', 'null', {}],
  ['compat_monitor0', 'null', {}],
  ['r3', 'null', {}],
  ['r3', 'ringbuf', {}],
];

const REMOVE = ['nope', 'mx', 'n', 's1', 'f', 'serial0', 'dc', 'hm', 'compat_monitor0', 'p'];

const HUMAN = [
  'chardev-add',
  'chardev-add null',
  'chardev-add id=yy',
  'chardev-add null,id=h1',
  'chardev-add null,id=h1',
  'chardev-add bogus,id=x',
  'chardev-add null,id=x,foo=bar',
  'chardev-add socket,id=x,path=/nope',
  'chardev-add file,id=x,path=/nope/no',
  'chardev-add socket,id=x,path=/x,server=on,reconnect=3',
  'chardev-change h1 null',
  'chardev-change h1 ringbuf',
  'chardev-change h1 ringbuf,id=zz',
  'chardev-change nope null',
  'chardev-change mx null',
  'chardev-change serial0 socket,path=/nope',
  'chardev-send-break h1',
  'chardev-remove h1',
  'chardev-remove h1',
  'chardev-remove serial0',
  'chardev-send-break h1',
];

/** Numbers that the kernel chose. */
const settle = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value)
      .replaceAll(/\/dev\/pts\/\d+/g, '/dev/pts/N')
      .replaceAll(/(127\.0\.0\.1|0\.0\.0\.0):(?!1\b)\d+/g, '$1:N'),
  );

describe.runIf(ready)('chardevs of QEMU and ours', () => {
  let theirs: Vm;
  let ours: Vm;

  beforeAll(async () => {
    theirs = new Vm('theirs');
    ours = new Vm('ours');
    await Promise.all([theirs.connect(), ours.connect()]);
  }, 60_000);
  afterAll(() => {
    theirs?.close();
    ours?.close();
  });

  const compare = async (
    list: readonly (readonly [string, string, Message])[],
    execute: string,
  ): Promise<unknown[]> => {
    const differences: unknown[] = [];
    for (const [id, type, data] of list) {
      const given = { id, backend: { type, data } };
      // One after the other: of names that are the host's (abstract sockets), both want the same.
      const wanted = settle(await theirs.ask(execute, given));
      if (data['addr'] !== undefined && JSON.stringify(data).includes('abstract'))
        await theirs.ask('chardev-remove', { id });
      const got = settle(await ours.ask(execute, given));
      if (JSON.stringify(got) !== JSON.stringify(wanted)) differences.push({ id, type, data, wanted, got });
    }
    return differences;
  };

  it('are added alike', async () => {
    expect(await compare(ADD, 'chardev-add')).toEqual([]);
  });

  it('are called alike, without a peer and with one', async () => {
    const names = async (vm: Vm) => {
      const { s13, ...rest } = await vm.names();
      return { rest, abstract: s13 };
    };
    const [without, own] = [await names(theirs), await names(ours)];
    expect(settle(own.rest)).toEqual(settle(without.rest));
    expect(own.abstract).toBe(`disconnected:unix:paravane-${process.pid},abstract=on,tight=on,server=on`);
    for (const vm of [theirs, ours]) {
      const known = await vm.names();
      const port = (id: string): number => Number(/:(\d+),server/.exec(known[id]!)![1]);
      const clients = [connect(join(vm.folder, 's1')), connect(port('s4')), connect(port('s5'))];
      await Promise.all(clients);
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
    const [theirNames, ourNames] = [await names(theirs), await names(ours)];
    expect(settle(ourNames.rest)).toEqual(settle(theirNames.rest));
    expect(ourNames.rest['s1']).toBe('unix:s1,server=on');
    expect(ourNames.rest['s4']).toMatch(/^tcp:127\.0\.0\.1:\d+,server=on <-> 127\.0\.0\.1:\d+$/);
    expect(ourNames.rest['s5']).toMatch(/^telnet:/);
  });

  it('are exchanged and taken away alike', async () => {
    expect(await compare(CHANGE, 'chardev-change')).toEqual([]);
    for (const id of REMOVE) {
      const wanted = await theirs.ask('chardev-remove', { id });
      expect({ id, answer: await ours.ask('chardev-remove', { id }) }).toEqual({ id, answer: wanted });
    }
    expect(settle(Object.keys(await ours.names()).filter((id) => id !== 's13'))).toEqual(
      settle(Object.keys(await theirs.names())),
    );
  });

  it('answer people alike', async () => {
    const differences: unknown[] = [];
    for (const line of HUMAN) {
      const wanted = await theirs.human(line);
      const got = (await ours.human(line)).replaceAll(/ \(did you mean[^)]*\)/g, '');
      if (got !== wanted) differences.push({ line, wanted, got });
    }
    expect(differences).toEqual([]);
  });
});
