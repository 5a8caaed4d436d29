/** Keys by QEMU's names (`qcode`), as the PS/2 keyboard has them: make codes of scan code set 1, E0 in the upper byte. */
import type { Platform } from '../pc/platform.ts';

const ROW = (from: number, names: string): [string, number][] =>
  names.split(' ').map((name, index) => [name, from + index]);

export const KEY_CODES: ReadonlyMap<string, number> = new Map([
  ...ROW(0x01, 'esc 1 2 3 4 5 6 7 8 9 0 minus equal backspace tab q w e r t y u i o p'),
  ...ROW(0x1a, 'bracket_left bracket_right ret ctrl a s d f g h j k l semicolon apostrophe'),
  ...ROW(0x29, 'grave_accent shift backslash z x c v b n m comma dot slash shift_r kp_multiply'),
  ...ROW(0x38, 'alt spc caps_lock f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 num_lock scroll_lock'),
  ...ROW(0x47, 'kp_7 kp_8 kp_9 kp_subtract kp_4 kp_5 kp_6 kp_add kp_1 kp_2 kp_3 kp_0 kp_decimal sysrq'),
  ['less', 0x56],
  ['f11', 0x57],
  ['f12', 0x58],
  ['asterisk', 0x37],
  ['kp_enter', 0xe01c],
  ['ctrl_r', 0xe01d],
  ['kp_divide', 0xe035],
  ['print', 0xe037],
  ['alt_r', 0xe038],
  ['home', 0xe047],
  ['up', 0xe048],
  ['pgup', 0xe049],
  ['left', 0xe04b],
  ['right', 0xe04d],
  ['end', 0xe04f],
  ['down', 0xe050],
  ['pgdn', 0xe051],
  ['insert', 0xe052],
  ['delete', 0xe053],
  ['meta_l', 0xe05b],
  ['meta_r', 0xe05c],
  ['menu', 0xe05d],
  ['compose', 0xe05d],
  ['power', 0xe05e],
  ['sleep', 0xe05f],
  ['wake', 0xe063],
]);

/** A key as a number: QEMU's codes have 80h set for the extended ones. */
export const numberedKey = (code: number): number => (code >= 0x80 ? 0xe000 | (code & 0x7f) : code);

/** Milliseconds that keys are held unless said otherwise: QEMU's. */
export const HOLD_TIME = 100;

/** Presses keys together and lets go of them after a while. */
export function sendKeys(
  { i8042 }: Platform,
  codes: readonly number[],
  hold: number,
  delay: (milliseconds: number, call: () => void) => () => void,
): void {
  for (const code of codes) i8042.keyboard.key(code, true);
  delay(hold, () => {
    for (const code of [...codes].reverse()) i8042.keyboard.key(code, false);
  });
}
