/**
 * From a control flow graph to nested loops, the only shape that WebAssembly knows: blocks in topological order, cycles
 * as loops. A cycle that edges enter at one block only is a plain loop; one with several ways in has several heads, among
 * which a `br_table` at its top chooses. Where the function's own entries lie inside a loop they are its doors: the
 * `br_table` leads there too, but edges do not go through it. The method: strongly connected components, again inside each of them once the
 * edges to its heads are cut. Nothing here is about x86 or bytes.
 */

/** A block by number, or a loop around a sequence. */
export type Item = number | Loop;

export interface Loop {
  /** The blocks where the loop is entered, and to which its back edges lead. With one head, `body` begins with it. */
  readonly heads: readonly number[];
  /** Entries of the function that lie inside and are no heads. */
  readonly doors: readonly number[];
  readonly body: readonly Item[];
  /** All blocks inside. */
  readonly blocks: ReadonlySet<number>;
}

/** The loops, and all entries: those that were given and the heads, where control may have to come back in. */
export interface Structure {
  readonly items: readonly Item[];
  readonly entries: ReadonlySet<number>;
}

/**
 * @param successors by block number, successors inside the graph
 * @param entries blocks where control may come in from outside, the most usual first
 */
export function structure(successors: readonly (readonly number[])[], entries: readonly number[]): Structure {
  const all = new Set(entries);
  const sequence = (blocks: readonly number[], cut: ReadonlySet<number>): RawItem[] => {
    const members = new Set(blocks);
    const next = (block: number): number[] =>
      successors[block]!.filter((target) => members.has(target) && !cut.has(target));
    return components(blocks, next).map((component) => {
      const first = component[0]!;
      if (component.length === 1 && !next(first).includes(first)) return first;
      const inside = new Set(component);
      const heads = entered(successors, inside);
      if (heads.length === 0) heads.push(entries.find((entry) => inside.has(entry)) ?? first);
      for (const head of heads) all.add(head);
      return { heads, body: sequence(component, new Set([...cut, ...heads])), blocks: inside };
    });
  };
  const raw = sequence(
    successors.map((_, block) => block),
    new Set(),
  );
  const finish = (item: RawItem): Item => {
    if (typeof item === 'number') return item;
    const doors = [...all].filter((entry) => item.blocks.has(entry) && !item.heads.includes(entry));
    return { ...item, doors: doors.sort((a, b) => a - b), body: item.body.map(finish) };
  };
  return { items: raw.map(finish), entries: all };
}

type RawItem = number | { heads: readonly number[]; body: RawItem[]; blocks: ReadonlySet<number> };

/** Blocks of `inside` that edges from outside lead to, in order. */
function entered(successors: readonly (readonly number[])[], inside: ReadonlySet<number>): number[] {
  const found = new Set<number>();
  for (const [from, targets] of successors.entries())
    if (!inside.has(from)) for (const to of targets) if (inside.has(to)) found.add(to);
  return [...found].sort((a, b) => a - b);
}

/** Strongly connected components in topological order (Tarjan 1972). Recursion is bounded by the number of blocks. */
function components(blocks: readonly number[], next: (block: number) => number[]): number[][] {
  const order = new Map<number, number>();
  const low = new Map<number, number>();
  const stack: number[] = [];
  const onStack = new Set<number>();
  const found: number[][] = [];
  const visit = (block: number): void => {
    const number = order.size;
    order.set(block, number);
    low.set(block, number);
    stack.push(block);
    onStack.add(block);
    for (const target of next(block)) {
      if (!order.has(target)) {
        visit(target);
        low.set(block, Math.min(low.get(block)!, low.get(target)!));
      } else if (onStack.has(target)) low.set(block, Math.min(low.get(block)!, order.get(target)!));
    }
    if (low.get(block) !== number) return;
    const component: number[] = [];
    let member: number;
    do {
      member = stack.pop()!;
      onStack.delete(member);
      component.push(member);
    } while (member !== block);
    found.push(component.sort((a, b) => a - b));
  };
  for (const block of blocks) if (!order.has(block)) visit(block);
  return found.reverse();
}
