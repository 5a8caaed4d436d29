/**
 * `paravane run tiny|debian [-- OPTIONS]`: the ready-made guests. On a terminal the guest's console is the terminal;
 * otherwise `tiny` tests its devices, and the exit code says whether all passed.
 */
import { ensureGuest } from '../host/node/guests.ts';
import type { Guest, GuestName } from '../host/node/guests.ts';
import { temporaryDisk } from '../host/node/temporary-disk.ts';
import { UsageError } from '../core/errors.ts';
import { configure } from '../machine/configure.ts';
import { parseCommandLine, shellQuote } from '../qapi/parse-command-line.ts';
import type { Cli } from './cli.ts';
import { runMachine } from './cli.ts';
import { guestName } from './image.ts';
import { progressLine } from './progress.ts';
import { runSelfTest } from './selftest.ts';

/** A second console, /dev/hvc0, that goes nowhere: to be found by its driver. */
const CONSOLE = ['-chardev', 'null,id=hvc0', '-device', 'virtconsole,chardev=hvc0'];

/** Bytes of the tiny guest's empty disk: sparse, and gone afterwards. */
const SCRATCH_SIZE = 64 * 2 ** 20;

/** The options that a guest is started with. */
export function guestOptions(name: GuestName, guest: Guest, extraCmdline: string, size?: string): string[] {
  const common = ['-nographic', '-kernel', guest.kernel, '-initrd', guest.initrd];
  const cmdline = [
    'console=ttyS0',
    guest.cmdline,
    size === undefined ? '' : `paravane.size=${size}`,
    extraCmdline,
  ];
  const append = ['-append', cmdline.filter((part) => part !== '').join(' ')];
  const devices = [
    ...['-netdev', 'user,id=net0', '-device', 'virtio-net-pci,netdev=net0'],
    ...['-device', 'virtio-rng-pci'],
  ];
  if (name === 'debian')
    return [
      ...['-m', '1G', ...common, ...append],
      ...['-drive', `file=${guest.disk ?? ''},if=virtio,format=raw`],
      ...devices,
    ];
  return ['-m', '256', ...common, ...append, ...devices, '-device', 'virtio-serial-pci'];
}

/** Splits `NAME [-- OPTIONS]`; options may also follow without the dashes. */
function readArguments(argv: readonly string[]): {
  name: GuestName;
  options: readonly string[];
  selftest: boolean;
} {
  const [word, ...rest] = argv;
  const name = guestName(word, 'run');
  const selftest = rest[0] === '--selftest';
  const after = selftest ? rest.slice(1) : rest;
  if (after.length > 0 && after[0] !== '--' && !after[0]!.startsWith('-'))
    throw new UsageError(`run ${name}: unexpected '${after[0]}' (options follow --)`);
  return { name, options: after[0] === '--' ? after.slice(1) : after, selftest };
}

export async function runCommand(context: Cli, argv: readonly string[]): Promise<number> {
  const { process } = context;
  const { name, options, selftest } = readArguments(argv);
  const progress = progressLine(process);
  let guest: Guest;
  try {
    guest = await ensureGuest(name, { progress: progress.say });
  } finally {
    progress.end();
  }
  if (selftest || (name === 'tiny' && !process.stdinIsTerminal && options.length === 0))
    return runSelfTest(context, guest, options);
  const size = process.terminalSize();
  const disk = name === 'tiny' ? temporaryDisk(SCRATCH_SIZE) : undefined;
  const words = [
    ...guestOptions(name, guest, '', size === undefined ? undefined : `${size.columns}x${size.rows}`),
    ...(disk === undefined ? [] : ['-drive', `file=${disk.path},if=virtio,format=raw`, ...CONSOLE]),
    ...options,
  ];
  process.stderr(`Running ${name}: paravane ${words.map(shellQuote).join(' ')}\n`);
  if (process.stdinIsTerminal) process.stderr('Ctrl-A X ends it, Ctrl-A H lists the other keys.\n');
  try {
    const { given, images } = parseCommandLine(words);
    return await runMachine(context, configure(given, images));
  } finally {
    disk?.remove();
  }
}
