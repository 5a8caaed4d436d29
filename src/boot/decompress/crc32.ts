/** CRC-32 as gzip, xz and zip use it (IEEE 802.3, reflected; RFC 1952 §8). */

let crcTable: Uint32Array | undefined;

/** CRC-32 (IEEE 802.3) of data[start, end). */
export function crc32(data: Uint8Array, start = 0, end = data.length): number {
  if (crcTable === undefined) {
    // Four tables: four bytes a step.
    crcTable = new Uint32Array(1024);
    for (let i = 0; i < 256; i++) {
      let value = i;
      for (let bit = 0; bit < 8; bit++) value = (value & 1) !== 0 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
      crcTable[i] = value;
    }
    for (let i = 256; i < 1024; i++)
      crcTable[i] = (crcTable[i - 256]! >>> 8) ^ crcTable[crcTable[i - 256]! & 255]!;
  }
  const table = crcTable;
  let crc = -1;
  let at = start;
  for (; at + 4 <= end; at += 4) {
    crc ^= data[at]! | (data[at + 1]! << 8) | (data[at + 2]! << 16) | (data[at + 3]! << 24);
    crc =
      table[768 + (crc & 255)]! ^
      table[512 + ((crc >>> 8) & 255)]! ^
      table[256 + ((crc >>> 16) & 255)]! ^
      table[crc >>> 24]!;
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ table[(crc ^ data[at]!) & 255]!;
  return ~crc >>> 0;
}
