import { RIP } from '../layout';
export function rip(): u64 {
  return load<u64>(RIP);
}
export * from './softfloat-sse';
export * from './sse-packed';
export * from './system-half';
export * from './x87-arith';
export * from './x87-compare';
export * from './x87-load';
export * from './x87-control';
export * from './xsave';
export * from './x87-math';
export * from './arithmetic';
export * from './dispatch';
export * from './pairs';
export * from './vector-strings';
export * from './crypto';
export * from './forms';
export * from './blocks';
