/** Errors as QMP gives them: a class for programs, a description for people. */
import { HostError, UsageError } from '../../core/errors.ts';

export type QmpErrorClass =
  | 'GenericError'
  | 'CommandNotFound'
  | 'DeviceNotActive'
  | 'DeviceNotFound'
  | 'KVMMissingCap';

export class QmpError extends Error {
  readonly errorClass: QmpErrorClass;

  constructor(desc: string, errorClass: QmpErrorClass = 'GenericError') {
    super(desc);
    this.errorClass = errorClass;
  }
}

export const deviceNotFound = (id: string): QmpError =>
  new QmpError(`Device '${id}' not found`, 'DeviceNotFound');

/**
 * Any failure as a `QmpError`: what the user or the host got wrong keeps its words but for our hints in brackets and
 * further lines, which QEMU has not. A bug of ours is none of these and stays what it is.
 */
export function asQmpError(error: unknown): QmpError | undefined {
  if (error instanceof QmpError) return error;
  if (!(error instanceof UsageError || error instanceof HostError)) return undefined;
  // Where it comes from is known to who asked.
  const [line = ''] = error.message.split('\n');
  const first = line.replace(/^(device_add|netdev_add|object-add|drive_add): /, '');
  return new QmpError(
    first.replace(/ \((did you mean|defined: |none is defined|there is: |add -device)[^)]*\)$/, ''),
  );
}
