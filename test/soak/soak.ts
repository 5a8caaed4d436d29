/**
 * `npm run soak`: the Debian guest compiles a C project of Debian's sources (zlib) over and over for twenty minutes.
 * Each time the library and a program that uses it must be the same, to the byte, as QEMU's translator makes them on
 * the same disk; and from the fifth minute on the process must not grow, beyond what the guest makes use of. `--minutes N`
 * for another time, `--no-qemu` to compare the turns with the first one only. Needs the Debian guest, and apt for the
 * sources.
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { RAM_BASE } from '../../src/x86/layout.ts';
import { cachedGuest, Shell } from '../guest/shell.ts';

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '20' }, 'no-qemu': { type: 'boolean', default: false } },
});
const MINUTES = Number(values.minutes);
/** From when on memory must not grow (minutes), and by how much it may differ (MiB). */
const SETTLED = Math.min(5, MINUTES / 2);
const MAY_GROW = 64;
/** Seconds between looks at it: V8 collects when it likes, so that a single one says little. */
const LOOK = 10;
const GUEST_MIB = 1024;

const { memoryBeyondGuest } = (await import(join(process.cwd(), 'bench/memory.mjs'))) as {
  memoryBeyondGuest(pid: number, memory: number, ramOffset: number): { resident: number; beyond: number };
};
const guest = cachedGuest('debian');
if (guest === undefined) throw new Error('there is no Debian guest: paravane image build debian');
const folder = mkdtempSync(join(tmpdir(), 'paravane-soak-'));

/** The project's source as a tar on a disk, with the archive's own lists so that the host's stay as they are. */
function sources(): string {
  const parts = join(folder, 'parts');
  execFileSync('mkdir', ['-p', parts, join(folder, 'lists/partial')]);
  const text = readFileSync('/etc/apt/sources.list.d/debian.sources', 'utf8');
  writeFileSync(join(parts, 'debian.sources'), text.replaceAll(/^Types:.*/gm, 'Types: deb-src'));
  const options = [
    'Dir::Etc::SourceList=/dev/null',
    `Dir::Etc::SourceParts=${parts}`,
    `Dir::State::Lists=${join(folder, 'lists')}`,
  ].flatMap((option) => ['-o', option]);
  execFileSync('apt-get', [...options, 'update'], { stdio: 'ignore' });
  execFileSync('apt-get', [...options, '--download-only', 'source', 'zlib'], {
    cwd: folder,
    stdio: 'ignore',
  });
  const archive = readdirSync(folder).find((name) => name.includes('.orig.tar.'))!;
  const disk = join(folder, 'source.raw');
  const bytes = readFileSync(join(folder, archive));
  // whole sectors; tar and bzip2 take what follows the archive for nothing
  writeFileSync(disk, Buffer.concat([bytes, Buffer.alloc(-bytes.length & 4095)]));
  return disk;
}

/** One turn in the guest; gives the sums of what was made. */
const TURN = [
  'rm -rf /root/z && mkdir /root/z && cd /root/z',
  'tar xjf /dev/vdb --strip-components=1 2>/dev/null; test -f configure',
  'SOURCE_DATE_EPOCH=1 ./configure --static >/dev/null && make CFLAGS="-O2 -g0" >/dev/null 2>&1',
  './minigzip < libz.a > libz.a.gz && ./minigzip -d < libz.a.gz | cmp - libz.a',
  'sha256sum libz.a minigzip example libz.a.gz',
].join(' && ');

