/**
 * Arguments that no command takes: for each command that we share with QEMU, thousands of them made from QEMU's own
 * schema. Class and text of each error are to be equal. Skipped where QEMU is missing.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tagsOf, wrongArguments } from './mutations.ts';
import { comparable, Pair, run } from './rig.ts';

const OPTIONS = ['-M', 'pc', '-m', '64', '-display', 'none', '-nodefaults', '-S', '-qmp', 'stdio'];

/** Takes any argument: its properties are compared in monitor.test.ts. */
const FREE = ['device_add'];

/** Where our errors are others than QEMU's, and why. */
const ABSENT: Readonly<Record<string, string>> = {
  "Parameter 'offset' is unexpected": 'raw shows no part of the node below it yet',
  "Parameter 'size' is unexpected": 'raw shows no part of the node below it yet',
  "Parameter 'options[0].offset' is unexpected": 'raw shows no part of the node below it yet',
  "Parameter 'options[0].size' is unexpected": 'raw shows no part of the node below it yet',
  "Parameter 'qom-type' does not accept value 'authz-list'": 'no object asks who may connect yet',
  "Parameter 'data' does not accept value 'unmapped'": 'no key of the keyboard is called so',
};

describe.runIf(comparable())('arguments that QEMU refuses', () => {
  let pair: Pair;

  beforeAll(async () => {
    pair = await Pair.start(OPTIONS, {});
  }, 60_000);

  afterAll(() => pair?.close());

  it('are refused in the same words', { timeout: 120_000 }, async () => {
    const { theirs, ours } = await pair.schemas();
    const texts = new Set<string>();
    for (const name of ours.commands) {
      if (theirs.find(name) === undefined || FREE.includes(name)) continue;
      for (const given of wrongArguments(theirs, name, tagsOf(ours, name))) texts.add(run(name, given));
    }
    expect(texts.size).toBeGreaterThan(3000);
    const found: unknown[] = [];
    const met = new Set<string>();
    for (const text of texts) {
      const [wanted, got] = await Promise.all([pair.theirs.ask(text), pair.ours.ask(text)]);
      if (JSON.stringify(got) === JSON.stringify(wanted)) continue;
      const desc = String((got.error as { desc?: string } | undefined)?.desc);
      if (desc in ABSENT) met.add(desc);
      else found.push({ text, wanted, got });
    }
    expect(found).toEqual([]);
    // A reason that is no more goes from the list.
    expect([...met].sort()).toEqual(Object.keys(ABSENT).sort());
  });
});
