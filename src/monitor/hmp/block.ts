/** What changes disks: sizes, limits, media, drives that come and go. */
import { LIMITS } from '../../block/throttle.ts';
import { configureDrive } from '../../machine/configure-drive.ts';
import { nodeOptions } from '../../machine/configure-blockdev.ts';
import { parseOptions } from '../../qapi/options.ts';
import { disks, requireDisk } from '../block-info.ts';
import type { ReadOnlyMode } from '../qmp/commands/block-change.ts';
import { changeMedium, eject, resizeNode, setLimits } from '../qmp/commands/block-change.ts';
import { asQmpError } from '../qmp/error.ts';
import type { MonitorTarget } from '../target.ts';
import type { HmpCommand } from './command.ts';
import type { HmpArguments } from './arguments.ts';
import { HmpError } from './error.ts';

const names = (target: MonitorTarget): string[] => disks(target).flatMap(({ id }) => (id === '' ? [] : [id]));

const MODES: readonly string[] = ['retain', 'read-only', 'read-write'];

/** What goes wrong is said without `Error:` in front, as these commands do in QEMU. */
const plain =
  (run: (given: HmpArguments, target: MonitorTarget) => Promise<string | void>): HmpCommand['run'] =>
  (given, target) =>
    run(given, target).catch((error: unknown) => {
      const known = asQmpError(error);
      throw known === undefined ? error : new HmpError(known.message, false);
    });

export const blockActions: readonly HmpCommand[] = [
  {
    name: 'block_resize',
    takes: 'device:B,size:o',
    synopsis: 'device size',
    help: 'make a disk larger or smaller; a plain number is megabytes',
    run: ({ device, size }, target) => resizeNode(target, String(device), undefined, Number(size)),
    complete: names,
  },
  {
    name: 'block_set_io_throttle',
    takes: `device:B,${LIMITS.map((name) => `${name}:l`).join(',')}`,
    synopsis: `device ${LIMITS.join(' ')}`,
    help: 'limit bytes and requests a second of a disk; 0 for no limit',
    run: ({ device, ...rates }, target) => {
      const numbers = Object.fromEntries(Object.entries(rates).map(([name, value]) => [name, Number(value)]));
      setLimits(target, requireDisk(target, String(device), undefined), numbers);
    },
    complete: names,
  },
  {
    name: 'eject',
    takes: 'force:-f,device:B',
    synopsis: '[-f] device',
    help: 'take the medium out of a disk that nothing uses',
    run: ({ device }, target) => eject(target, requireDisk(target, String(device), undefined)),
    complete: names,
  },
  {
    name: 'change',
    takes: 'force:-f,device:B,filename:F,format:s?,mode:s?',
    synopsis: '[-f] device filename [format [read-only-mode]]',
    help: 'put another image into a disk that nothing uses',
    run: ({ device, filename, format, mode }, target) => {
      if (mode !== undefined && !MODES.includes(String(mode)))
        throw new HmpError(`Parameter 'read-only-mode' does not accept value '${String(mode)}'`, false);
      return changeMedium(
        target,
        requireDisk(target, String(device), undefined),
        String(filename),
        format === undefined ? undefined : String(format),
        mode as ReadOnlyMode | undefined,
      );
    },
    complete: names,
  },
  {
    name: 'drive_add',
    takes: 'node:-n,address:s,options:S',
    synopsis: '[-n] [[<domain>:]<bus>:]<slot> options',
    help: 'make a drive as -drive if=none does (-n: a node as -blockdev does)',
    run: plain(async ({ node, options }, target) => {
      const entries = parseOptions(String(options));
      const all = target.backends.disks;
      if (node === true) {
        await all.graph.add(nodeOptions(entries));
        return;
      }
      const { config, plugs } = configureDrive(entries, 'drive_add', names(target), 0, false);
      if (plugs) throw new HmpError("Can't hot-add drive to type 7", false);
      await all.open(config);
      return 'OK\n';
    }),
  },
  {
    name: 'drive_del',
    takes: 'id:B',
    synopsis: 'device',
    help: 'take a drive away, from under its device as well',
    run: plain(async ({ id }, target) => {
      const all = target.backends.disks;
      const disk = all.find(String(id));
      if (disk !== undefined) return all.delete(disk);
      if (all.graph.find(String(id)) !== undefined) return all.graph.remove(String(id));
      throw new HmpError(`Device '${String(id)}' not found`, false);
    }),
    complete: names,
  },
];
