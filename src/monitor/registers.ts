/** The processor's registers by name, read from its dump: what `print $rip` and virtual addresses need. */
import type { MonitorTarget } from './target.ts';

export function readRegisters({ board }: MonitorTarget): ReadonlyMap<string, bigint> {
  const registers = new Map<string, bigint>();
  const text = board.cpu.describeRegisters();
  // `RAX=0000000000000000`, `CR0=60000010`; segments are `CS =f000 BASE LIMIT FLAGS`.
  for (const [, name, digits] of text.matchAll(/\b([A-Z][A-Z0-9]*) *=([0-9a-f]+)/g))
    registers.set(name!.toLowerCase(), BigInt(`0x${digits}`));
  // Outside 64-bit code the dump has the lower halves only, by their names.
  const flags = registers.get('rfl') ?? registers.get('efl');
  if (flags !== undefined) registers.set('eflags', flags).set('rflags', flags);
  const rip = registers.get('rip') ?? registers.get('eip');
  // The place in memory, whatever the code segment starts at: for `x/i $pc`.
  const base = BigInt(`0x${/^CS *=[0-9a-f]{4} ([0-9a-f]+)/m.exec(text)?.[1] ?? '0'}`);
  if (rip !== undefined)
    registers
      .set('pc', base + rip)
      .set('eip', rip)
      .set('rip', rip);
  for (const name of ['ax', 'bx', 'cx', 'dx', 'si', 'di', 'bp', 'sp']) {
    const value = registers.get(`r${name}`) ?? registers.get(`e${name}`);
    if (value !== undefined) registers.set(`e${name}`, value & 0xffffffffn).set(`r${name}`, value);
  }
  return registers;
}

/** The same, and what is behind the segment registers: `cs_base`, `cs_limit`, `cs_flags`, … for a core dump. */
export function readSegments(target: MonitorTarget): ReadonlyMap<string, bigint> {
  const registers = new Map(readRegisters(target));
  const text = target.board.cpu.describeRegisters();
  const number = (digits: string | undefined): bigint => BigInt(`0x${digits ?? '0'}`);
  for (const [, name, base, limit, flags] of text.matchAll(
    /^(\w+) *=[0-9a-f]{4} ([0-9a-f]+) ([0-9a-f]+) ([0-9a-f]+)/gm,
  )) {
    const lower = name!.toLowerCase();
    registers.set(`${lower}_base`, number(base));
    registers.set(`${lower}_limit`, number(limit));
    registers.set(`${lower}_flags`, number(flags));
  }
  for (const [, name, base, limit] of text.matchAll(/^(GDT|IDT)= +([0-9a-f]+) ([0-9a-f]+)/gm)) {
    registers.set(`${name!.toLowerCase()}_base`, number(base));
    registers.set(`${name!.toLowerCase()}_limit`, number(limit));
  }
  return registers;
}
