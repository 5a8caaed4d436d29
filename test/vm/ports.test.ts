/**
 * virtio-serial on the tiny guest as programs use it: the short run of the paths of a port (test/fedora/paths.ts;
 * `npm run test:fedora` runs all of them beside QEMU), and what the seeds of the project do with ports on the
 * command line and in the guest's shell. Skipped without the guest, and what needs gcc or socat without those.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import * as net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HostPort } from '../fedora/host-port.ts';
import { runPaths } from '../fedora/run-paths.ts';
import { buildAgent, delay, type Peer, TextStream, VmProcess } from '../fedora/vm.ts';
import { cachedGuest } from '../guest/shell.ts';

const guest = cachedGuest('tiny');
const ready = existsSync('dist/cli/main.js') && existsSync('dist/x86/runtime.wasm') && guest !== undefined;
const has = (tool: string): boolean => spawnSync('sh', ['-c', `command -v ${tool}`]).status === 0;
/** The same tests with QEMU: `PARAVANE_PEER=qemu npx vitest run test/vm/ports.test.ts`. */
const peer: Peer = process.env['PARAVANE_PEER'] === 'qemu' ? 'qemu' : 'paravane';
/** Half a minute on an idle machine. */
const LONG = { timeout: 600_000 };

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'paravane-ports-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const files = () => ({ kernel: guest!.kernel, initrd: guest!.initrd });

describe.skipIf(!ready)('ports of the tiny guest', () => {
  it.skipIf(!has('gcc'))('behave on every path as under QEMU (short run)', LONG, async () => {
    const agent = buildAgent(folder)!;
    const results = await runPaths({
      ...{ peer, guest: files(), agent, folder },
      select: ({ short }) => short === true,
    });
    expect(results.length).toBeGreaterThan(15);
    expect(results.flatMap(({ name, wrong }) => wrong.map((text) => `${name}: ${text}`))).toEqual([]);
  });

  it('a client whose server is not there fails at the start, with the path and the reason', () => {
    const path = join(folder, 'nobody');
    const [program, before] =
      peer === 'qemu' ? ['qemu-system-x86_64', []] : [process.execPath, ['dist/cli/main.js']];
    const { status, stderr } = spawnSync(
      program,
      [...before, '-display', 'none', '-chardev', `socket,path=${path},id=foo`],
      { encoding: 'utf8', timeout: 60_000 },
    );
    expect(status).toBe(1);
    expect(stderr).toContain(`-chardev socket,path=${path},id=foo: `);
    expect(stderr).toContain(`'${path}': No such file or directory`);
  });

  describe.skipIf(!has('socat'))('as the seeds use them', () => {
    let vm: VmProcess;
    let socat: ChildProcess;
    const heard = new TextStream();
    let nineServer: net.Server;

    /** As a 9p server answers Tversion: Rversion with the same size and version. */
    const answerVersion = (socket: net.Socket): void => {
      let got = Buffer.alloc(0);
      socket.on('error', () => {});
      socket.on('data', (data: Buffer) => {
        got = Buffer.concat([got, data]);
        while (got.length >= 4 && got.length >= got.readUInt32LE(0)) {
          const message = Buffer.from(got.subarray(0, got.readUInt32LE(0)));
          got = got.subarray(message.length);
          message[4] = 101;
          socket.write(message);
        }
      });
    };

    beforeAll(async () => {
      const at = (name: string) => join(folder, name);
      socat = spawn('socat', [`UNIX-LISTEN:${at('foo')}`, '-']);
      socat.stdout!.on('data', (data: Buffer) => heard.push(data.toString()));
      nineServer = net.createServer(answerVersion);
      await new Promise<void>((resolve) => nineServer.listen(at('vc02'), resolve));
      while (!existsSync(at('foo'))) await delay(50);
      vm = new VmProcess(
        {
          ...{ peer, guest: files() },
          args: [
            ...['-chardev', `socket,path=${at('foo')},id=foo`, '-device', 'virtio-serial-pci'],
            ...['-device', 'virtserialport,chardev=foo,name=maxwell,nr=2'],
            ...['-chardev', `socket,path=${at('bar')},server,nowait,id=bar`],
            ...['-device', 'virtserialport,chardev=bar,name=org.fedoraproject.port.0'],
            ...['-device', 'virtio-serial-pci,max_ports=1', '-device', 'virtconsole,chardev=vc01'],
            ...['-chardev', `socket,id=vc01,path=${at('vc01')},server,nowait`],
            ...['-device', 'virtio-serial-pci,max_ports=1', '-device', 'virtconsole,chardev=vc02'],
            ...['-chardev', `socket,id=vc02,path=${at('vc02')}`],
          ],
        },
        join(folder, 'seeds'),
      );
      await vm.shell();
    }, 600_000);

    afterAll(async () => {
      await vm?.kill();
      socat?.kill();
      nineServer?.close();
    });

    it('socat on a listening socket hears what is echoed into /dev/virtio-ports/maxwell', LONG, async () => {
      expect(await vm.run('cat /sys/class/virtio-ports/vport*p2/name')).toBe('maxwell');
      await vm.run('echo foo > /dev/virtio-ports/maxwell');
      expect(await heard.waitFor('\n', 60_000)).toBe('foo\n');
      socat.stdin!.write('from the host\n');
      expect(await vm.run('head -n 1 /dev/virtio-ports/maxwell')).toBe('from the host');
    });

    it('an IPython-like client connects and receives four bytes', LONG, async () => {
      const client = await HostPort.connect({ path: join(folder, 'bar') });
      await delay(500);
      await vm.run(
        "printf 'abcd' | dd bs=4 status=none of=/dev/virtio-ports/org.fedoraproject.port.0 count=1 seek=0",
      );
      expect((await client.take(4)).toString()).toBe('abcd');
      await client.close();
    });

    it(
      'controllers with max_ports=1 are consoles; what nobody hears is lost, and reads wait',
      LONG,
      async () => {
        // A console takes what is written, though nobody is connected, and forgets it.
        await vm.run('echo nobody hears this >/dev/hvc0');
        const client = await HostPort.connect({ path: join(folder, 'vc01') });
        await delay(500);
        await vm.run('echo somebody >/dev/hvc0');
        expect((await client.take(10)).toString()).toBe('somebody\r\n');
        expect(await vm.run('timeout 1 head -c 1 /dev/hvc0; echo $?')).toMatch(/143$/);
        await client.close();
      },
    );

    it('9p messages go over a console of their own', LONG, async () => {
      // Raw while it is open: Linux forgets a console's settings with the last close.
      const hex = await vm.run(
        String.raw`(stty raw -echo <&3; printf '\023\0\0\0\144\377\377\0\040\0\0\006\0009P2000' >&3; head -c 19 <&3) 3<>/dev/hvc1 | od -An -tx1 | tr -d ' \n'`,
      );
      // size[4] Rversion tag[2] msize[4] version[s], as the server sent them.
      expect(hex).toBe('13000000' + '65' + 'ffff' + '00200000' + '0600' + '395032303030');
    });
  });
});
