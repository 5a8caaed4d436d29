/** The PS/2 mouse, moved and clicked from a monitor, as QEMU numbers and names it. */
import type { Ps2Mouse } from '../pc/ps2.ts';

/** The handler behind the keyboard's. */
export const MOUSE_INDEX = 2;
export const MOUSE_NAME = 'QEMU PS/2 Mouse';

/** `InputButton` of QAPI; undefined where this mouse has none such. */
export const BUTTONS: Readonly<Record<string, number | undefined>> = {
  left: 1,
  right: 2,
  middle: 4,
  'wheel-up': undefined,
  'wheel-down': undefined,
  side: undefined,
  extra: undefined,
  'wheel-left': undefined,
  'wheel-right': undefined,
};

/** @param dx counts to the right @param dy counts downwards, as on a screen */
export function moveMouse(mouse: Ps2Mouse, dx: number, dy: number): void {
  mouse.move(dx, -dy, mouse.state.buttons);
}

export function pressButton(mouse: Ps2Mouse, name: string, down: boolean): void {
  const bit = BUTTONS[name];
  if (bit !== undefined) setButtons(mouse, down ? mouse.state.buttons | bit : mouse.state.buttons & ~bit);
}

/** @param buttons all that are down: 1 left, 2 right, 4 middle */
export function setButtons(mouse: Ps2Mouse, buttons: number): void {
  mouse.move(0, 0, buttons);
}
