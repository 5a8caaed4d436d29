/**
 * The full Debian guest, as `paravane image build debian` makes it: systemd, compilers, disks, network. Some minutes
 * long: `PARAVANE_DEBIAN=1 npm test -- test/guest`, or a folder in place of 1, for
 * logs of the consoles. Skipped otherwise, and where the guest was not built.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  constants,
  existsSync,
  mkdtempSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import * as dgram from 'node:dgram';
import * as http from 'node:http';
import * as net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { MachineOptions, Vm } from '../../src/index.ts';
import { cachedGuest, Shell } from './shell.ts';

const guest = cachedGuest('debian');
const built = existsSync('dist/index.js') && existsSync('dist/x86/runtime.wasm');
const wanted = process.env['PARAVANE_DEBIAN'] !== undefined && built && guest !== undefined;
const has = (tool: string): boolean => spawnSync('sh', ['-c', `command -v ${tool}`]).status === 0;
const MINUTES = 60_000;

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'paravane-debian-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let boots = 0;

async function boot(
  options: MachineOptions,
  tty: 'ttyS0' | 'hvc0' = 'ttyS0',
): Promise<{ vm: Vm; shell: Shell }> {
  // The compiled library, as users have it.
  const library = (await import(join(process.cwd(), 'dist/index.js'))) as typeof import('../../src/index.ts');
  const logs = process.env['PARAVANE_DEBIAN'] ?? '';
  const vm = await library.createMachine({
    m: '1G',
    kernel: guest!.kernel,
    initrd: guest!.initrd,
    append: `console=${tty} root=/dev/vda rw`,
    chardev: {
      backend: 'stream',
      id: 'c',
      ...(logs.includes('/') ? { logfile: join(logs, `console${boots++}.log`) } : {}),
    },
    ...(tty === 'hvc0'
      ? { device: ['virtio-serial-pci', 'virtconsole,chardev=c'], serial: 'null' }
      : { serial: 'chardev:c' }),
    ...options,
  });
  const shell = new Shell(vm.console('c'));
  await vm.start();
  await shell.login();
  return { vm, shell };
}

const root = (): { file: string; if: 'virtio'; format: 'raw'; snapshot: true } => ({
  file: guest!.disk,
  if: 'virtio',
  format: 'raw',
  snapshot: true,
});

describe.skipIf(!wanted)('Debian', () => {
  it('works with the host over the user network, and computes as the host does', {
    timeout: 10 * MINUTES,
  }, async () => {
    const files = new Map<string, Buffer>([['/ten', Buffer.alloc(10 << 20, 'ten mebibytes of this, ')]]);
    const compiler = has('gcc');
    let native = '';
    if (compiler) {
      const program = join(folder, 'floating-point');
      execFileSync('gcc', [
        '-O2',
        '-static',
        '-o',
        program,
        join(import.meta.dirname, 'floating-point.c'),
        '-lm',
      ]);
      files.set('/floating-point', (await import('node:fs')).readFileSync(program));
      // The guest's processor has neither: libm would choose variants that round otherwise.
      const GLIBC_TUNABLES = 'glibc.cpu.hwcaps=-AVX2_Usable,-FMA_Usable,-AVX2,-FMA,-FMA4,-AVX,-AVX512F';
      native = execFileSync(program, { env: { GLIBC_TUNABLES } }).toString();
    }
    const server = http.createServer((request, response) => response.end(files.get(request.url ?? '')));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://10.0.2.2:${(server.address() as net.AddressInfo).port}`;
    const echo = dgram.createSocket('udp4', (message, from) => echo.send(message, from.port, from.address));
    await new Promise<void>((resolve) => echo.bind(0, '127.0.0.1', resolve));
    const probe = net.createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => probe.once('listening', resolve));
    const forwarded = (probe.address() as net.AddressInfo).port;
    await new Promise((resolve) => probe.close(resolve));
    const { vm, shell } = await boot({
      drive: root(),
      nic: { type: 'user', hostfwd: `tcp:127.0.0.1:${forwarded}-:8000` },
    });
    try {
      expect(await shell.run('systemctl --failed --no-legend --plain | cat')).toBe('');
      expect(await shell.run('tty')).toContain('/dev/ttyS0');
      expect(await shell.run('ip -br address')).toContain('10.0.2.15/24');
      const sum = createHash('sha256').update(files.get('/ten')!).digest('hex');
      expect(await shell.run(`curl -sf ${url}/ten | sha256sum`)).toContain(sum);
      const udp = `import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(10)
for n in (1, 1472, 20000):
    s.sendto(bytes(n), ('10.0.2.2', ${echo.address().port})); print(len(s.recv(65536)))`;
      expect(await shell.run(`python3 -c "${udp}"`)).toContain('1\n1472\n20000\n');
      await shell.run('cd /etc && (python3 -m http.server 8000 >/dev/null 2>&1 &) ; cd');
      await shell.run('until curl -sf -o /dev/null http://127.0.0.1:8000/hostname; do sleep 1; done');
      const answer = await fetch(`http://127.0.0.1:${forwarded}/hostname`);
      expect(await answer.text()).toBe('debian\n');
      if (compiler)
        expect(await shell.run(`curl -sf -o fp ${url}/floating-point && chmod +x fp && ./fp`)).toContain(
          native.trim(),
        );
    } finally {
      server.close();
      echo.close();
      await vm.quit();
    }
  });

  it('compiles and runs programs on hvc0, reboots, and powers off', { timeout: 12 * MINUTES }, async () => {
    const { vm, shell } = await boot({ drive: root(), net: 'none' }, 'hvc0');
    try {
      expect(await shell.run('tty')).toContain('/dev/hvc0');
      await shell.run(
        'printf \'#include <stdio.h>\\nint main(void) { return puts("compiled") < 0; }\\n\' >a.c',
      );
      expect(await shell.run('gcc -O2 -Wall -o a a.c && ./a')).toContain('compiled\n');
      expect(await shell.run('python3 -c "print(3 ** 200 % 1000007, sum(range(10 ** 5)))"')).toContain(
        `${3n ** 200n % 1000007n} 4999950000`,
      );
      expect(await shell.run("perl -e 'print join q(,), map { $_ ** 2 } 1 .. 9'")).toContain(
        '1,4,9,16,25,36,49,64,81',
      );
      await shell.run('openssl genrsa -out key 2048 2>/dev/null && openssl rsa -in key -check -noout 2>&1');
      await shell.run('openssl enc -aes-256-cbc -pass pass:x -pbkdf2 -in a -out b');
      await shell.run('openssl enc -d -aes-256-cbc -pass pass:x -pbkdf2 -in b | cmp - a');
      const edit = "vim -u NONE -N -es -c 'normal ihello' -c 'normal yyp' -c 'wq' text </dev/null; cat text";
      expect(await shell.run(edit)).toContain('hello\nhello\n');
      await shell.type('reboot\n');
      await shell.login();
      await shell.type('poweroff\n');
      expect(await vm.wait()).toEqual({ reason: 'guest-shutdown', code: 0 });
    } finally {
      await vm.quit();
    }
  });

  it('keeps what it writes', { timeout: 10 * MINUTES }, async () => {
    const disk = join(folder, 'data');
    writeFileSync(disk, '');
    truncateSync(disk, 1 << 30);
    const { vm, shell } = await boot({
      drive: [root(), { file: disk, if: 'virtio', format: 'raw' }],
      net: 'none',
    });
    let sums = '';
    const list = 'find tree -type f | sort | xargs -d "\\n" sha1sum';
    try {
      await shell.run('mkfs.ext4 -q /dev/vdb && mount /dev/vdb /mnt && cd /mnt && mkdir tree');
      await shell.run('cp -a /usr/lib/x86_64-linux-gnu tree/ && sync');
      sums = (await shell.run(`${list} | sha1sum`)).trim();
      const fio =
        'fio --name=v --filename=/mnt/fio --size=32M --rw=randwrite --bsrange=512-64k --direct=1 --ioengine=libaio';
      expect(await shell.run(`${fio} --iodepth=16 --fsync=64 --verify=crc32c --verify_fatal=1`)).toContain(
        'err= 0',
      );
      await shell.run('echo 3 >/proc/sys/vm/drop_caches; sync');
      expect((await shell.run(`${list} | sha1sum`)).trim()).toBe(sums);
      // As after a power cut: no unmount, and a copy of what is on the host's disk by now.
      const cut = join(folder, 'cut');
      copyFileSync(disk, cut, constants.COPYFILE_FICLONE);
      expect(spawnSync('e2fsck', ['-p', cut]).status).toBe(0);
      await shell.run('cd && umount /mnt');
      await shell.type('poweroff\n');
      expect((await vm.wait()).code).toBe(0);
    } finally {
      await vm.quit();
    }
    const check = spawnSync('e2fsck', ['-fn', disk]);
    expect(check.status, check.stdout.toString()).toBe(0);
  });
});
