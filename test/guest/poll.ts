/**
 * Waiting in a guest, for whole-VM tests: a command of its shell that polls until something is so. Any POSIX shell.
 */

/**
 * A command that waits up to `seconds` for the condition, and says `yes` when it came true, or `no`. It looks no more
 * once the condition has held: what is so may not be so a moment later. (udev renames a network card just after its
 * appearance, and a path that the shell has found by its pattern is not there any more.)
 * @param pause seconds between looks
 */
export function pollUntil(condition: string, seconds: number, pause = 0.1): string {
  const looks = Math.ceil(seconds / pause);
  return `seen=no; for i in $(seq ${looks}); do if ${condition}; then seen=yes; break; fi; sleep ${pause}; done; echo $seen`;
}
