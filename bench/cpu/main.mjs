// `npm run bench:cpu [-- OPTION…]`: the same programs on the same kernel under Paravane, QEMU's translator and v86 in
// turn. Prints seconds by the guest's clock and how many times as fast as the others we are; progress goes to stderr.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, homedir, loadavg } from 'node:os';
import { join } from 'node:path';
import { root, setup } from '../../scripts/setup.mjs';
import { readOptions } from './options.mjs';

const options = readOptions(process.argv.slice(2));
setup();
const { makeGuest } = await import('./guest.mjs');
const { commonLine, runMachine } = await import('./machines.mjs');
const { prepareV86 } = await import('./v86.mjs');
const { bootOnce } = await import('./boot.mjs');
const { makeWholeGuest, wholePrograms } = await import('./whole.mjs');
const { bootTable, markdown, summarize, table } = await import('./report.mjs');

const say = (text) => process.stderr.write(`${text}\n`);
/** What is downloaded stays; what is built is of this process, so that two can run at a time. */
const folder = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'paravane-bench');
mkdirSync(folder, { recursive: true });
const work = mkdtempSync(join(folder, 'guests-'));
process.on('exit', () => rmSync(work, { recursive: true, force: true }));
if (options.keep !== undefined) mkdirSync(options.keep, { recursive: true });

let v86Version;
/** On a host with much to do Linux may find that the timer does not tick as it tests it, and give up. */
const KERNEL_LINE = 'console=ttyS0 quiet panic=-1 no_timer_check';

/** Batches of programs that run in one guest: { programs, machines: { name: command } }. */
const batches = [];
const wanted = (program) =>
  options.groups.includes(program.group) &&
  (options.only === undefined || options.only.some((word) => program.name.includes(word)));

if (options.groups.includes('compute') || options.groups.includes('system')) {
  const guest = await makeGuest(work, say);
  const v86 = options.v86 ? prepareV86(folder, work, options.node, say) : undefined;
  v86Version = v86?.version;
  const programs = guest.programs.filter(wanted);
  if (programs.length > 0) {
    const list = programs.map((program) => program.name).join(',');
    const line = commonLine({
      ...guest,
      memory: options.memory ?? 512,
      append: `${KERNEL_LINE} rdinit=/bench -- ${list}`,
    });
    const machines = machinesFor(line);
    if (v86 !== undefined) machines.v86 = v86.command(list, options.memory ?? 512);
    batches.push({ programs, machines });
  }
}

const whole = wholePrograms.filter(wanted);
if (whole.length > 0) {
  const guest = await makeWholeGuest(
    work,
    whole.map((program) => program.name),
    say,
  );
  const line = commonLine({
    ...guest,
    memory: options.memory ?? 1024,
    append: KERNEL_LINE,
    extra: ['-drive', `file=${guest.disk},if=virtio,format=raw,readonly=on`],
  });
  batches.push({ programs: whole, machines: machinesFor(line) });
}

function machinesFor(line) {
  const paravane = [options.node, join(root, 'dist/cli/main.js'), '-cpu', options.cpu, ...line];
  if (options.cold) paravane.push('-accel', 'tcg,tb-cache=off');
  const qemu = ['qemu-system-x86_64', '-accel', 'tcg', '-cpu', options.cpu, ...line];
  return options.qemu ? { paravane, qemu } : { paravane };
}

const bootsWanted = options.groups.includes('boot') && options.only === undefined;
const programs = batches.flatMap((batch) => batch.programs);
if (programs.length === 0 && !bootsWanted) {
  say('bench:cpu: no program matches');
  process.exit(2);
}
const runs = {};
const loads = [];
const boots = {};
/** Before the first one that counts, Paravane translates what it has not met yet. */
for (let round = options.cold ? 1 : 0; round <= options.rounds; round++) {
  const counts = round > 0;
  for (const [i, batch] of batches.entries())
    for (const [machine, command] of Object.entries(batch.machines)) {
      if (!counts && machine !== 'paravane') continue;
      loads.push(loadavg()[0]);
      runs[machine] ??= new Map();
      const { results, console, bootSeconds } = await runMachine(command, (name, result) =>
        say(
          `round ${round}  ${machine.padEnd(9)} ${name.padEnd(14)} ${result.error ?? `${result.guest.toFixed(3)} s`}`,
        ),
      );
      say(`round ${round}  ${machine.padEnd(9)} booted in ${bootSeconds?.toFixed(2)} s`);
      if (!counts) continue;
      for (const [name, result] of results)
        runs[machine].set(name, [...(runs[machine].get(name) ?? []), result]);
      if (options.keep !== undefined)
        writeFileSync(join(options.keep, `${machine}-${i}-${round}.log`), console);
    }

  if (!bootsWanted) continue;
  for (const machine of Object.keys(machinesFor([]))) {
    if (!counts && machine !== 'paravane') continue;
    loads.push(loadavg()[0]);
    const figures = await bootOnce(machine, (line) => machinesFor(line)[machine], say);
    if (counts) boots[machine] = [...(boots[machine] ?? []), figures];
    say(`round ${round}  ${machine.padEnd(9)} login after ${figures.loginWallS?.toFixed(1) ?? '–'} s`);
  }
}

const version = (command, args) =>
  spawnSync(command, args, { encoding: 'utf8' }).stdout?.split('\n')[0]?.trim() ?? '';
const summary = summarize(programs, runs);
const about = {
  date: new Date().toISOString(),
  command: `npm run bench:cpu -- ${process.argv.slice(2).join(' ')}`.trim(),
  commit: version('git', ['-C', root, 'rev-parse', '--short', 'HEAD']),
  processor: cpus()[0]?.model,
  processors: cpus().length,
  node: version(options.node, ['--version']),
  qemu: options.qemu ? version('qemu-system-x86_64', ['--version']) : undefined,
  v86: v86Version,
  gcc: version('gcc', ['--version']),
  loadAverage: loads,
  rounds: options.rounds,
};
process.stdout.write(
  `${about.date} ${about.commit}, Node ${about.node}, ${about.qemu ?? 'no QEMU'}, v86 ${about.v86 ?? 'none'}, ${about.processors} × ` +
    `${about.processor}, ${about.rounds} rounds, load ${Math.min(...loads).toFixed(1)} to ${Math.max(...loads).toFixed(1)}\n` +
    (options.cold ? 'Everything is translated anew. ' : '') +
    'Seconds by the guest (medians); ×: how many times as fast we are, by the guest and by processor time.\n\n' +
    table(summary) +
    (bootsWanted ? `${bootTable(boots)}\n` : ''),
);
if (options.markdown !== undefined) writeFileSync(options.markdown, markdown(summary, boots));
if (options.json !== undefined)
  writeFileSync(options.json, `${JSON.stringify({ about, ...summary, boots }, undefined, 1)}\n`);
