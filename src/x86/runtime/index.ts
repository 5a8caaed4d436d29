import { RIP } from '../layout';
export function rip(): u64 {
  return load<u64>(RIP);
}
export * from './softfloat-sse';
export * from './system-half';
