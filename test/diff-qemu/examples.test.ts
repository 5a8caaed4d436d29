/**
 * The examples of QEMU's own reference, sent to QEMU and to us: equal, or of the same shape, or different for a reason
 * that is named here. The reference is read where the user has it (CONTRIBUTING.md says how to get it); without it the
 * test is skipped.
 */
import { describe, expect, it } from 'vitest';
import { MISSING_COMMANDS } from '../../src/monitor/qmp/missing.ts';
import type { Example } from './examples.ts';
import { parseExamples, readExamples, referenceFolder } from './examples.ts';
import { FILES, firstFor, machineFor } from './prepare.ts';
import { comparable, Pair, settled, shape } from './rig.ts';
import type { Message } from './rig.ts';

/** Examples that we answer in another way, by command and what is special about them. */
const DIFFERENT: Readonly<Record<string, string>> = {
  'query-blockstats': 'driver-specific: the file driver of QEMU counts discards',
  'blockdev-add qcow2': 'disks are raw',
  'chardev-change': 'QEMU can exchange the chardev of a port only while the machine runs',
  'query-command-line-options option-rom': 'there are no option ROMs',
  'query-tpm-models': 'there are none',
  'query-tpm-types': 'there are none',
  'query-jobs': 'the job of the snapshot before it, which we refuse',
  'device_add e1000': 'there is none',
  'qom-get unattached/sysbus': 'the object tree has no bus of the board',
  'qom-set graphics': 'the machine has no display to switch off',
  'x-query-virtio-status':
    'each feature is explained in words of our own, and some have names that QEMU 7.2 does not know',
  'trace-event-get-state': "trace points are not QEMU's",
  'trace-event-set-state': "trace points are not QEMU's",
};

/** Optional members of shapes that depend on the host. */
const ABSENT: Readonly<Record<string, string>> = {
  pty: 'a number of the host',
};

/** After these, a pair of machines is not what the next example needs. */
const CHANGES =
  /add|del|quit|migrate|snapshot|mirror|backup|remove|change|commit|stream|screendump|cont$|system_|inject/;

const tableKey = ({ execute, arguments: given }: Message): string | undefined =>
  Object.keys(DIFFERENT).find((key) => {
    const [name, special] = key.split(' ');
    return name === execute && (special === undefined || JSON.stringify(given).includes(special));
  });

interface Counts {
  sent: number;
  equal: number;
  alike: number;
  missing: number;
  different: number;
  /** Answers after which the machine is another. */
  changes: number;
}

async function replay(
  pair: Pair,
  { where, sent }: Example,
  counts: Counts,
  met: Set<string>,
): Promise<unknown[]> {
  const found: unknown[] = [];
  const listed = new Set(MISSING_COMMANDS.flatMap(({ names }) => names));
  for (const message of sent) {
    const text = JSON.stringify(message);
    const [wanted, got] = await Promise.all([pair.theirs.ask(text), pair.ours.ask(text)]);
    counts.sent++;
    if ('return' in wanted && CHANGES.test(String(message.execute))) counts.changes++;
    const key = tableKey(message);
    if (settled(got) === settled(wanted)) counts.equal++;
    else if (listed.has(String(message.execute))) counts.missing++;
    else if ('return' in wanted && 'return' in got && sameShape(wanted, got)) counts.alike++;
    else if (key !== undefined) {
      counts.different++;
      met.add(key);
    } else found.push({ where, text, wanted, got });
  }
  return found;
}

function sameShape(one: Message, other: Message): boolean {
  const [a, b] = [shape(one, ABSENT), shape(other, ABSENT)];
  return a.size === b.size && [...a].every((path) => b.has(path));
}

describe('examples', () => {
  it('are read out of comments, over several lines, and not where something was left out', () => {
    const text = [
      '##',
      '# Example:',
      '#',
      '# -> { "execute": "one",',
      '#      "arguments": { "a": 1 } }',
      '# <- { "return": {} }',
      '#',
      '# -> { "execute": "two" }',
      '##',
      '# -> { "execute": "three", ... }',
      '-> { "execute": "four" }',
    ];
    const [first, second, ...rest] = parseExamples(text.join('\n'), 'f');
    expect(first).toEqual({
      where: 'f:4',
      sent: [{ execute: 'one', arguments: { a: 1 } }, { execute: 'two' }],
    });
    expect(second?.sent).toEqual([{ execute: 'four' }]);
    expect(rest).toEqual([]);
  });
});

const folder = referenceFolder();

describe.runIf(comparable() && folder !== undefined)("examples of QEMU's reference", () => {
  it('are answered as by QEMU', { timeout: 300_000 }, async () => {
    const counts: Counts = { sent: 0, equal: 0, alike: 0, missing: 0, different: 0, changes: 0 };
    const met = new Set<string>();
    const found: unknown[] = [];
    let pair: Pair | undefined;
    let before = '';
    try {
      const all = readExamples(folder!).map((example) => ({
        example,
        line: machineFor(example.sent).join(' '),
      }));
      // Those that share a machine one after another, and last those that change it.
      const changes = ({ sent }: Example): number =>
        sent.some(({ execute }) => CHANGES.test(String(execute))) ? 1 : 0;
      all.sort((a, b) => changes(a.example) - changes(b.example) || a.line.localeCompare(b.line));
      for (const { example, line } of all) {
        const options = machineFor(example.sent);
        if (pair === undefined || line !== before) {
          pair?.close();
          pair = await Pair.start(options, FILES);
          before = line;
        }
        for (const text of firstFor(example.sent))
          await Promise.all([pair.theirs.ask(text), pair.ours.ask(text)]);
        const changed = counts.changes;
        found.push(...(await replay(pair, example, counts, met)));
        if (counts.changes > changed) before = '';
      }
    } finally {
      pair?.close();
    }
    console.log(`examples: ${JSON.stringify(counts)}`);
    expect(found).toEqual([]);
    expect(Object.keys(DIFFERENT).filter((key) => !met.has(key))).toEqual([]);
  });
});
