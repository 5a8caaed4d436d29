// The guest for whole programs: Debian's programs on the Debian guest's disk, which is only read, started by a first
// process of our own (`whole/init.c`) from an initramfs that holds the drivers, the data and the list of commands.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CpioWriter, parseCpio } from '../../dist/boot/cpio.js';
import { decompress } from '../../dist/boot/decompress/index.js';
import { loadOrder, moduleName, parseModuleInfo } from '../../dist/boot/modules.js';
import { ensureGuest } from '../../dist/index.js';

const SOURCES = fileURLToPath(new URL('./', import.meta.url));
const MODULES = ['virtio_pci', 'virtio_blk', 'crc32c_generic', 'ext4'];

/** Reading a program's files once, so that no disk is timed; QUIETLY: it exists on some Debians only. */
const read = (...globs) => `cat ${globs.join(' ')} >/dev/null 2>&1`;
/** Seconds for this many bytes, or operations, at the speed that `openssl speed -mr` prints. */
const bytes = (count, name) =>
  `openssl speed -elapsed -mr -seconds 1 -bytes 8192 -evp ${name} 2>/dev/null | ` +
  `awk -F: '$1 == "+F" { printf "%.6f\\n", ${count} / $NF }'`;
const library = read('/usr/bin/openssl', '/usr/lib/x86_64-linux-gnu/libcrypto.so.3');

/** name, kind (see init.c), what is done before, what is measured. */
const PROGRAMS = [
  ['gzip', 'time', read('/bin/gzip'), 'head -c 1500000 /mnt/text | gzip -n'],
  ['bzip2', 'time', read('/bin/bzip2', '/lib/x86_64-linux-gnu/libbz2*'), 'head -c 500000 /mnt/text | bzip2'],
  ['xz', 'time', read('/usr/bin/xz', '/lib/x86_64-linux-gnu/liblzma*'), 'head -c 300000 /mnt/text | xz -T1'],
  ['sort', 'time', read('/usr/bin/sort'), 'sort /mnt/numbers; sort -n -k2 /mnt/numbers'],
  [
    'awk',
    'time',
    read('/usr/bin/mawk'),
    "awk '{ for (i = 1; i <= NF; i++) n[$i]++ } END { for (w in n) print n[w], w }' /mnt/text | sort",
  ],
  [
    'python3',
    'time',
    `${read('/usr/bin/python3.*')}; PYTHONHASHSEED=0 python3 -c 'import json, re'`,
    'PYTHONHASHSEED=0 python3 /mnt/workload.py',
  ],
  [
    'perl',
    'time',
    `${read('/usr/bin/perl')}; perl -e 'use strict; use warnings'`,
    'PERL_HASH_SEED=0 perl /mnt/workload.pl',
  ],
  [
    'gcc',
    'time',
    read('/usr/lib/gcc/x86_64-linux-gnu/*/cc1', '/usr/bin/gcc-*', '/usr/lib/x86_64-linux-gnu/lib[mgi]*.so*'),
    'gcc -O2 -S -o - /mnt/sha256.c',
  ],
  ['openssl-sha256', 'speed', library, `${bytes(5e7, 'sha256')}; openssl dgst -sha256 /mnt/text`],
  [
    'openssl-aes',
    'speed',
    library,
    `${bytes(5e7, 'aes-128-cbc')}; openssl enc -aes-128-cbc -K 00112233445566778899aabbccddeeff -iv 0123456789abcdef0123456789abcdef -in /mnt/text | openssl dgst -md5`,
  ],
  [
    'openssl-rsa',
    'speed',
    library,
    'openssl speed -elapsed -mr -seconds 1 rsa2048 2>/dev/null | ' +
      `awk -F: '$1 == "+F2" { s = $4 < 1 ? $4 : 1 / $4; printf "%.6f\\n", 50 * s }'`,
  ],
  [
    'sqlite3',
    'time',
    read('/usr/bin/sqlite3', '/usr/lib/x86_64-linux-gnu/libsqlite3*'),
    'sqlite3 :memory: </mnt/workload.sql',
  ],
];

