/** `info pic`, `info lapic` and `info irq`: the interrupt controllers as QEMU prints them. */
import type { IoApicState } from '../../pc/apic/io.ts';
import type { LocalApic } from '../../pc/apic/local.ts';
import type { PicState } from '../../pc/pic.ts';
import type { MonitorTarget } from '../target.ts';
import type { HmpCommand } from './command.ts';

const PINS = 24;
const hex = (value: number, digits: number): string => (value >>> 0).toString(16).padStart(digits, '0');

const DELIVERY = ['fixed', 'lowest', 'SMI', '...', 'NMI', 'INIT', '...', 'extINT'];
const LVT_DELIVERY = ['Fixed', '...', 'SMI', '...', 'NMI', 'INIT', '...', 'ExtINT'];
/** Bits of a redirection entry and of a local vector table entry (Intel SDM volume 3; 82093AA §3.2.4). */
const DELIVERY_SHIFT = 8;
const LOGICAL = 1 << 11;
const PENDING = 1 << 12;
const ACTIVE_LOW = 1 << 13;
const REMOTE_IRR = 1 << 14;
const LEVEL = 1 << 15;
const MASKED = 1 << 16;
const TIMER_MODE_SHIFT = 17;

function pinText(state: IoApicState, pin: number): string {
  const low = state.low[pin]!;
  const high = state.high[pin]!;
  const vector = low & 0xff;
  const mode = (low >> DELIVERY_SHIFT) & 7;
  return (
    `  pin ${String(pin).padEnd(2)} 0x${hex(high, 8)}${hex(low, 8)} dest=${(high >>> 24).toString(16).toUpperCase()} ` +
    `vec=${String(vector).padEnd(3)} ${(low & ACTIVE_LOW) === 0 ? 'active-hi' : 'active-lo'} ` +
    `${(low & LEVEL) === 0 ? 'edge ' : 'level'} ${(low & MASKED) === 0 ? '      ' : 'masked'} ` +
    `${DELIVERY[mode]!.padEnd(6)} ${(low & LOGICAL) === 0 ? 'physical' : 'logical'}\n`
  );
}

function bitNames(bits: number): string {
  const set = Array.from({ length: PINS }, (_, pin) => pin).filter((pin) => ((bits >> pin) & 1) !== 0);
  return set.length === 0 ? '(none)' : `${set.join(' ')} `;
}

function ioapicText(state: IoApicState): string {
  let remote = 0;
  for (let pin = 0; pin < PINS; pin++) if ((state.low[pin]! & REMOTE_IRR) !== 0) remote |= 1 << pin;
  const select = state.select >= 0x10 && state.select < 0x40 ? ` (redir[${(state.select - 0x10) >> 1}])` : '';
  return (
    `ioapic0: ver=0x20 id=0x${hex(state.id, 2)} sel=0x${hex(state.select, 2)}${select}\n` +
    Array.from({ length: PINS }, (_, pin) => pinText(state, pin)).join('') +
    `  IRR      ${bitNames(state.irr)}\n  Remote IRR ${bitNames(remote)}\n`
  );
}

const picText = (name: string, s: PicState): string =>
  `${name}: irr=${hex(s.irr, 2)} imr=${hex(s.imr, 2)} isr=${hex(s.isr, 2)} hprio=${s.priorityBase} ` +
  `irq_base=${hex(s.vectorBase, 2)} rr_sel=${s.readIsr ? 1 : 0} elcr=${hex(s.elcr, 2)} fnm=${s.specialFullyNested ? 1 : 0}\n`;

const TIMER_MODES = ['one-shot', 'periodic', 'tsc-deadline', '...'];

function lvtText(name: string, lvt: number, timer: boolean): string {
  const mode = (lvt >> DELIVERY_SHIFT) & 7;
  const delivery = LVT_DELIVERY[mode]!;
  const vector =
    delivery === 'NMI' || delivery === 'INIT' || delivery === 'SMI' ? '' : ` (vec ${lvt & 0xff})`;
  return (
    `${name}\t 0x${hex(lvt, 8)} ${(lvt & ACTIVE_LOW) === 0 ? 'active-hi' : 'active-lo'} ` +
    `${(lvt & LEVEL) === 0 ? 'edge ' : 'level'} ${(lvt & MASKED) === 0 ? '      ' : 'masked'} ` +
    `${(lvt & PENDING) === 0 ? '       ' : 'pending'} ` +
    `${(timer ? TIMER_MODES[(lvt >> TIMER_MODE_SHIFT) & 3]! : '').padEnd(12)} ${delivery.padEnd(6)}${vector}\n`
  );
}

