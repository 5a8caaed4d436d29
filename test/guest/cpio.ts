/** A cpio archive (newc, cpio(5)) as Linux takes it behind an initramfs: files that tests add to a guest. */

export interface CpioFile {
  readonly name: string;
  /** Type and permissions, as in `st_mode`. */
  readonly mode: number;
  readonly data: Uint8Array;
}

export function cpio(files: readonly CpioFile[]): Buffer {
  const parts = files.map((file, i) => entry(file, i + 1));
  return Buffer.concat([...parts, entry({ name: 'TRAILER!!!', mode: 0, data: new Uint8Array() }, 0)]);
}

const padding = (length: number): Buffer => Buffer.alloc(-length & 3);

function entry({ name, mode, data }: CpioFile, inode: number): Buffer {
  const links = inode === 0 ? 0 : 1;
  const fields = [inode, mode, 0, 0, links, 0, data.length, 0, 0, 0, 0, name.length + 1, 0];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${name}\0`;
  return Buffer.concat([Buffer.from(header, 'latin1'), padding(header.length), data, padding(data.length)]);
}
