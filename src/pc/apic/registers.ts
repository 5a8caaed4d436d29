/**
 * Registers and bits of the local APIC, by their index: offset / 16 in the xAPIC page, MSR 800h + index in x2APIC
 * mode. Intel SDM volume 3, chapter "Advanced Programmable Interrupt Controller", tables of the register map.
 */

export const APIC_ID = 0x02;
export const APIC_VERSION = 0x03;
export const APIC_TPR = 0x08;
export const APIC_APR = 0x09;
export const APIC_PPR = 0x0a;
export const APIC_EOI = 0x0b;
export const APIC_LDR = 0x0d;
export const APIC_DFR = 0x0e;
export const APIC_SVR = 0x0f;
export const APIC_ISR = 0x10;
export const APIC_TMR = 0x18;
export const APIC_IRR = 0x20;
export const APIC_ESR = 0x28;
export const APIC_ICR_LOW = 0x30;
export const APIC_ICR_HIGH = 0x31;
export const APIC_LVT_TIMER = 0x32;
export const APIC_LVT_THERMAL = 0x33;
export const APIC_LVT_PERFORMANCE = 0x34;
export const APIC_LVT_LINT0 = 0x35;
export const APIC_LVT_LINT1 = 0x36;
export const APIC_LVT_ERROR = 0x37;
export const APIC_INITIAL_COUNT = 0x38;
export const APIC_CURRENT_COUNT = 0x39;
export const APIC_DIVIDE = 0x3e;
export const APIC_SELF_IPI = 0x3f;

/** Version 14h with six LVT entries (timer, thermal, performance, LINT0, LINT1, error), as QEMU's. */
export const APIC_VERSION_VALUE = 0x0005_0014;

export const SVR_ENABLE = 0x100;
export const SVR_WRITABLE = 0x1ff;

export const LVT_PENDING = 0x1000;
export const LVT_REMOTE_IRR = 0x4000;
export const LVT_LEVEL = 0x8000;
export const LVT_MASKED = 0x10000;
export const LVT_TIMER_MODE = 0x60000;
export const TIMER_ONE_SHOT = 0;
export const TIMER_PERIODIC = 0x20000;
export const TIMER_TSC_DEADLINE = 0x40000;

/** Bits that software may write, by LVT entry from the timer on. */
export const LVT_WRITABLE: readonly number[] = [0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff];

export const ESR_SEND_ILLEGAL_VECTOR = 0x20;
export const ESR_RECEIVE_ILLEGAL_VECTOR = 0x40;
export const ESR_ILLEGAL_REGISTER = 0x80;

/** Interrupt command register, low half. */
export const ICR_LOGICAL = 0x800;
export const ICR_PENDING = 0x1000;
export const ICR_ASSERT = 0x4000;
export const ICR_LEVEL = 0x8000;

export const MSR_APIC_BASE = 0x1b;
export const MSR_TSC_DEADLINE = 0x6e0;
export const MSR_X2APIC_FIRST = 0x800;
export const MSR_X2APIC_LAST = 0x8ff;
export const BASE_BSP = 0x100;
export const BASE_EXTD = 0x400;
export const BASE_ENABLE = 0x800;
