/** Trace points as monitors switch them. What the command line switched on stays on: it is not the monitors'. */
import type { TracePoint } from '../core/trace.ts';
import { LOG_ITEMS } from '../machine/configure.ts';
import { QmpError } from './qmp/error.ts';
import type { MonitorTarget } from './target.ts';

/** How to stop what monitors have switched on, by the point's name. */
const STOPS = new WeakMap<MonitorTarget, Map<string, () => void>>();

function stopsOf(target: MonitorTarget): Map<string, () => void> {
  let stops = STOPS.get(target);
  if (stops === undefined) STOPS.set(target, (stops = new Map()));
  return stops;
}

/** The trace points whose name matches; `*` stands for any run of characters. @throws QmpError when none does */
export function printedPoints(target: MonitorTarget, pattern: string): TracePoint[] {
  const { tracer } = target.board;
  const match = new RegExp(`^${pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*')}$`);
  const found = tracer.names.filter((name) => match.test(name)).map((name) => tracer.point(name));
  if (found.length === 0 && !pattern.includes('*')) throw new QmpError(`unknown event "${pattern}"`);
  return found;
}

export function setTracing(target: MonitorTarget, pattern: string, on: boolean): void {
  const stops = stopsOf(target);
  for (const point of printedPoints(target, pattern)) {
    if (!on) {
      stops.get(point.name)?.();
      stops.delete(point.name);
    } else if (!stops.has(point.name))
      stops.set(
        point.name,
        point.listen((name, fields) => {
          const text = Object.entries(fields).map(([key, value]) => `${key}=${String(value)}`);
          target.host.warn(`${name} ${text.join(' ')}`);
        }),
      );
  }
}

/** Items of `-d` that trace points stand for. */
const items = LOG_ITEMS.filter(({ points }) => points.length > 0);

/** Has exactly these items of `-d` logged; false when one is not known. */
export function setLog(target: MonitorTarget, wanted: string): boolean {
  const points: string[] = [];
  if (wanted !== 'none')
    for (const item of wanted.split(',')) {
      const known = item.startsWith('trace:')
        ? [item.slice(6)]
        : items.find(({ name }) => name === item)?.points;
      if (known === undefined) return false;
      points.push(...known);
    }
  for (const stop of stopsOf(target).values()) stop();
  stopsOf(target).clear();
  for (const point of points) setTracing(target, point, true);
  return true;
}

export const logHelp = (): string =>
  [
    'Log items (comma separated):',
    'none            remove all logs',
    ...items.map(({ name, help }) => `${name.padEnd(15)} ${help}`),
    'trace:PATTERN   enable trace events',
    '',
  ].join('\n');
