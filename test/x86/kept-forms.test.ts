/** Forms of instructions that one processor has met and another knows from the start. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Decoder } from '../../src/x86/decode/decode.ts';
import { encodeForms } from '../../src/x86/decode/kept-forms.ts';
import * as L from '../../src/x86/layout.ts';
import { makeProcessor } from './differential/guest.ts';
import { CODE, enterLongMode } from './long-mode.ts';
import { MemoryStore } from './memory-store.ts';

/** RAX = 5; RAX += RAX * 4 by LEA; [20000h] = EAX; CMP and JNE over UD2; RBX from memory and RCX shifted; HLT. */
const PROGRAM = [
  ...[0x48, 0xc7, 0xc0, 5, 0, 0, 0],
  ...[0x48, 0x8d, 0x04, 0x80],
  ...[0x89, 0x04, 0x25, 0, 0, 2, 0],
  ...[0x83, 0xf8, 25, 0x74, 0x02, 0x0f, 0x0b],
  ...[0x48, 0x8b, 0x1c, 0x25, 0, 0, 2, 0],
  ...[0x48, 0x89, 0xd9, 0x48, 0xc1, 0xe1, 0x03],
  0xf4,
];

class FormStore extends MemoryStore {
  tell: (() => Uint8Array) | undefined;
  readonly kept: Uint8Array | undefined;

  constructor(kept?: Uint8Array) {
    super();
    this.kept = kept;
  }

  forms(): Uint8Array | undefined {
    return this.kept;
  }

  keepForms(tell: () => Uint8Array): void {
    this.tell = tell;
  }
}

function machine(kept?: Uint8Array) {
  const store = new FormStore(kept);
  const cpu = makeProcessor(Number.POSITIVE_INFINITY, {}, { store });
  cpu.guestMemory.write(CODE, Uint8Array.from(PROGRAM));
  enterLongMode(cpu);
  const count = (): number => (cpu.engine.runtime.formCount as unknown as () => number)();
  const view = new DataView(cpu.engine.memory.buffer);
  const registers = (): bigint[] =>
    Array.from({ length: 4 }, (_, i) => view.getBigUint64(L.GPR + 8 * i, true));
  return { cpu, store, count, registers };
}

afterEach(() => void vi.restoreAllMocks());

describe('forms', () => {
  it('are known from the start where they were met before', () => {
    const first = machine();
    expect(first.count()).toBe(0);
    expect(first.cpu.run(1000)).toBe('halted');
    const met = first.count();
    expect(met).toBeGreaterThan(6);
    const kept = first.store.tell!();

    const second = machine(kept);
    expect(second.count()).toBe(met);
    const decode = vi.spyOn(Decoder.prototype, 'decode');
    expect(second.cpu.run(1000)).toBe('halted');
    expect(decode).not.toHaveBeenCalled();
    expect(second.registers()).toEqual(first.registers());
    expect(first.registers()).toEqual([25n, 200n, 0n, 25n]);
    expect(second.store.tell!()).toEqual(kept);
  });

  it('are met anew where what was kept is damaged', () => {
    const first = machine();
    first.cpu.run(1000);
    const kept = first.store.tell!();
    for (let length = 0; length < kept.length; length += 61) {
      const second = machine(kept.subarray(0, length));
      expect(second.cpu.run(1000)).toBe('halted');
      expect(second.registers()).toEqual(first.registers());
    }
  });

  it('are left out where there is no such handler', () => {
    const first = machine();
    first.cpu.run(1000);
    const kept = first.store.tell!().slice();
    const text = new TextDecoder('latin1').decode(kept);
    // another number, as long
    const name = /"(\d+)\.(\d+)"/.exec(text)!;
    for (let i = 0; i < name[1]!.length; i++) kept[name.index + 1 + i] = 0x39;
    const second = machine(kept);
    expect(second.count()).toBeLessThan(first.count());
    expect(second.cpu.run(1000)).toBe('halted');
    expect(second.registers()).toEqual(first.registers());
    expect(encodeForms(second.cpu.engine.memory.buffer, second.cpu.handlers).length).toBe(kept.length);
  });
});
