/** A processor's outside with nothing there: no devices, no interrupts, no time. */
import type { CpuBus } from '../../src/x86/cpu.ts';

export const bareBus: CpuBus = {
  readPort: () => 0,
  writePort: () => {},
  readMmio: () => 0,
  writeMmio: () => {},
  acknowledgeInterrupt: () => -1,
  readMsr: () => undefined,
  writeMsr: () => false,
  readCr8: () => 0,
  writeCr8: () => {},
  readTsc: () => 0,
  random: () => 0,
};
