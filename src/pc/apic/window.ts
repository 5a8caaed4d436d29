/**
 * What answers at FEE00000h: registers of the local APIC of the processor that asks, and behind their page the
 * addresses at which writes are interrupt messages.
 */
import type { AccessSize, IoHandler } from '../../core/bus.ts';
import { PC } from '../info.ts';
import type { LocalApic } from './local.ts';
import type { ApicBus } from './messages.ts';

const PAGE = 0x1000;

/** @param current the local APIC of the processor that runs now */
export function lapicHandler(bus: ApicBus, current: () => LocalApic): IoHandler {
  return {
    read(offset: number, size: AccessSize): number {
      const apic = current();
      const ones = size === 4 ? 0xffffffff : (1 << (size * 8)) - 1;
      // "When in x2APIC mode, the MMIO interface is not available" (SDM, x2APIC mode).
      if (offset >= PAGE || !apic.enabled || apic.x2apic) return ones;
      // Registers are 32 bits wide on 16-byte boundaries; the rest of each is reserved.
      if ((offset & 0x0c) !== 0) return 0;
      const value = apic.readRegister(offset >> 4) >>> ((offset & 3) * 8);
      return (value & ones) >>> 0;
    },
    write(offset: number, size: AccessSize, value: number): void {
      if (offset >= PAGE) {
        if (size === 4) bus.send(PC.lapicAddress + offset, value);
        return;
      }
      const apic = current();
      if (!apic.enabled || apic.x2apic || (offset & 0x0f) !== 0 || size !== 4) return;
      apic.writeRegister(offset >> 4, value);
    },
  };
}
