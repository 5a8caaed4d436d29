import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Item, type Loop, structure } from './structure.ts';

const simple = (items: readonly Item[]): unknown[] =>
  items.map((item) => (typeof item === 'number' ? item : { heads: item.heads, body: simple(item.body) }));

describe('structure', () => {
  it('keeps a straight line and a diamond free of loops', () => {
    expect(simple(structure([[1], [2], []], [0]).items)).toEqual([0, 1, 2]);
    expect(simple(structure([[1, 2], [3], [3], []], [0]).items).length).toBe(4);
  });

  it('nests loops', () => {
    // 0 → 1 → 2 ⟲, 2 → 1, 1 → 3
    const { items, entries } = structure([[1], [2, 3], [2, 1], []], [0]);
    expect(simple(items)).toEqual([0, { heads: [1], body: [1, { heads: [2], body: [2] }] }, 3]);
    expect([...entries].sort()).toEqual([0, 1, 2]);
    expect((items[1] as Loop).doors).toEqual([2]);
  });

  it('gives a cycle with two ways in two heads', () => {
    const { items } = structure([[1, 2], [2], [1, 3], []], [0]);
    expect(simple(items)).toEqual([0, { heads: [1, 2], body: [2, 1] }, 3]);
  });

  it('leads every edge forward, or to a head of a loop around both ends', () => {
    const graph = fc.integer({ min: 1, max: 12 }).chain((size) =>
      fc.record({
        successors: fc.array(fc.uniqueArray(fc.nat(size - 1), { maxLength: 3 }), {
          minLength: size,
          maxLength: size,
        }),
        entries: fc.uniqueArray(fc.nat(size - 1), { maxLength: 3 }),
      }),
    );
    fc.assert(
      fc.property(graph, ({ successors, entries }) => {
        const { items, entries: all } = structure(successors, [0, ...entries]);
        // where each block is: the position in each sequence around it, and the loops around it
        const places = new Map<number, { path: number[]; loops: Loop[] }>();
        const walk = (list: readonly Item[], path: number[], loops: Loop[]): void => {
          for (const [i, item] of list.entries())
            if (typeof item === 'number') places.set(item, { path: [...path, i], loops });
            else walk(item.body, [...path, i], [...loops, item]);
        };
        walk(items, [], []);
        expect(places.size).toBe(successors.length);
        for (const [from, targets] of successors.entries())
          for (const to of targets) {
            const a = places.get(from)!;
            const b = places.get(to)!;
            let common = 0;
            while (common < a.loops.length && a.loops[common] === b.loops[common]) common++;
            const back = a.loops.slice(0, common).some(({ heads }) => heads.includes(to));
            expect(back || a.path[common]! < b.path[common]!).toBe(true);
            // going forward into loops, the target is a head of each
            if (!back) for (const { heads } of b.loops.slice(common)) expect(heads).toContain(to);
          }
        for (const entry of all)
          for (const { heads, doors } of places.get(entry)!.loops)
            expect([...heads, ...doors]).toContain(entry);
      }),
      { numRuns: 500 },
    );
  });
});
