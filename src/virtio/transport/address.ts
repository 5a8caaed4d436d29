/** 64-bit guest addresses that drivers write as two 32-bit halves; kept as numbers, exact for all that can be RAM. */

export const low32 = (address: number): number => address % 2 ** 32;
export const high32 = (address: number): number => Math.floor(address / 2 ** 32);
export const withLow32 = (address: number, value: number): number => address - low32(address) + (value >>> 0);
export const withHigh32 = (address: number, value: number): number =>
  low32(address) + (value >>> 0) * 2 ** 32;
