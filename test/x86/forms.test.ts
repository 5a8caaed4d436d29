/** Records copied from a form that was met before are what decoding gives (src/x86/runtime/forms.ts). */
import { expect, test } from 'vitest';
import { Decoder, MAX_LENGTH } from '../../src/x86/decode/decode.ts';
import { type FormRuntime, FormStore, formFlags } from '../../src/x86/decode/forms.ts';
import { writeRecord } from '../../src/x86/decode/record.ts';
import { prebuiltHandlers } from '../../src/x86/interpreter/prebuilt.ts';
import { formName } from '../../src/x86/interpreter/handlers.ts';
import { SHARED_MEMORY } from '../../src/x86/engine.ts';
import * as L from '../../src/x86/layout.ts';
import { opcodeTable } from '../../src/x86/table/index.ts';
import { encode, withPrefixes } from './differential/generator.ts';
import { makeProcessor } from './differential/guest.ts';
import { Random } from './differential/random.ts';

const CODE = L.RAM_BASE + 4096;
const COPIED = L.RECORDS;
const DECODED = L.RECORDS + 64;
/** Those that `formFlags` gives. */
const PUBLIC_FLAGS = L.FORM_ENDS | L.FORM_INDIRECT | L.FORM_VECTOR | L.FORM_MMX | L.FORM_LEAVES;
const table = opcodeTable();
const decoder = new Decoder(table, () => true);

interface SetUp {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly forms: FormStore;
  /** How many forms the runtime has kept. */
  readonly count: () => number;
  /** Copies the record of the instruction at `offset`; its length and flags, or undefined if its form is not known. */
  readonly copy: (offset: number) => { readonly length: number; readonly flags: number } | undefined;
}

function setUp(): SetUp {
  const { engine } = makeProcessor(Number.POSITIVE_INFINITY);
  const { buffer } = engine.memory;
  const forms = new FormStore(buffer, engine.runtime as unknown as FormRuntime, table);
  return {
    bytes: new Uint8Array(buffer),
    view: new DataView(buffer),
    forms,
    count: engine.runtime.formCount as unknown as () => number,
    copy: (offset) => {
      const known = forms.write(COPIED, CODE, offset, 1, 0);
      if (((known >>> 16) & 255) === 0) return undefined;
      return { length: (known & 0xffff) - offset, flags: known >>> 24 };
    },
  };
}

test('the record of a known form is the one that decoding writes', () => {
  const { bytes, view, forms, copy } = setUp();
  const random = new Random(5);
  let copied = 0;
  let decoded = 0;
  // a matcher takes longer than all the rest
  const wrong: string[] = [];
  const hex = (at: number, length: number): string =>
    Buffer.from(bytes.slice(at, at + length)).toString('hex');
  for (let round = 0; round < 30; round++)
    for (const def of table.defs) {
      const plain = encode(def, random);
      const encoding = round % 3 === 0 ? withPrefixes(plain, decoder, random) : plain;
      if (encoding === undefined || encoding.bytes.length > MAX_LENGTH) continue;
      // the second time it is known, somewhere else
      for (let time = 0; time < 2; time++) {
        const offset = random.below(4096 - MAX_LENGTH);
        bytes.fill(random.below(256), CODE + offset, CODE + offset + 32);
        bytes.set(encoding.bytes, CODE + offset);
        const insn = decoder.decode(bytes, CODE + offset, CODE + 4096, offset, 2);
        const known = copy(offset);
        if (typeof insn === 'string') {
          if (known !== undefined) wrong.push(`${def.name}: known, but does not decode`);
          continue;
        }
        // what a record does not use keeps what was there
        bytes.copyWithin(DECODED, COPIED, COPIED + L.REC_BYTES);
        const handler = (insn.def.index << 8) | insn.opsize;
        if (known === undefined) {
          writeRecord(view, COPIED, insn, handler, true);
          forms.keep(insn, CODE + offset, COPIED);
          decoded++;
          continue;
        }
        copied++;
        writeRecord(view, DECODED, insn, handler, true);
        const got = [hex(COPIED, L.REC_BYTES), known.length, known.flags & PUBLIC_FLAGS].join(' ');
        const right = [hex(DECODED, L.REC_BYTES), insn.length, formFlags(insn)].join(' ');
        if (got !== right) wrong.push(`${hex(CODE + offset, insn.length)}: ${got}, not ${right}`);
      }
    }
  expect(wrong).toEqual([]);
  expect(copied).toBeGreaterThan(decoded / 2);
}, 60_000);

