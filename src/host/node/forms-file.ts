/**
 * Forms of instructions in a file beside the translations (translations.ts), written anew when the program ends if it has
 * met a good many more. What is damaged is as good as not there.
 */
import * as fs from 'node:fs';
import { fnv1a } from '../../core/fnv.ts';
import type { FormKeeper } from '../../core/translation-store.ts';
import { isOwn, replaceFile } from './own-file.ts';

/** A checksum stands in front, 4 bytes. */
const HEADER = 4;
/** The most that forms take: 32,768 of 48 bytes, and the names of their handlers. */
const MAX_FILE = 4 << 20;
/** A file is written anew when it grows by one part in so many. */
const WORTH = 32;

export function formsFile(path: string): Required<FormKeeper> {
  let known = 0;
  return {
    forms: () => {
      const whole = read(path);
      if (whole === undefined || whole.length < HEADER) return undefined;
      const forms = whole.subarray(HEADER);
      if (whole.readInt32LE(0) !== fnv1a(forms)) return undefined;
      known = forms.length;
      return forms;
    },
    keepForms: (tell) => {
      process.on('exit', () => {
        const forms = tell();
        if (forms.length - known <= known / WORTH || forms.length + HEADER > MAX_FILE) return;
        const whole = Buffer.alloc(HEADER + forms.length);
        whole.writeInt32LE(fnv1a(forms), 0);
        whole.set(forms, HEADER);
        try {
          replaceFile(path, (fd) => fs.writeFileSync(fd, whole));
        } catch {
          // no room: the next run meets them again
        }
      });
    },
  };
}

/** The file, if it is the user's own. */
function read(path: string): Buffer | undefined {
  try {
    const fd = fs.openSync(path, 'r');
    try {
      const stat = fs.fstatSync(fd);
      return stat.size > MAX_FILE || !isOwn(stat) ? undefined : fs.readFileSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  } catch {
    return undefined;
  }
}
