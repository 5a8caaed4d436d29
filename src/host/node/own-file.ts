/**
 * Files that the program keeps for its later runs. What they hold is trusted, so they must be the user's own; and whoever
 * reads one while another process puts a new one in its place has the old or the new one, whole.
 */
import * as fs from 'node:fs';

/** Whether the file that this tells of is the user's own; yes on systems where nobody can say. */
export function isOwn({ uid }: { readonly uid: number }): boolean {
  return process.getuid === undefined || uid === process.getuid();
}

/**
 * Makes a file that only its user may read, or puts one in the place of another. After a failure all is as it was.
 * @param write to this descriptor
 * @throws what `write` throws; Error when it cannot be made
 */
export function replaceFile(path: string, write: (fd: number) => void): void {
  const fresh = `${path}.${process.pid}`;
  const fd = fs.openSync(fresh, 'w', 0o600);
  try {
    write(fd);
    fs.renameSync(fresh, path);
  } catch (error) {
    fs.rmSync(fresh, { force: true });
    throw error;
  } finally {
    fs.closeSync(fd);
  }
}
