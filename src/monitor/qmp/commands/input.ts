/** Input: a PS/2 keyboard and a PS/2 mouse are what there is. */
import { HOLD_TIME, KEY_CODES, numberedKey, sendKeys } from '../../keys.ts';
import type { JsonObject } from '../../json/value.ts';
import { BUTTONS, MOUSE_INDEX, MOUSE_NAME, moveMouse, pressButton } from '../../mouse.ts';
import type { MonitorTarget } from '../../target.ts';
import { command } from '../command.ts';
import { deviceNotFound, QmpError } from '../error.ts';
import type { ObjectType } from '../types.ts';
import { array, bool, int, object, oneOf, str } from '../types.ts';

const QCODES = oneOf(...KEY_CODES.keys());

const KEY: ObjectType = {
  kind: 'object',
  members: { type: oneOf('number', 'qcode') },
  tag: 'type',
  variants: { number: object({ data: int }), qcode: object({ data: QCODES }) },
};

const EVENT: ObjectType = {
  kind: 'object',
  members: { type: oneOf('key', 'btn', 'rel', 'abs') },
  tag: 'type',
  variants: {
    key: object({ data: object({ key: KEY, down: bool }) }),
    btn: object({ data: object({ button: oneOf(...Object.keys(BUTTONS)), down: bool }) }),
    rel: object({ data: object({ axis: oneOf('x', 'y'), value: int }) }),
    abs: object({ data: object({ axis: oneOf('x', 'y'), value: int }) }),
  },
};

/** Keys in one command: a keyboard has not many more. */
const MAX_KEYS = 16;

const codeOf = ({ data }: JsonObject): number =>
  typeof data === 'string' ? KEY_CODES.get(data)! : numberedKey(Number(data));

export function pressKeys(target: MonitorTarget, codes: readonly number[], hold = HOLD_TIME): void {
  if (codes.length > MAX_KEYS) throw new QmpError('too many keys');
  sendKeys(target.board.platform, codes, hold, (milliseconds, call) =>
    target.host.char.delay(milliseconds, call),
  );
}

export const inputCommands = [
  command({
    name: 'send-key',
    help: 'Presses keys together, and lets go of them',
    arguments: { keys: array(KEY), 'hold-time?': int },
    run: (given, target) =>
      pressKeys(target, (given.keys as readonly JsonObject[]).map(codeOf), given['hold-time']),
  }),
  command({
    name: 'input-send-event',
    help: 'Presses or lets go of keys and buttons of the mouse, or moves the mouse, in the order given',
    arguments: { 'device?': str, 'head?': int, events: array(EVENT) },
    run: ({ device, events }, target) => {
      // It would name the display that the input comes from: there is none.
      if (device !== undefined) throw deviceNotFound(device);
      if (!target.machine.running) throw new QmpError('VM not running');
      const all = events as readonly JsonObject[];
      if (all.some(({ type }) => type === 'abs'))
        throw new QmpError('Input handler not found for event type abs');
      const { keyboard, mouse } = target.board.platform.i8042;
      for (const { type, data } of all) {
        const { key, down, button, axis, value } = data as JsonObject;
        if (type === 'key') keyboard.key(codeOf(key as JsonObject), down === true);
        else if (type === 'btn') pressButton(mouse, String(button), down === true);
        else moveMouse(mouse, axis === 'x' ? Number(value) : 0, axis === 'y' ? Number(value) : 0);
      }
    },
  }),
  command({
    name: 'query-mice',
    help: 'Pointing devices',
    returns: array(object({ name: str, index: int, current: bool, absolute: bool })),
    run: () => [{ name: MOUSE_NAME, index: MOUSE_INDEX, current: true, absolute: false }],
  }),
];
