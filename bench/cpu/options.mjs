// What `npm run bench:cpu -- …` takes.
import { parseArgs } from 'node:util';

const HELP = `npm run bench:cpu -- [OPTION]…
Runs the same programs under Paravane, QEMU's translator and v86 in turn, and compares.

  --rounds N      rounds, each of all machines in turn (default 3)
  --only WORDS    only programs whose name holds one of the words (separated by commas); no boots then
  --group NAMES   compute, system, whole, boot (default: all; separated by commas)
  --no-v86        without v86
  --no-qemu       without QEMU: only our own figures
  --cold          translate everything anew each time; else Paravane runs once before the first round, uncounted, and
                  keeps what it translates, as it does for its users (-accel tcg,tb-cache=on)
  --node PATH     the Node.js that runs Paravane and v86 (default: the one that runs this)
  --cpu MODEL     the processor that Paravane and QEMU show (default max)
  --memory MIB    guest memory (default 512; whole programs 1024)
  --json FILE     write everything that was measured to FILE
  --markdown FILE write the tables of docs/performance.md to FILE
  --keep DIR      write each machine's console to DIR
`;

/** @returns the options, or ends the process. */
export function readOptions(args) {
  let values;
  try {
    ({ values } = parseArgs({
      args,
      options: {
        rounds: { type: 'string', default: '3' },
        only: { type: 'string' },
        group: { type: 'string', default: 'compute,system,whole,boot' },
        'no-v86': { type: 'boolean', default: false },
        'no-qemu': { type: 'boolean', default: false },
        cold: { type: 'boolean', default: false },
        node: { type: 'string', default: process.execPath },
        cpu: { type: 'string', default: 'max' },
        memory: { type: 'string' },
        json: { type: 'string' },
        markdown: { type: 'string' },
        keep: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    }));
  } catch (error) {
    fail(error.message);
  }
  if (values.help) {
    process.stdout.write(HELP);
    process.exit(0);
  }
  const groups = values.group.split(',');
  for (const group of groups)
    if (!['compute', 'system', 'whole', 'boot'].includes(group))
      fail(`--group ${group}: not one of compute, system, whole, boot`);
  return {
    rounds: wholeNumber('--rounds', values.rounds),
    only: values.only?.split(','),
    groups,
    v86: !values['no-v86'],
    qemu: !values['no-qemu'],
    cold: values.cold,
    node: values.node,
    cpu: values.cpu,
    memory: values.memory === undefined ? undefined : wholeNumber('--memory', values.memory),
    json: values.json,
    markdown: values.markdown,
    keep: values.keep,
  };
}

function wholeNumber(option, text) {
  if (!/^[1-9]\d*$/.test(text)) fail(`${option} ${text}: a whole number from 1 on was expected`);
  return Number(text);
}

function fail(message) {
  process.stderr.write(`bench:cpu: ${message}\n\n${HELP}`);
  process.exit(2);
}
