/** What monitors need of Node: files to save memory to, and the number of the thread. */
import { open, writeFile } from 'node:fs/promises';
import process from 'node:process';
import { hostError } from './errors.ts';

export const monitorHost = {
  /** Writes a file; the error is QEMU's: `Could not open 'PATH': REASON`. */
  async writeFile(path: string, data: Uint8Array): Promise<void> {
    try {
      await writeFile(path, data);
    } catch (error) {
      throw hostError(`Could not open '${path}'`, error);
    }
  },
  /** Opens a file for writing, piece by piece. */
  async createFile(path: string) {
    try {
      const file = await open(path, 'w');
      return {
        async write(data: Uint8Array): Promise<void> {
          for (let done = 0; done < data.length; )
            done += (await file.write(data, done, data.length - done)).bytesWritten;
        },
        close: () => file.close(),
      };
    } catch (error) {
      throw hostError(`Could not open '${path}'`, error);
    }
  },
  /** The processor runs on the main thread, whose number is the process's. */
  threadId: process.pid,
};