test('a RIP-relative displacement may need more than 32 bits, counted from the page', () => {
  const { bytes, view, forms, copy } = setUp();
  // mov eax, [rip + disp32]
  for (const [disp, index] of [
    [0x7fff_fff0, L.PLUS_4G],
    [0x1000, L.ZERO],
    [-0x8000_0000, L.ZERO],
    [0x7fff_ff80, L.PLUS_4G],
  ] as const) {
    bytes.set([0x8b, 0x05], CODE + 256);
    view.setInt32(CODE + 258, disp, true);
    if (copy(256) === undefined) {
      const insn = decoder.decode(bytes, CODE + 256, CODE + 4096, 256, 2);
      if (typeof insn === 'string') throw new Error(insn);
      writeRecord(view, COPIED, insn, 1, true);
      forms.keep(insn, CODE + 256, COPIED);
    }
    const carried = index === L.PLUS_4G ? 2 ** 32 : 0;
    expect(view.getUint16(COPIED + L.REC_INDEX, true)).toBe(index);
    expect(view.getInt32(COPIED + L.REC_DISP, true) + carried).toBe(disp + 256 + 6);
  }
});

test('a guest that makes up heads does not fill the memory', () => {
  const { bytes, view, forms, count, copy } = setUp();
  let most = 0;
  let unknown = 0;
  for (let i = 0; i < 80_000; i++) {
    // add [base + index * scale + disp8], register: REX, ModRM and SIB vary
    bytes.set([0x40 | (i & 15), 0x01, 0x44 | ((i >> 1) & 0x38), (i >> 5) & 0xff, i & 0xff], CODE);
    const prefixes = [0x2e, 0x36, 0x3e, 0x26].filter((_, bit) => (i >> (13 + bit)) & 1);
    bytes.copyWithin(CODE + prefixes.length, CODE, CODE + 5);
    bytes.set(prefixes, CODE);
    const insn = decoder.decode(bytes, CODE, CODE + 4096, 0, 2);
    if (typeof insn === 'string') throw new Error(insn);
    if (copy(0) === undefined) {
      writeRecord(view, COPIED, insn, 1, true);
      forms.keep(insn, CODE, COPIED);
    }
    if (copy(0) === undefined) unknown++;
    most = Math.max(most, count());
  }
  expect(unknown).toBe(0);
  expect(most).toBe(L.MAX_FORMS);
  expect(count()).toBeLessThan(L.MAX_FORMS);
});

test('prebuilt handlers cover what compilers use', () => {
  const module = new WebAssembly.Module(prebuiltHandlers(decoder, SHARED_MEMORY) as BufferSource);
  const names = new Set(WebAssembly.Module.exports(module).map(({ name }) => name));
  for (const bytes of [
    [0x48, 0x89, 0xe5], // mov rbp, rsp
    [0x89, 0x45, 0xfc], // mov [rbp-4], eax
    [0x66, 0x83, 0x3f, 0x00], // cmp word [rdi], 0
    [0x0f, 0xb6, 0x06], // movzx eax, byte [rsi]
    [0xf2, 0x0f, 0x58, 0xc1], // addsd xmm0, xmm1
    [0x75, 0xf0], // jne
    [0xc4, 0xe2, 0xf3, 0xf6, 0xc2], // mulx rax, rcx, rdx
  ]) {
    const insn = decoder.decode(Uint8Array.from([...bytes, 0, 0, 0, 0]), 0, 4 + bytes.length, 0, 2);
    if (typeof insn === 'string') throw new Error(insn);
    expect(names, insn.def.name).toContain(formName(insn, true));
  }
}, 60_000);
