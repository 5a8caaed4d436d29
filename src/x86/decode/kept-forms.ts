/**
 * Forms of instructions (forms.ts) for later runs: their heads and records as bytes, and back. A guest's programs meet some
 * ten thousand of them, each of which takes the decoder as long as fifty instructions that are known. All in a record is
 * the same on each machine but the handler, which goes by its name.
 */
import type { HandlerLibrary } from '../interpreter/handlers.ts';
import * as L from '../layout.ts';

/** Head, and of a form the record and what follows it. */
const HEAD = 8;
const FORM = 40;
const ENTRY = HEAD + FORM;
/** Slots are twice as many as forms; half of these leaves room for what a guest meets anew. */
const MOST = L.MAX_FORMS / 2;
const SLOT_BYTES = 16;
const SLOT_FORM = 8;
/** Where one is handed over: nothing runs meanwhile. */
const PLACE = L.SINGLE;

interface FormRuntime {
  /** See runtime/forms.ts. */
  takeForm(from: number): number;
}

/** Length of the names, names of handlers (JSON), entries with their handlers' numbers among these. */
export function encodeForms(memory: ArrayBufferLike, handlers: HandlerLibrary): Uint8Array {
  const view = new DataView(memory);
  const bytes = new Uint8Array(memory);
  const numbers = new Map<number, number>();
  const names: string[] = [];
  const found: number[] = [];
  for (let slot = 0; slot < L.FORM_SLOT_COUNT && found.length < MOST; slot++) {
    const at = L.FORM_SLOTS + slot * SLOT_BYTES;
    const form = view.getUint32(at + SLOT_FORM, true);
    if (form === 0) continue;
    const index = view.getUint32(form + L.REC_HANDLER, true);
    if (!numbers.has(index)) {
      const name = handlers.prebuiltName(index);
      if (name === undefined) continue;
      numbers.set(index, names.push(name) - 1);
    }
    found.push(at);
  }
  const list = new TextEncoder().encode(JSON.stringify(names));
  const out = new Uint8Array(4 + list.length + found.length * ENTRY);
  const outView = new DataView(out.buffer);
  outView.setUint32(0, list.length, true);
  out.set(list, 4);
  let at = 4 + list.length;
  for (const slot of found) {
    const form = view.getUint32(slot + SLOT_FORM, true);
    out.set(bytes.subarray(slot, slot + HEAD), at);
    out.set(bytes.subarray(form, form + FORM), at + HEAD);
    const number = numbers.get(view.getUint32(form + L.REC_HANDLER, true))!;
    outView.setUint32(at + HEAD + L.REC_HANDLER, number, true);
    at += ENTRY;
  }
  return out;
}

/**
 * Has the runtime know these forms. Those whose handlers are not built ahead are left out.
 * @returns how many it knows now
 * @throws RangeError for bytes that are none
 */
export function decodeForms(
  kept: Uint8Array,
  memory: ArrayBufferLike,
  handlers: HandlerLibrary,
  runtime: FormRuntime,
): number {
  const view = new DataView(kept.buffer, kept.byteOffset, kept.byteLength);
  const first = kept.length < 4 ? Number.POSITIVE_INFINITY : 4 + view.getUint32(0, true);
  if (first > kept.length || (kept.length - first) % ENTRY !== 0)
    throw new RangeError('kept forms end early');
  let names: unknown;
  try {
    names = JSON.parse(new TextDecoder().decode(kept.subarray(4, first)));
  } catch {
    names = undefined;
  }
  if (!Array.isArray(names)) throw new RangeError('kept forms name no handlers');
  const indices = names.map((name: unknown) => handlers.prebuilt(String(name)));
  const bytes = new Uint8Array(memory);
  const words = new DataView(memory);
  let count = 0;
  for (let at = first; at < kept.length && count < MOST; at += ENTRY) {
    const index = indices[view.getUint32(at + HEAD + L.REC_HANDLER, true)];
    // bytes of a head, and FORM_MARK
    if (index === undefined || view.getUint8(at + HEAD - 1) !== L.FORM_MARK) continue;
    bytes.set(kept.subarray(at, at + ENTRY), PLACE);
    words.setUint32(PLACE + HEAD + L.REC_HANDLER, index, true);
    count += runtime.takeForm(PLACE);
  }
  return count;
}
