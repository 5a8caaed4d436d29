// `npm run test:cpu`: the long comparison of the processor with the host's: single instructions, small programs, and
// long programs with each of V8's compilers, and with what other processors have translated (a tenth). `--instances N`
// (ten million) is for each part, `--seed N` for another run.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root, setup } from './setup.mjs';

const { values } = parseArgs({
  options: {
    instances: { type: 'string', default: '10000000' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string', default: 'single,small,liftoff,turbofan,settling,kept' },
  },
});
const instances = Number(values.instances);
setup();

/** Runs of long programs are shared among the compilers; their inputs are many, because translating takes the time. */
const long = { PARAVANE_CPU_LONG: Math.ceil(instances / 3), PARAVANE_CPU_INPUTS: 60 };
const parts = {
  single: ['differential.test.ts', 'legacy.test.ts', { PARAVANE_CPU_INSTANCES: instances }],
  small: ['programs.test.ts', { PARAVANE_CPU_PROGRAMS: Math.ceil(instances / 200) }],
  liftoff: ['long.test.ts', { ...long, PARAVANE_CPU_TIER: 'liftoff' }],
  turbofan: ['long.test.ts', { ...long, PARAVANE_CPU_TIER: 'turbofan' }],
  settling: ['long.test.ts', long],
  kept: ['long.test.ts', { ...long, PARAVANE_CPU_LONG: 0, PARAVANE_CPU_KEPT: Math.ceil(instances / 10) }],
};

let failed = false;
for (const name of values.only.split(',')) {
  const part = parts[name];
  if (part === undefined) throw new Error(`no part ${name}: ${Object.keys(parts).join(', ')}`);
  const files = part.filter((one) => typeof one === 'string').map((file) => `test/x86/differential/${file}`);
  process.stderr.write(`${name}\n`);
  const { status } = spawnSync(
    process.execPath,
    [join(root, 'node_modules/vitest/vitest.mjs'), 'run', ...files],
    {
      cwd: root,
      stdio: 'inherit',
      env: { ...process.env, PARAVANE_CPU_SEED: values.seed, ...part.at(-1) },
    },
  );
  failed ||= status !== 0;
}
process.exit(failed ? 1 : 0);
