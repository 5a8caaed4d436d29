// The system half of the runtime in one place: memory, flags, exceptions, and the instructions that need them.
export * from './mmu';
export * from './memory';
export * from './flags';
export * from './exceptions';
export * from './segments';
export * from './segment-ops';
export * from './control';
export * from './far';
export * from './iret';
export * from './frames';
export * from './task';
export * from './debug';
export * from './syscall';
export * from './system';
export * from './msr';
export * from './ports';
export * from './string';
