/**
 * The bytes of battery-backed memory that firmware reads on a QEMU PC: memory sizes, number of processors, boot order.
 * Their places are those of the IBM AT and of SeaBIOS.
 */
import type { GuestMemory } from '../core/memory.ts';
import type { Rtc } from './rtc.ts';

const EQUIPMENT = 0x14;
const BASE_MEMORY = 0x15;
const EXTENDED_MEMORY = 0x17;
const EXTENDED_MEMORY_POST = 0x30;
const ABOVE_16M = 0x34;
const BOOT_ORDER_3 = 0x38;
const BOOT_ORDER_12 = 0x3d;
const ABOVE_4G = 0x5b;
const PROCESSORS = 0x5f;

/** Coprocessor and keyboard present. */
const EQUIPMENT_VALUE = 0x06;
const KIB = 1024;
const MIB = 1024 * KIB;

export function fillCmos(rtc: Rtc, memory: GuestMemory, processors: number): void {
  const word = (at: number, value: number): void => {
    rtc.setCmos(at, value & 0xff);
    rtc.setCmos(at + 1, (value >> 8) & 0xff);
  };
  let below = 0;
  let above = 0;
  for (const { gpa, size } of memory.regions) {
    if (gpa >= 2 ** 32) above += size;
    else below = Math.max(below, gpa + size);
  }
  word(BASE_MEMORY, 640);
  const extended = Math.min(Math.max(0, below - MIB) / KIB, 65535);
  word(EXTENDED_MEMORY, extended);
  word(EXTENDED_MEMORY_POST, extended);
  word(ABOVE_16M, Math.min(Math.max(0, below - 16 * MIB) / (64 * KIB), 65535));
  const chunks = above / (64 * KIB);
  word(ABOVE_4G, chunks & 0xffff);
  rtc.setCmos(ABOVE_4G + 2, (chunks >> 16) & 0xff);
  rtc.setCmos(PROCESSORS, processors - 1);
  rtc.setCmos(EQUIPMENT, EQUIPMENT_VALUE);
  setBootOrder(rtc, 'cad');
}

/** `-boot order=`: up to three of a (floppy), c (disk), d (CD-ROM), n (network). */
export function setBootOrder(rtc: Rtc, order: string): void {
  const code = (letter: string | undefined): number => {
    const index = ['a', 'c', 'd', 'n'].indexOf(letter ?? '');
    return index < 0 ? 0 : index + 1;
  };
  rtc.setCmos(BOOT_ORDER_12, code(order[0]) | (code(order[1]) << 4));
  rtc.setCmos(BOOT_ORDER_3, code(order[2]) << 4);
}
