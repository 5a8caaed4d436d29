// Protection keys: the keys of pages (bits 59..62 of a leaf entry), PKRU for user pages and IA32_PKRS for supervisor
// pages, RDPKRU and WRPKRU. Fetches of instructions heed no keys. Source: Intel SDM volume 3A, 4.6.2.
import { CR0, CR4, EFER, NEXT, PKRS, PKRU, RAX, RCX, RDX } from '../layout';
import { CR0_WP, CR4_PKE, CR4_PKS, EFER_LMA, VEC_GP, VEC_UD } from './bits';
import { raise } from './exceptions';
import { tlbFlush } from './tlb';
import { endBlock } from './record';

/** What a key forbids: ADi and WDi, as PKRU holds them at 2i and 2i + 1. */
export const KEY_ACCESS: u32 = 1;
export const KEY_WRITE: u32 = 2;

/** Keys that entries of the TLBs were filled by: 2 bits each, as in the registers. */
let userKeys: u32 = 0;
let supervisorKeys: u32 = 0;

/** The TLBs are empty. */
export function forgetKeys(): void {
  userKeys = 0;
  supervisorKeys = 0;
}

/** What the key of a page forbids to data accesses: KEY_*. `user`: the access is one of CPL 3. */
export function forbiddenByKey(leaf: u64, userPage: bool, user: bool): u32 {
  const enabled = userPage ? CR4_PKE : CR4_PKS;
  if ((load<u32>(CR4) & enabled) == 0 || (load<u32>(EFER) & EFER_LMA) == 0) return 0;
  const shift = (((leaf >> 59) as u32) & 15) << 1;
  if (userPage) userKeys |= 3 << shift;
  else supervisorKeys |= 3 << shift;
  const rights = (load<u32>(userPage ? PKRU : PKRS) >> shift) & 3;
  // "If WDi = 1", the supervisor may write nevertheless while CR0.WP = 0.
  return user || (load<u32>(CR0) & CR0_WP) != 0 ? rights : rights & KEY_ACCESS;
}

/** Other rights for user pages. Kernels set them at each switch of tasks, mostly to what they were. */
export function setPkru(value: u32): void {
  const changed = load<u32>(PKRU) ^ value;
  store<u32>(PKRU, value);
  if ((changed & userKeys) != 0) tlbFlush();
}

/** Likewise for supervisor pages; false = reserved bits are set. */
export function setPkrs(value: u64): bool {
  if (value >> 32 != 0) return false;
  const changed = load<u32>(PKRS) ^ (value as u32);
  store<u64>(PKRS, value);
  if ((changed & supervisorKeys) != 0) tlbFlush();
  return true;
}

/** RDPKRU: "ECX must be 0", else #GP; #UD without CR4.PKE. */
export function op_rdpkru(_rec: i32): i32 {
  if ((load<u32>(CR4) & CR4_PKE) == 0) return raise(VEC_UD, -1);
  if (load<u32>(RCX) != 0) return raise(VEC_GP, 0);
  store<u64>(RAX, load<u32>(PKRU));
  store<u64>(RDX, 0);
  return NEXT;
}

/** WRPKRU: ECX and EDX must be 0. Any CPL may do it. */
export function op_wrpkru(rec: i32): i32 {
  if ((load<u32>(CR4) & CR4_PKE) == 0) return raise(VEC_UD, -1);
  if (load<u32>(RCX) != 0 || load<u32>(RDX) != 0) return raise(VEC_GP, 0);
  setPkru(load<u32>(RAX));
  return endBlock(rec);
}
