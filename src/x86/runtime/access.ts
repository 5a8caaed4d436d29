// Guest memory for the interpreter's handlers: the TLB probe in front of the slow paths of memory.ts. Regions have
// the same probe inline.
import { TLB_ADDEND, TLB_BASE, TLB_ENTRIES, TLB_ENTRY_SHIFT, TLB_READ, TLB_WRITE } from '../layout';
import { loadSlow, rmwSlow, storeSlow16, storeSlow32, storeSlow64, storeSlow8 } from './memory';

function entryOf(va: u64): i32 {
  return load<i32>(TLB_BASE) + ((<i32>(va >> 12) & (TLB_ENTRIES - 1)) << TLB_ENTRY_SHIFT);
}

/** Address in this memory of `size` readable bytes at linear `va`, or 0 (exception raised). */
export function readAddress(va: u64, size: i32): i32 {
  const entry = entryOf(va);
  if (load<u64>(entry, TLB_READ) == ((va + <u64>(size - 1)) & ~0xfff))
    return <i32>va + load<i32>(entry, TLB_ADDEND);
  return loadSlow(va, size);
}

/** Address of bytes that may be read and written; BOUNCE when `rmwCommit` must follow; 0 = exception raised. */
export function updateAddress(va: u64, size: i32): i32 {
  const entry = entryOf(va);
  if (load<u64>(entry, TLB_WRITE) == ((va + <u64>(size - 1)) & ~0xfff))
    return <i32>va + load<i32>(entry, TLB_ADDEND);
  return rmwSlow(va, size);
}

export function store8(va: u64, value: i32): i32 {
  const entry = entryOf(va);
  if (load<u64>(entry, TLB_WRITE) != (va & ~0xfff)) return storeSlow8(va, value);
  store<u8>(<i32>va + load<i32>(entry, TLB_ADDEND), <u8>value);
  return 1;
}

export function store16(va: u64, value: i32): i32 {
  const entry = entryOf(va);
  if (load<u64>(entry, TLB_WRITE) != ((va + 1) & ~0xfff)) return storeSlow16(va, value);
  store<u16>(<i32>va + load<i32>(entry, TLB_ADDEND), <u16>value);
  return 1;
}

export function store32(va: u64, value: i32): i32 {
  const entry = entryOf(va);
  if (load<u64>(entry, TLB_WRITE) != ((va + 3) & ~0xfff)) return storeSlow32(va, value);
  store<i32>(<i32>va + load<i32>(entry, TLB_ADDEND), value);
  return 1;
}

export function store64(va: u64, value: i64): i32 {
  const entry = entryOf(va);
  if (load<u64>(entry, TLB_WRITE) != ((va + 7) & ~0xfff)) return storeSlow64(va, value);
  store<i64>(<i32>va + load<i32>(entry, TLB_ADDEND), value);
  return 1;
}
