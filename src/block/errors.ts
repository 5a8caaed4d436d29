/** Failures of block input and output, with the host's errno name for the device to answer with. */
import { ParavaneError } from '../core/errors.ts';
import type { BlockError } from './backend.ts';

/** `code` is an errno name: `EIO`, `ENOSPC`, `EROFS`, `EPERM`, `EINVAL`, … */
export class BlockIoError extends ParavaneError implements BlockError {
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(code, message, options);
  }
}

/** Any host failure as a `BlockIoError`: errors that carry an errno name keep it, others become EIO. */
export function toBlockError(error: unknown, what: string): BlockIoError {
  if (error instanceof BlockIoError) return error;
  const code = (error as { code?: unknown } | undefined)?.code;
  const name = typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? code : 'EIO';
  const message = error instanceof Error ? error.message : String(error);
  return new BlockIoError(name, `${what}: ${message}`, { cause: error });
}
