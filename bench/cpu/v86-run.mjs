// Runs one guest under v86, as a process of its own: node v86-run.mjs FOLDER_OF_V86 BIOS VGABIOS KERNEL INITRD MIB APPEND.
// What the guest writes to its serial line goes to stdout; whoever started this ends it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, bios, vgaBios, kernel, initrd, mebibytes, cmdline] = process.argv.slice(2);
const build = join(folder, 'node_modules/v86/build');
const { V86 } = await import(pathToFileURL(join(build, 'libv86.mjs')).href);

/** v86 takes an ArrayBuffer of exactly the file's bytes. */
function image(path) {
  const data = readFileSync(path);
  return { buffer: data.buffer.slice(data.byteOffset, data.byteOffset + data.length) };
}

const emulator = new V86({
  wasm_path: join(build, 'v86.wasm'),
  memory_size: Number(mebibytes) * 1024 * 1024,
  vga_memory_size: 8 * 1024 * 1024,
  bios: image(bios),
  vga_bios: image(vgaBios),
  bzimage: image(kernel),
  initrd: image(initrd),
  cmdline,
  disable_keyboard: true,
  disable_mouse: true,
  disable_speaker: true,
  autostart: true,
});

let pending = [];
emulator.add_listener('serial0-output-byte', (byte) => {
  pending.push(byte);
  if (byte !== 10) return;
  process.stdout.write(Buffer.from(pending));
  pending = [];
});
