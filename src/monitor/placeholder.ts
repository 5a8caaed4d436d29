/**
 * What stands where the monitor will be: it takes the keyboard when Ctrl-A C gives it, says what there is instead,
 * and swallows what is typed.
 */
import type { Chardev, CharEvent } from '../chardev/chardev.ts';

const TEXT = [
  '',
  'There is no monitor yet. Ctrl-A C goes back to the console, Ctrl-A X ends the machine, Ctrl-A H lists the keys.',
  '',
].join('\r\n');

/** Attaches the placeholder to a place at a mux; returns the detach. */
export function attachMonitorPlaceholder(chardev: Chardev): () => void {
  const text = new TextEncoder().encode(TEXT);
  // It has the keyboard for a moment before the console is there: that is not the user's doing.
  let first = true;
  return chardev.attach({
    canReceive: () => 4096,
    receive: () => {},
    event: (event: CharEvent) => {
      // A terminal that has no room for the text loses it: it says nothing that the manual does not.
      if (event === 'mux-in' && !first) chardev.write(text);
      if (event === 'mux-out') first = false;
    },
    writable: () => {},
  });
}
