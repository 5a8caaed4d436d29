/**
 * The processor's figures for people: what leaves regions and which runtime functions they call, by name, and the
 * hottest addresses. The counting is done by the runtime and by regions (EXIT_COUNTS, CALL_COUNTS of the layout); what a
 * table index means is known to the handler library.
 */
import type { HandlerLibrary } from '../interpreter/handlers.ts';
import * as L from '../layout.ts';
import type { Profile } from './profile.ts';
import type { Symbols } from './symbols.ts';

/** Lines of each list. */
const TOP = 20;

/** Counts by name, the largest first. `table` is the address of COUNTED_HANDLERS words. */
export function countsByName(
  view: DataView,
  table: number,
  handlers: HandlerLibrary,
): { name: string; count: number }[] {
  const sums = new Map<string, number>();
  for (let index = 0; index < L.COUNTED_HANDLERS; index++) {
    const count = view.getUint32(table + 4 * index, true);
    if (count === 0) continue;
    const name = handlers.nameOf(index) ?? `handler ${index}`;
    sums.set(name, (sums.get(name) ?? 0) + count);
  }
  return [...sums].map(([name, count]) => ({ name, count })).sort((a, b) => b.count - a.count);
}

function list(title: string, rows: readonly { name: string; count: number }[], total: number): string[] {
  if (rows.length === 0) return [];
  const lines = rows
    .slice(0, TOP)
    .map(
      ({ name, count }) =>
        `  ${String(count).padStart(12)} ${((100 * count) / total).toFixed(1).padStart(5)}%  ${name}`,
    );
  const rest = rows.slice(TOP).reduce((sum, { count }) => sum + count, 0);
  if (rest > 0)
    lines.push(`  ${String(rest).padStart(12)} ${((100 * rest) / total).toFixed(1).padStart(5)}%  others`);
  return ['', `${title} (${total}):`, ...lines];
}

/** All lists, as text with a line feed after each line; lists without entries are left out. */
export function describeCounts(
  view: DataView,
  handlers: HandlerLibrary,
  profile: Profile,
  symbols?: Symbols,
): string {
  const sum = (rows: readonly { count: number }[]): number =>
    rows.reduce((total, { count }) => total + count, 0);
  const exits = countsByName(view, L.EXIT_COUNTS, handlers);
  const calls = countsByName(view, L.CALL_COUNTS, handlers);
  const spots = profile.top(TOP, symbols).map(({ where, samples }) => ({ name: where, count: samples }));
  const lines = [
    ...list('regions left for the interpreter, by instruction', exits, sum(exits)),
    ...list('calls of the runtime from regions, by function', calls, sum(calls)),
    ...list('samples of the instruction pointer, the hottest places', spots, profile.samples),
  ];
  return lines.map((line) => `${line}\n`).join('');
}
