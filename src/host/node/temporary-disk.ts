/** An empty sparse file in the temporary folder, to be a guest's scratch disk. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';

/** @param size bytes */
export function temporaryDisk(size: number): { readonly path: string; remove(): void } {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'paravane-'));
  const file = path.join(folder, 'scratch.raw');
  fs.writeFileSync(file, '');
  fs.truncateSync(file, size);
  return { path: file, remove: () => fs.rmSync(folder, { recursive: true, force: true }) };
}