async function qemu(disk: string): Promise<string> {
  const line = [
    '-accel',
    'tcg',
    '-cpu',
    'max',
    '-m',
    '1G',
    '-display',
    'none',
    '-no-reboot',
    '-serial',
    'stdio',
  ];
  line.push('-monitor', 'none', '-kernel', guest!.kernel, '-initrd', guest!.initrd);
  line.push('-append', 'console=ttyS0 root=/dev/vda rw');
  line.push('-drive', `file=${guest!.disk},if=virtio,format=raw,snapshot=on`);
  line.push('-drive', `file=${disk},if=virtio,format=raw,readonly=on`, '-nic', 'none');
  const child = spawn('qemu-system-x86_64', line, { stdio: ['pipe', 'pipe', 'inherit'] });
  let seen = '';
  let changed = (): void => {};
  child.stdout.on('data', (bytes: Buffer) => {
    seen += bytes.toString('latin1');
    changed();
  });
  const shell = new Shell({
    write: async (text: string) => void child.stdin.write(text),
    waitFor: async (pattern: string | RegExp) => {
      for (;;) {
        const found = typeof pattern === 'string' ? undefined : pattern.exec(seen);
        const at = typeof pattern === 'string' ? seen.indexOf(pattern) : (found?.index ?? -1);
        if (at >= 0) {
          const end = at + (found?.[0].length ?? (pattern as string).length);
          const text = seen.slice(0, end);
          seen = seen.slice(end);
          return text;
        }
        await new Promise<void>((resolve) => (changed = resolve));
      }
    },
  } as unknown as ConstructorParameters<typeof Shell>[0]);
  try {
    await shell.login();
    return await shell.run(TURN);
  } finally {
    child.kill();
  }
}

/** What one look at the process's memory has found, without the guest's own (MiB). */
interface Look {
  readonly minute: number;
  readonly beyond: number;
}

const median = (looks: readonly Look[]): number =>
  [...looks].sort((a, b) => a.beyond - b.beyond)[looks.length >> 1]!.beyond;

/** Throws when the last third of the time since SETTLED took more than the first. */
function checkGrowth(looks: readonly Look[], end: number): void {
  const third = (end - SETTLED) / 3;
  const early = median(looks.filter(({ minute }) => minute >= SETTLED && minute < SETTLED + third));
  const late = median(looks.filter(({ minute }) => minute >= end - third));
  console.log(
    `beyond guest RAM, medians: ${early} MiB from minute ${SETTLED} to ${(SETTLED + third).toFixed(1)}, ` +
      `${late} MiB in the last ${third.toFixed(1)} minutes`,
  );
  if (late > early + MAY_GROW) throw new Error('memory grows');
}

async function paravane(disk: string, wanted: string | undefined): Promise<void> {
  const library = (await import(join(process.cwd(), 'dist/index.js'))) as typeof import('../../src/index.ts');
  const vm = await library.createMachine({
    m: `${GUEST_MIB}M`,
    kernel: guest!.kernel,
    initrd: guest!.initrd,
    append: 'console=ttyS0 root=/dev/vda rw',
    drive: [
      { file: guest!.disk, if: 'virtio', format: 'raw', snapshot: true },
      { file: disk, if: 'virtio', format: 'raw', readonly: true },
    ],
    nic: 'none',
  });
  const start = performance.now();
  const elapsed = (): number => (performance.now() - start) / 60_000;
  const shell = new Shell(vm.serial[0]!);
  await vm.start();
  await shell.login();
  let first = wanted;
  const looks: Look[] = [];
  const look = setInterval(() => {
    const { beyond } = memoryBeyondGuest(process.pid, GUEST_MIB, RAM_BASE);
    looks.push({ minute: elapsed(), beyond: Math.round(beyond) });
  }, LOOK * 1000);
  let turns = 0;
  while (elapsed() < MINUTES || turns < 2) {
    const sums = await shell.run(TURN);
    turns++;
    first ??= sums;
    if (sums !== first) throw new Error(`turn ${turns} made something else:\n${sums}\nnot\n${first}`);
    const { resident, beyond } = memoryBeyondGuest(process.pid, GUEST_MIB, RAM_BASE);
    const memory = `${Math.round(beyond)} MiB beyond guest RAM, ${Math.round(resident)} with it`;
    console.log(`turn ${turns}, minute ${elapsed().toFixed(1)}: the same; ${memory}`);
  }
  clearInterval(look);
  const end = elapsed();
  await shell.type('poweroff\n');
  await vm.wait();
  console.log(`${turns} turns in ${elapsed().toFixed(1)} minutes`);
  checkGrowth(looks, end);
}

try {
  const disk = sources();
  let wanted: string | undefined;
  if (!values['no-qemu'] && existsSync('/usr/bin/qemu-system-x86_64')) {
    wanted = await qemu(disk);
    console.log(`QEMU made\n${wanted}`);
  }
  await paravane(disk, wanted);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
