/** In words what the runtime reports through host_unsupported (runtime/unsupported.ts). */
import * as U from './runtime/unsupported.ts';

/** A warning for `what` (UNSUPPORTED_*); each thing has one text, so that a tracer can warn once. */
export function describeUnsupported(what: number, detail: number): string {
  const hex = `${(detail >>> 0).toString(16).toUpperCase()}h`;
  switch (what) {
    case U.UNSUPPORTED_TABLE_OUTSIDE_RAM:
      return `page tables outside RAM (physical page ${hex}) read as not present`;
    case U.UNSUPPORTED_MSR:
      return `there is no model-specific register ${hex}, or it does not take this value: #GP`;
    case U.UNSUPPORTED_BREAKPOINT:
      return 'I/O breakpoints of the debug registers have no effect';
    default:
      return `something that is not implemented (${what}, ${hex})`;
  }
}
