// A paging-structure cache (SDM 3A 4.10.3): the page tables that walks have come to lately.

/**
 * 64 entries by va >> 21, of u64 (va >> 21) + 1 and u64 address of the table | what the levels above allow
 * (DIRECTORY_*).
 */
const DIRECTORY: i32 = memory.data(1024, 8) as i32;
export const DIRECTORY_USER: u64 = 1;
export const DIRECTORY_WRITE: u64 = 2;
export const DIRECTORY_NX: u64 = 4;

function slotOf(va: u64): i32 {
  return DIRECTORY + (((va >> 21) as i32) & 63) * 16;
}

/** What is remembered for `va`; 0 if nothing is. */
export function directoryOf(va: u64): u64 {
  const slot = slotOf(va);
  return load<u64>(slot) == (va >> 21) + 1 ? load<u64>(slot, 8) : 0;
}

export function rememberDirectory(va: u64, directory: u64): void {
  const slot = slotOf(va);
  store<u64>(slot, (va >> 21) + 1);
  store<u64>(slot, directory, 8);
}

export function forgetDirectory(va: u64): void {
  store<u64>(slotOf(va), 0);
}

export function forgetDirectories(): void {
  memory.fill(DIRECTORY, 0, 1024);
}
