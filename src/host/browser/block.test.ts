import { expect, it } from 'vitest';
import { openBlock } from '../../block/open.ts';
import { browserBlockHost } from './block.ts';

const bytes = Uint8Array.from({ length: 10_000 }, (_, i) => i & 0xff);
const host = (warnings: string[] = []) =>
  browserBlockHost(
    new Map<string, Uint8Array | Blob>([
      ['blob', new Blob([bytes])],
      ['array', bytes.slice()],
    ]),
    (message) => warnings.push(message),
  );

it('reads a Blob as it is needed, and keeps writes beside it', async () => {
  await expect(openBlock({ file: 'blob', format: 'raw' }, host())).rejects.toThrow('snapshot=on');
  const disk = await openBlock({ file: 'blob', format: 'raw', snapshot: true }, host());
  expect(disk.size).toBe(10_240);
  await disk.write(512, [new Uint8Array(100).fill(7), new Uint8Array(412).fill(8)]);
  const back = new Uint8Array(2048);
  await disk.read(0, [back.subarray(0, 700), back.subarray(700)]);
  expect(back.subarray(0, 512)).toEqual(bytes.subarray(0, 512));
  expect([back[512], back[612], back[1024]]).toEqual([7, 8, bytes[1024]]);
  const end = new Uint8Array(512);
  await disk.read(10_240 - 512, [end]);
  expect(end[511]).toBe(0);
  await disk.close();
});

it('writes into an array, and cannot grow it', async () => {
  const disk = await openBlock({ file: 'array', format: 'raw' }, host());
  await disk.write(0, [new Uint8Array(512).fill(3)]);
  const back = new Uint8Array(512);
  await disk.read(0, [back]);
  expect(back[511]).toBe(3);
  expect(() => disk.write(10_240 - 512, [new Uint8Array(512)])).toThrow(
    expect.objectContaining({ code: 'ENOSPC' }),
  );
});

it('says what is missing, and that there is no way past the cache', async () => {
  await expect(openBlock({ file: 'nothing', format: 'raw' }, host())).rejects.toThrow(
    "Could not open 'nothing': No such file or directory",
  );
  const warnings: string[] = [];
  await openBlock({ file: 'array', format: 'raw', cache: 'none' }, host(warnings));
  expect(warnings[0]).toContain('O_DIRECT');
});
