/** What is packed into a block's number comes out again, whatever else is in it. */
import { describe, expect, it } from 'vitest';
import { Block, shapeOf } from './block.ts';

describe('a block', () => {
  it('tells what was decoded', () => {
    for (const mode of [0, 2, 0xba, 511])
      for (const instructions of [0, 1, 64])
        for (const bytes of [1, 15, 64 * 15 + 15])
          for (const [end, indirect] of [
            ['continue', false],
            ['invalid', false],
            ['transfer', false],
            ['transfer', true],
          ] as const) {
            const block = new Block(
              0x1_2345_6fff,
              mode,
              4096,
              shapeOf(instructions, bytes, end, indirect),
              7,
            );
            const told = { mode, instructions, end, indirect, extent: 0xfff + bytes };
            const is = (warm: boolean, patient: boolean, scattered: boolean): void =>
              expect(block).toMatchObject({ ...told, warm, patient, scattered });
            is(false, false, false);
            block.markWarm();
            is(true, false, false);
            block.markPatient();
            is(true, true, false);
            block.markScattered();
            is(true, true, true);
            block.markPatient();
            is(true, true, true);
          }
  });
});