export const wholePrograms = PROGRAMS.map(([name]) => ({ name, group: 'whole' }));

/** Text of made-up words, frequent ones short; the same in every run. */
function makeText(size) {
  let seed = 1;
  const random = () => (seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff) / 0x80000000;
  const words = [];
  for (let i = 0; i < 4000; i++) {
    let word = '';
    for (let k = 0; k < 2 + Math.log2(i + 2) * 0.6 * (0.5 + random()); k++)
      word += 'aeiouaeiourstlnmdkpbcfghvwyzjqx'[Math.floor(random() * 31)];
    words.push(word);
  }
  const lines = [];
  for (let length = 0; length < size; ) {
    const line = [];
    while (line.length < 11) line.push(words[Math.floor(4000 * random() ** 4)]);
    lines.push(`${line.join(' ')}.`);
    length += lines.at(-1).length + 1;
  }
  return `${lines.join('\n')}\n`.slice(0, size);
}

function makeNumbers(count) {
  let seed = 7;
  let text = '';
  for (let i = 0; i < count; i++) {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    text += `key${seed % 99991} ${(seed >> 3) % 1000003} line ${i}\n`;
  }
  return text;
}

/** Debian's initrd may be several archives in a row, packed or not; the last and largest holds the modules. */
async function unpackInitrd(path) {
  const data = readFileSync(path);
  const packed = [Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), Buffer.from([0x1f, 0x8b, 0x08])]
    .map((magic) => data.indexOf(magic))
    .filter((at) => at >= 0);
  const start =
    data.subarray(0, 6).toString('latin1') === '070701' && packed.length > 0 ? Math.min(...packed) : 0;
  return parseCpio(await decompress(data.subarray(start), 0, {}));
}

async function addModules(cpio, initrd) {
  const files = new Map();
  for (const entry of await unpackInitrd(initrd))
    if (/\.ko(\.(gz|xz|zst))?$/.test(entry.name)) files.set(moduleName(entry.name), entry);
  const modules = new Map();
  const order = await loadOrder(MODULES, async (name) => {
    const entry = files.get(name);
    if (entry === undefined) return undefined;
    modules.set(name, entry.name.endsWith('.ko') ? entry.data : await decompress(entry.data, 0, {}));
    return parseModuleInfo(modules.get(name));
  });
  for (const name of order) cpio.file(`modules/${name}.ko`, modules.get(name));
  cpio.file('modules/order', order.map((name) => `/modules/${name}.ko\n`).join(''));
}

/** Makes the guest for these programs. @returns kernel, initrd, disk */
export async function makeWholeGuest(folder, names, progress) {
  mkdirSync(folder, { recursive: true });
  const init = join(folder, 'whole-init');
  const { status, stderr } = spawnSync('gcc', ['-O2', '-static', '-o', init, join(SOURCES, 'whole/init.c')], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`gcc cannot build whole/init.c: ${stderr}`);
  const guest = await ensureGuest('debian', { progress });
  const cpio = new CpioWriter();
  for (const name of ['dev', 'disk', 'data']) cpio.directory(name);
  cpio.node('dev/console', 'char', 5, 1).file('init', readFileSync(init), 0o755);
  await addModules(cpio, guest.initrd);
  cpio.file('data/text', makeText(2_000_000)).file('data/numbers', makeNumbers(30_000));
  for (const name of ['workload.py', 'workload.pl', 'workload.sql'])
    cpio.file(`data/${name}`, readFileSync(join(SOURCES, 'whole', name)));
  for (const name of ['sha256.c', 'bench.h'])
    cpio.file(`data/${name}`, readFileSync(join(SOURCES, 'programs', name)));
  const list = PROGRAMS.filter(([name]) => names.includes(name));
  cpio.file('list', list.map((fields) => `${fields.join('\t')}\n`).join(''));
  const initrd = join(folder, 'initrd-whole');
  writeFileSync(initrd, cpio.finish());
  return { kernel: guest.kernel, initrd, disk: guest.disk };
}
