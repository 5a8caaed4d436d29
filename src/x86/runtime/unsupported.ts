// What the processor does not implement, by number: the argument of host_unsupported, so that JavaScript can warn
// once by name. Plain constants, read by TypeScript too.

/** Page tables outside RAM; detail = physical page number. */
export const UNSUPPORTED_TABLE_OUTSIDE_RAM = 3;
/** WRMSR or RDMSR of an MSR that does not exist; detail = index. */
export const UNSUPPORTED_MSR = 4;
/** DR7 enables an I/O breakpoint; detail = DR7. */
export const UNSUPPORTED_BREAKPOINT = 5;
