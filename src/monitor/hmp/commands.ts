/** The commands of the monitor for people, by rooms. */
import type { HmpCommand } from './command.ts';
import { actionCommands } from './actions.ts';
import { blockActions } from './block.ts';
import { chardevActions } from './chardev.ts';
import { blockInfo } from './info-block.ts';
import { deviceInfo } from './info-devices.ts';
import { absentInfo } from './info-absent.ts';
import { interruptInfo } from './info-interrupts.ts';
import { machineInfo } from './info-machine.ts';
import { pagingCommands, pagingInfo } from './info-paging.ts';
import { virtioInfo } from './info-virtio.ts';
import { memoryCommands } from './memory.ts';
import { netActions } from './net.ts';
import { qomActions } from './qom.ts';
import { treeInfo } from './trees.ts';

export const HMP_COMMANDS: readonly HmpCommand[] = [
  ...actionCommands,
  ...blockActions,
  ...chardevActions,
  ...netActions,
  ...qomActions,
  ...memoryCommands,
  ...pagingCommands,
];

export const INFO_COMMANDS: readonly HmpCommand[] = [
  ...machineInfo,
  ...blockInfo,
  ...deviceInfo,
  ...treeInfo,
  ...virtioInfo,
  ...interruptInfo,
  ...pagingInfo,
  ...absentInfo,
];

export function findCommand(commands: readonly HmpCommand[], name: string): HmpCommand | undefined {
  return commands.find((one) => one.name === name || one.aliases?.includes(name) === true);
}