/** Numbers of the vectors that are set in an interrupt register of eight words, from the highest down. */
function vectors(bits: Uint32Array, levels?: Uint32Array): string {
  let text = '';
  for (let vector = 255; vector >= 0; vector--)
    if (((bits[vector >> 5]! >>> (vector & 31)) & 1) !== 0) {
      const level = levels !== undefined && ((levels[vector >> 5]! >>> (vector & 31)) & 1) !== 0;
      text += `${vector}${level ? '(level)' : ''} `;
    }
  return text === '' ? '(none)' : text;
}

const SHORTHANDS = ['no-shorthand', 'self', 'all-self', 'all'];
/** Divisors by the three bits of the divide register. */
const DIVISORS = [2, 4, 8, 16, 32, 64, 128, 1];

function lapicText(apic: LocalApic): string {
  const s = apic.state;
  const [timer, thermal, performance, lint0, lint1, error] = s.lvt;
  const { divide, initialCount } = apic.timer.state;
  const divisor = DIVISORS[(divide & 3) | ((divide >> 1) & 4)]!;
  const enabled = (s.svr & 0x100) !== 0;
  const icr = s.icrLow;
  const destination = s.icrHigh >>> 24;
  const shorthand = (icr >> 18) & 3;
  const to =
    shorthand !== 0
      ? ''
      : (icr & LOGICAL) !== 0
        ? ` mask ${destination.toString(2).padStart(8, '0')}`
        : ` cpu ${destination} (APIC ID)`;
  return [
    'dumping local APIC state for CPU 0 \n\n',
    lvtText('LVT0', lint0!, false),
    lvtText('LVT1', lint1!, false),
    lvtText('LVTPC', performance!, false),
    lvtText('LVTERR', error!, false),
    lvtText('LVTTHMR', thermal!, false),
    lvtText('LVTT', timer!, true),
    `Timer\t DCR=0x${divide.toString(16)} (divide by ${divisor}) initial_count = ${initialCount >>> 0} current_count = ${apic.readRegister(0x39) >>> 0}\n`,
    `SPIV\t 0x${hex(s.svr, 8)} APIC ${enabled ? 'enabled' : 'disabled'}, focus=${(s.svr & 0x200) === 0 ? 'off' : 'on'}, spurious vec ${s.svr & 0xff}\n`,
    `ICR\t 0x${hex(icr, 8)} ${(icr & LOGICAL) === 0 ? 'physical' : 'logical'} ${(icr & LEVEL) === 0 ? 'edge' : 'level'} ` +
      `${(icr & 0x4000) === 0 ? 'de-assert' : 'assert'} ${SHORTHANDS[shorthand]}\n`,
    `ICR2\t 0x${hex(s.icrHigh, 8)}${to}\n`,
    `ESR\t 0x${hex(s.esr, 8)}\n`,
    `ISR\t ${vectors(s.isr)}\nIRR\t ${vectors(s.irr, s.tmr)}\n\n`,
    `APR 0x00 TPR 0x${hex(s.tpr, 2)} DFR 0x${hex(s.dfr >>> 28, 2)} LDR 0x${hex(s.ldr >>> 24, 2)} PPR 0x${hex(apic.readRegister(0x0a), 2)}\n`,
  ].join('');
}

const info = (name: string, help: string, run: (target: MonitorTarget) => string): HmpCommand => ({
  name,
  takes: '',
  synopsis: '',
  help,
  run: (_, target) => run(target),
});

export const interruptInfo: readonly HmpCommand[] = [
  info('pic', 'the interrupt controllers', ({ board }) => {
    const { ioapic, pic } = board.platform;
    return ioapicText(ioapic.state) + picText('pic1', pic.slave.state) + picText('pic0', pic.master.state);
  }),
  {
    name: 'lapic',
    takes: 'apic-id:i?',
    synopsis: '[apic-id]',
    help: "the processor's own interrupt controller",
    run: (given, { board }) => {
      const apic = board.platform.lapics[Number(given['apic-id'] ?? 0)];
      return apic === undefined ? 'No CPU available\n' : lapicText(apic);
    },
  },
  info('irq', 'interrupts taken', ({ board }) => {
    const { interrupts } = board.cpu.stats();
    return (
      `IRQ statistics for the processor:\n interrupts: ${interrupts ?? 0}\n` +
      'lines are not counted one by one; log int shows each interrupt as it is taken\n'
    );
  }),
];
