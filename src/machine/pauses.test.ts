import { describe, expect, it } from 'vitest';
import { Pauses } from './pauses.ts';

const MS = 1e6;

describe('pauses', () => {
  it('tells slices, and turns of the event loop between them', () => {
    const pauses = new Pauses();
    pauses.sliceBegins(10 * MS);
    pauses.sliceEnds(12 * MS);
    pauses.sliceBegins(37 * MS);
    pauses.sliceEnds(60 * MS);
    expect(pauses.slices).toMatchObject({
      count: 2,
      sum: 25 * MS,
      longest: 23 * MS,
      longestAt: 37 * MS,
      over20: 1,
    });
    expect(pauses.turns).toMatchObject({ count: 1, longest: 25 * MS, longestAt: 12 * MS, over20: 1 });
    expect(pauses.slices.longestOnProcessor).toBeUndefined();
  });

  it('takes no sleep for a turn', () => {
    const pauses = new Pauses();
    pauses.sliceBegins(0);
    pauses.sliceEnds(2 * MS);
    pauses.rests();
    pauses.sliceBegins(900 * MS);
    pauses.sliceEnds(901 * MS);
    expect(pauses.turns.count).toBe(0);
  });

  it('knows what of a pause the thread was on a processor', () => {
    let processor = 0;
    const pauses = new Pauses(() => processor);
    pauses.sliceBegins(0);
    processor += 3 * MS;
    pauses.sliceEnds(40 * MS);
    expect(pauses.slices).toMatchObject({
      longest: 40 * MS,
      over20: 1,
      longestOnProcessor: 3 * MS,
      over20OnProcessor: 0,
    });
    pauses.sliceBegins(40 * MS);
    // the host counts in ticks: the pause was not longer than it was
    processor += 32 * MS;
    pauses.sliceEnds(70 * MS);
    expect(pauses.slices).toMatchObject({ longestOnProcessor: 30 * MS, over20OnProcessor: 1 });
  });
});
