/** `info` about things that this machine has one of, or none: for scripts that ask every machine. */
import { deviceSummaries } from '../../machine/registry.ts';
import { deviceListHelp } from '../../qapi/help.ts';
import { dumpProgress } from '../dump/dump.ts';
import { MOUSE_INDEX, MOUSE_NAME } from '../mouse.ts';
import { QmpError } from '../qmp/error.ts';
import type { MonitorTarget } from '../target.ts';
import type { HmpCommand } from './command.ts';

const info = (name: string, help: string, run: (target: MonitorTarget) => string): HmpCommand => ({
  name,
  takes: '',
  synopsis: '',
  help,
  run: (_, target) => run(target),
});

const hex16 = (value: number): string => `0x${value.toString(16).padStart(16, '0')}`;

/** Columns of `info ramblock`. */
const BLOCK_NAME = 24;

export const absentInfo: readonly HmpCommand[] = [
  info('tpm', 'trusted platform modules (there are none)', () => ''),
  info('vnc', 'the VNC server (there is none)', () => 'None\n'),
  info('numa', 'nodes of memory (there is one)', () => '0 nodes\n'),
  info('mice', 'pointing devices', () => `* Mouse #${MOUSE_INDEX}: ${MOUSE_NAME}\n`),
  info('memory-devices', 'RAM that was plugged in (there is none)', () => ''),
  info('migrate', 'a migration under way (there is none)', () => ''),
  info('block-jobs', 'jobs on disks (there are none)', () => 'No active jobs\n'),
  info('spice', 'the SPICE server (there is none)', () => 'Server: disabled\n'),
  info('capture', 'what is recorded of sound (there is none)', () => ''),
  info('replay', 'record and replay (not used)', () => 'Record/replay is not active\n'),
  info('usb', 'devices on USB (there is none)', () => {
    throw new QmpError('USB support not enabled');
  }),
  info(
    'opcount',
    'operations of the translator, counted (they are not)',
    () => '[TCG profiler not compiled]\n',
  ),
  info('profile', 'time that the translator takes (jit has what there is)', () => {
    throw new QmpError('Internal profiler not compiled');
  }),
  info('qdm', 'devices that can be plugged', () => `${deviceListHelp(deviceSummaries())}\n`),
  info('dump', 'how far a dump has come', (target) => {
    const { status, completed, total } = dumpProgress(target);
    const percent = status === 'active' ? `Finished: ${((100 * completed) / total).toFixed(2)} %\n` : '';
    return `Status: ${status}\n${percent}`;
  }),
  info(
    'hotpluggable-cpus',
    'places for processors',
    ({ machine }) =>
      `Hotpluggable CPUs:\n  type: "${machine.config.cpu.model}-x86_64-cpu"\n  vcpus_count: "1"\n` +
      '  qom_path: "/machine/unattached/device[0]"\n  CPUInstance Properties:\n' +
      '    socket-id: "0"\n    core-id: "0"\n    thread-id: "0"\n',
  ),
  info(
    'memdev',
    'what RAM is made of',
    ({ machine }) =>
      `memory backend: pc.ram\n  size:  ${machine.config.memory}\n  merge: true\n  dump: true\n` +
      '  prealloc: false\n  share: false\n  reserve: true\n  policy: default\n  host nodes: \n\n',
  ),
  info('ramblock', 'blocks of RAM', ({ machine }) => {
    const head = `${'Block Name'.padStart(BLOCK_NAME)}    PSize              Offset               Used              Total\n`;
    const size = hex16(machine.config.memory);
    return `${head}${'pc.ram'.padStart(BLOCK_NAME - 2)}    4 KiB  ${hex16(0)} ${size} ${size}\n`;
  }),
];
