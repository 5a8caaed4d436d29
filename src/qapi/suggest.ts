/** The nearest right name, for messages: `-devcie: invalid option (did you mean '-device'?)`. */

/**
 * Edit distance with insertion, deletion, substitution and transposition of neighbours (Damerau 1964, in the
 * "optimal string alignment" form).
 */
export function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let best = Math.min(row[j - 1]! + 1, previous[j]! + 1, previous[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        best = Math.min(best, before[j - 2]! + 1);
      row.push(best);
    }
    before = previous;
    previous = row;
  }
  return previous[b.length]!;
}

/** The candidate nearest to `given`, or undefined when none is near enough to be what was meant. */
export function nearest(given: string, candidates: Iterable<string>): string | undefined {
  const wanted = given.toLowerCase();
  // A third of the letters may be wrong, at least one, at most three: beyond that it is a guess, not a help.
  const limit = Math.max(1, Math.min(3, Math.floor(wanted.length / 3)));
  let best: string | undefined;
  let bestDistance = limit + 1;
  for (const candidate of candidates) {
    if (wanted.length >= 3 && candidate.toLowerCase().startsWith(wanted) && bestDistance > 1) {
      best = candidate;
      bestDistance = 1;
    }
    if (Math.abs(candidate.length - wanted.length) >= bestDistance) continue;
    const distance = editDistance(wanted, candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** ` (did you mean 'x'?)`, or nothing. */
export function didYouMean(given: string, candidates: Iterable<string>, prefix = ''): string {
  const name = nearest(given, candidates);
  return name === undefined ? '' : ` (did you mean '${prefix}${name}'?)`;
}

/** ` (defined: a, b)`, or ` (none is defined)`: what an id could have been. */
export function defined(ids: Iterable<string>): string {
  const list = [...ids];
  return list.length === 0 ? ' (none is defined)' : ` (defined: ${list.slice(0, 8).join(', ')})`;
}
