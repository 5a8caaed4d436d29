/**
 * `npm run test:fedora`: the test plan of Fedora's virtio-serial feature page and every path of a port (paths.ts), on
 * the Debian guest, under QEMU's translator as the reference and under Paravane, for each number of processors that
 * Paravane has. Prints a table of verdicts and what differs; exit status 1 when Paravane fails anything.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runPlan } from './plan.ts';
import { runPaths } from './run-paths.ts';
import { buildAgent, type Peer, scratchFolder } from './vm.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    smp: { type: 'string', default: '1,2,4' },
    peers: { type: 'string', default: 'qemu,paravane' },
    only: { type: 'string', default: 'plan,paths' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  process.stdout.write(
    `npm run test:fedora -- [--minutes N] [--smp LIST] [--peers LIST] [--only plan|paths]
  --minutes  of eight ports in both directions (10)
  --smp      numbers of processors (1,2,4); those that Paravane does not have are left out
  --peers    qemu,paravane\n`,
  );
  process.exit(0);
}
const minutes = Number(values.minutes);
if (!(minutes > 0)) {
  process.stderr.write(`test:fedora: --minutes is '${values.minutes}', but must be a number above 0\n`);
  process.exit(2);
}

const say = (text: string): void => void process.stderr.write(`${text}\n`);
const folder = scratchFolder();
const { ensureGuest } = (await import(
  join(process.cwd(), 'dist/index.js')
)) as typeof import('../../src/index.ts');
const guest = await ensureGuest('debian', { progress: say });
const agent = buildAgent(folder);
if (agent === undefined) {
  say('test:fedora: gcc is needed to build the program for the guest');
  process.exit(1);
}
const peers = values.peers.split(',') as Peer[];
if (peers.includes('qemu') && spawnSync('qemu-system-x86_64', ['--version']).status !== 0) {
  say('qemu-system-x86_64 is not installed: without the reference only expectations are compared');
  peers.splice(peers.indexOf('qemu'), 1);
}

/** What Paravane says of `-smp N`; undefined when it has them. */
function refusal(smp: number): string | undefined {
  const line = ['dist/cli/main.js', '-smp', String(smp), '-kernel', '/nonexistent', '-display', 'none'];
  const { stderr } = spawnSync(process.execPath, line, { encoding: 'utf8' });
  return /-smp.*/.exec(stderr)?.[0];
}

interface Row {
  readonly name: string;
  readonly verdicts: Partial<Record<Peer, string>>;
  readonly figures: string[];
  /** What both saw, when it was not the same. */
  readonly differences: string[];
}

const rows: Row[] = [];
const notes: string[] = [];
for (const smp of values.smp.split(',').map(Number)) {
  const refused = refusal(smp);
  if (refused !== undefined) {
    notes.push(`not run: ${refused}`);
    continue;
  }
  const found = new Map<string, Row>();
  const row = (name: string): Row => {
    const key = `-smp ${smp}  ${name}`;
    const next = found.get(key) ?? { name: key, verdicts: {}, figures: [], differences: [] };
    found.set(key, next);
    return next;
  };
  const seen = new Map<string, Record<string, unknown>>();
  for (const peer of peers) {
    if (values.only.includes('plan'))
      for (const { name, verdict, figure } of await runPlan({
        ...{ peer, smp, guest, agent, folder, minutes },
        progress: say,
      })) {
        row(name).verdicts[peer] = verdict;
        if (figure !== undefined) row(name).figures.push(`${peer} ${figure}`);
      }
    if (values.only.includes('paths'))
      for (const result of await runPaths({ ...{ peer, smp, guest, agent, folder }, progress: say })) {
        const here = row(result.name);
        here.verdicts[peer] = result.wrong.length === 0 ? 'ok' : result.wrong.join('; ');
        const there = seen.get(result.name);
        if (there === undefined) seen.set(result.name, result.seen);
        else
          for (const what of new Set([...Object.keys(there), ...Object.keys(result.seen)]))
            if (there[what] !== result.seen[what])
              here.differences.push(
                `${what}: ${peers[0]} ${String(there[what])}, ${peer} ${String(result.seen[what])}`,
              );
      }
  }
  rows.push(...found.values());
}

const short = (verdict: string | undefined): string =>
  verdict === undefined ? '-' : verdict === 'ok' ? 'ok' : 'WRONG';
const width = Math.max(...rows.map(({ name }) => name.length));
process.stdout.write(`\n${'check'.padEnd(width)}  ${peers.map((peer) => peer.padEnd(9)).join('')}\n`);
for (const { name, verdicts, figures, differences } of rows) {
  const columns = peers.map((peer) => short(verdicts[peer]).padEnd(9)).join('');
  process.stdout.write(`${name.padEnd(width)}  ${columns} ${figures.join(', ')}`.trimEnd());
  process.stdout.write('\n');
  for (const peer of peers)
    if (short(verdicts[peer]) === 'WRONG')
      process.stdout.write(`    ${peer}: ${verdicts[peer]!.replaceAll('\n', '\n      ')}\n`);
  for (const difference of differences) process.stdout.write(`    differs: ${difference}\n`);
}
for (const note of notes) process.stdout.write(`${note}\n`);
const bad = (peer: Peer): number => rows.filter(({ verdicts }) => short(verdicts[peer]) !== 'ok').length;
process.stdout.write(
  `\n${rows.length} checks; ${peers.map((peer) => `${peer}: ${bad(peer)} wrong`).join(', ')}\n`,
);
const failed = peers.includes('paravane') && bad('paravane') > 0;
process.exit(rows.length === 0 || failed || rows.some((each) => each.differences.length > 0) ? 1 : 0);
