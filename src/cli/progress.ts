/** One line that says what takes so long: shown after half a second on a terminal, nothing in a pipe. */
import type { CliProcess } from '../host/node/cli-process.ts';

/** Work that is faster than this needs no explanation. */
const PATIENCE_MS = 500;

export interface ProgressLine {
  readonly say: (text: string) => void;
  /** Wipes the line. */
  readonly end: () => void;
}

export function progressLine(process: CliProcess): ProgressLine {
  if (!process.stderrIsTerminal) return { say: () => {}, end: () => {} };
  let text = '';
  let shown = false;
  const show = (): void => {
    shown = true;
    process.stderr(`\r\u001b[K${text.slice(0, process.columns() - 1)}`);
  };
  let timer: ReturnType<typeof setTimeout> | undefined;
  return {
    say: (next) => {
      text = next;
      if (shown) show();
      else timer ??= setTimeout(show, PATIENCE_MS);
    },
    end: () => {
      clearTimeout(timer);
      if (shown) process.stderr('\r\u001b[K');
      shown = false;
    },
  };
}
