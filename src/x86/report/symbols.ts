/**
 * Names of guest addresses, from what nm prints: a kernel's System.map, a copy of the guest's own /proc/kallsyms (which
 * knows its modules, and where a kernel that randomizes its address has really gone), or the output of `nm` for a program.
 */
import { UsageError } from '../../core/errors.ts';

export interface Symbol {
  readonly address: bigint;
  readonly name: string;
}

/** No function is larger: an address further behind the last symbol belongs to something unknown. */
const MAX_DISTANCE = 1n << 20n;

export class Symbols {
  readonly #sorted: readonly Symbol[];

  constructor(symbols: readonly Symbol[]) {
    this.#sorted = symbols.toSorted((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
  }

  get size(): number {
    return this.#sorted.length;
  }

  /** The function that holds `address`: the last one that starts at or before it. */
  find(address: bigint): Symbol | undefined {
    let low = 0;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#sorted[middle]!.address <= address) low = middle + 1;
      else high = middle;
    }
    const found = this.#sorted[low - 1];
    return found !== undefined && address - found.address < MAX_DISTANCE ? found : undefined;
  }
}

/**
 * Reads lines of `ADDRESS TYPE NAME [MODULE]`, addresses in hexadecimal; only code (types t and w) is kept.
 * @throws UsageError when there is no such line, or when all addresses are 0 (as /proc/kallsyms shows them to users)
 */
export function parseSymbols(text: string): Symbols {
  const symbols: Symbol[] = [];
  for (const line of text.split('\n')) {
    const match = /^([0-9a-fA-F]{1,16}) [tTwW] (\S+)(?:\s+(\[\S+\]))?\s*$/.exec(line);
    if (match === null) continue;
    const address = BigInt(`0x${match[1]!}`);
    if (address !== 0n)
      symbols.push({ address, name: match[3] === undefined ? match[2]! : `${match[2]!} ${match[3]}` });
  }
  if (symbols.length === 0)
    throw new UsageError(
      'no symbols of functions: lines such as "ffffffff81000000 T _text" are expected ' +
        "(System.map, root's /proc/kallsyms, or the output of nm)",
    );
  return new Symbols(symbols);
}
