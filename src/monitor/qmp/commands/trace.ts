/** Trace points: which there are, and whether they are printed. Who switches them here and there sees the same. */
import { printedPoints, setTracing } from '../../tracing.ts';
import { command } from '../command.ts';
import { array, bool, int, object, oneOf, str } from '../types.ts';

export const traceCommands = [
  command({
    name: 'trace-event-get-state',
    help: 'Whether trace points are printed; * in the name matches anything',
    arguments: { name: str, 'vcpu?': int },
    returns: array(object({ name: str, state: oneOf('unavailable', 'disabled', 'enabled'), vcpu: bool })),
    run: ({ name }, target) =>
      printedPoints(target, name).map((point) => ({
        name: point.name,
        vcpu: false,
        state: point.on ? 'enabled' : 'disabled',
      })),
  }),
  command({
    name: 'trace-event-set-state',
    help: 'Has trace points printed, or not any more',
    arguments: { name: str, enable: bool, 'ignore-unavailable?': bool, 'vcpu?': int },
    run: ({ name, enable }, target) => setTracing(target, name, enable),
  }),
];
