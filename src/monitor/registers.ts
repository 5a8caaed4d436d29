/** The processor's registers by name, read from its dump: what `print $rip` and virtual addresses need. */
import type { MonitorTarget } from './target.ts';

export function readRegisters({ board }: MonitorTarget): ReadonlyMap<string, bigint> {
  const registers = new Map<string, bigint>();
  // `RAX=0000000000000000`, `CR0=60000010`; segments are `CS =f000 BASE LIMIT FLAGS`.
  for (const [, name, digits] of board.cpu.describeRegisters().matchAll(/\b([A-Z][A-Z0-9]*) *=([0-9a-f]+)/g))
    registers.set(name!.toLowerCase(), BigInt(`0x${digits}`));
  const flags = registers.get('rfl');
  if (flags !== undefined) registers.set('eflags', flags);
  const rip = registers.get('rip');
  if (rip !== undefined) registers.set('pc', rip).set('eip', rip);
  for (const name of ['ax', 'bx', 'cx', 'dx', 'si', 'di', 'bp', 'sp']) {
    const value = registers.get(`r${name}`);
    if (value !== undefined) registers.set(`e${name}`, value & 0xffffffffn);
  }
  return registers;
}
