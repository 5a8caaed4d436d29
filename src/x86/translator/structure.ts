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
  /** All blocks inside, in order. */
  readonly blocks: readonly number[];
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
  return new Structurer(successors, entries).run();
}

/** A loop whose doors are not known yet. */
interface RawLoop {
  readonly heads: readonly number[];
  readonly body: RawItem[];
  readonly blocks: readonly number[];
}
type RawItem = number | RawLoop;

/** Blocks are small numbers: what is known of each stands in plain arrays. */
class Structurer {
  readonly #successors: readonly (readonly number[])[];
  readonly #entries: readonly number[];
  /** The given entries, and the heads. */
  readonly #all: Set<number>;
  /** The sequence that a block belongs to at present, by number; and whether the edges to it are cut. */
  readonly #sequenceOf: number[] = [];
  readonly #cut: boolean[] = [];
  #sequences = 0;
  // Tarjan's numbers: in which order blocks were visited (0: not yet), how far up each leads, and the stack
  readonly #order: number[] = [];
  readonly #low: number[] = [];
  readonly #onStack: boolean[] = [];
  readonly #stack: number[] = [];
  #visited = 0;

  constructor(successors: readonly (readonly number[])[], entries: readonly number[]) {
    this.#successors = successors;
    this.#entries = entries;
    this.#all = new Set(entries);
    for (let block = 0; block < successors.length; block++) {
      this.#sequenceOf.push(0);
      this.#cut.push(false);
      this.#order.push(0);
      this.#low.push(0);
      this.#onStack.push(false);
    }
  }

  run(): Structure {
    const items = this.#sequence(
      this.#successors.map((_, block) => block),
      0,
    );
    return { items: items.map((item) => this.#finish(item)), entries: this.#all };
  }

  /** The items of `blocks`, which belong to sequence `id`. */
  #sequence(blocks: readonly number[], id: number): RawItem[] {
    return this.#components(blocks, id).map((component) => {
      const first = component[0]!;
      if (component.length === 1 && (this.#cut[first]! || !this.#successors[first]!.includes(first)))
        return first;
      const inside = ++this.#sequences;
      for (const block of component) this.#sequenceOf[block] = inside;
      const heads = this.#entered(inside);
      if (heads.length === 0)
        heads.push(this.#entries.find((entry) => this.#sequenceOf[entry] === inside) ?? first);
      for (const head of heads) {
        this.#all.add(head);
        this.#cut[head] = true;
      }
      return { heads, body: this.#sequence(component, inside), blocks: component };
    });
  }

  /** Blocks of sequence `id` that edges from outside lead to, in order. */
  #entered(id: number): number[] {
    const found: number[] = [];
    for (let from = 0; from < this.#successors.length; from++) {
      if (this.#sequenceOf[from] === id) continue;
      for (const to of this.#successors[from]!)
        if (this.#sequenceOf[to] === id && !found.includes(to)) found.push(to);
    }
    return found.sort((a, b) => a - b);
  }

  /** Strongly connected components in topological order (Tarjan 1972), each sorted. */
  #components(blocks: readonly number[], id: number): number[][] {
    const found: number[][] = [];
    for (const block of blocks) this.#order[block] = 0;
    this.#visited = 0;
    for (const block of blocks) if (this.#order[block] === 0) this.#visit(block, id, found);
    return found.reverse();
  }

  /** Recursion is bounded by the number of blocks. */
  #visit(block: number, id: number, found: number[][]): void {
    const number = ++this.#visited;
    let low = number;
    this.#order[block] = number;
    this.#stack.push(block);
    this.#onStack[block] = true;
    for (const target of this.#successors[block]!) {
      if (this.#sequenceOf[target] !== id || this.#cut[target]!) continue;
      if (this.#order[target] === 0) {
        this.#visit(target, id, found);
        low = Math.min(low, this.#low[target]!);
      } else if (this.#onStack[target]!) low = Math.min(low, this.#order[target]!);
    }
    this.#low[block] = low;
    if (low !== number) return;
    const component: number[] = [];
    let member: number;
    do {
      member = this.#stack.pop()!;
      this.#onStack[member] = false;
      component.push(member);
    } while (member !== block);
    found.push(component.length === 1 ? component : component.sort((a, b) => a - b));
  }

  #finish(item: RawItem): Item {
    if (typeof item === 'number') return item;
    const { heads, body, blocks } = item;
    const doors: number[] = [];
    for (const block of blocks) if (this.#all.has(block) && !heads.includes(block)) doors.push(block);
    return { heads, doors, body: body.map((inner) => this.#finish(inner)), blocks };
  }
}
