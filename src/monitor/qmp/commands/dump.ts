/** Core dumps of the guest. */
import { dumpMemory, dumpProgress } from '../../dump/dump.ts';
import type { MonitorTarget } from '../../target.ts';
import { command } from '../command.ts';
import { QmpError } from '../error.ts';
import { array, bool, int, object, oneOf, str } from '../types.ts';

const FORMAT = oneOf('elf', 'kdump-zlib', 'kdump-lzo', 'kdump-snappy', 'win-dmp');

export interface DumpArguments {
  readonly paging: boolean;
  readonly protocol: string;
  readonly begin?: number | undefined;
  readonly length?: number | undefined;
  readonly detach?: boolean | undefined;
  readonly format?: string | undefined;
}

export function dump(target: MonitorTarget, given: DumpArguments): Promise<void> {
  const { paging, protocol, begin, length, detach, format = 'elf' } = given;
  if (format !== 'elf' && (paging || begin !== undefined || length !== undefined))
    throw new QmpError("kdump-compressed format doesn't support paging or filter");
  if (begin !== undefined && length === undefined) throw new QmpError("Parameter 'length' is missing");
  if (begin === undefined && length !== undefined) throw new QmpError("Parameter 'begin' is missing");
  if (format !== 'elf') throw new QmpError(`${format} is not available now`);
  if (protocol.startsWith('fd:'))
    throw new QmpError(`File descriptor named '${protocol.slice(3)}' has not been found`);
  if (!protocol.startsWith('file:')) throw new QmpError("Invalid parameter 'protocol'");
  const path = protocol.slice('file:'.length);
  return dumpMemory(target, { path, paging, begin, length, detach: detach === true });
}

export const dumpCommands = [
  command({
    name: 'dump-guest-memory',
    help: 'Writes guest memory and registers to an ELF file that gdb opens',
    arguments: {
      paging: bool,
      protocol: str,
      'detach?': bool,
      'begin?': int,
      'length?': int,
      'format?': FORMAT,
    },
    run: (given, target) => dump(target, given),
  }),
  command({
    name: 'query-dump',
    help: 'How far a dump has come',
    returns: object({ status: oneOf('none', 'active', 'completed', 'failed'), completed: int, total: int }),
    run: (_, target) => ({ ...dumpProgress(target) }),
  }),
  command({
    name: 'query-dump-guest-memory-capability',
    help: 'The formats of dumps',
    returns: object({ formats: array(FORMAT) }),
    run: () => ({ formats: ['elf'] }),
  }),
];
