#!/usr/bin/env node
// Prints the verdict for each device-side normative statement of VIRTIO 1.4 about what is implemented: tested (a
// test whose title starts with the statement's id), not testable (docs/clauses-untestable.tsv: id, reason), or
// missing. `--all` adds driver-side statements and what is not implemented, `--missing` prints only what is missing.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const all = process.argv.includes('--all');
const onlyMissing = process.argv.includes('--missing');

// Sections of which we claim the device side.
const IMPLEMENTED = [
  /^Basic Facilities of a Virtio Device \/ (Device Status Field|Feature Bits|Device Reset|Device Configuration Space|Message Framing|Virtqueues)/,
  /^General Initialization And Device Operation/,
  /^Reserved Feature Bits/,
  /^Virtio Transport Options \/ Virtio Over (PCI Bus|MMIO)/,
  /^Device Types \/ (Entropy|Console|Block|Memory Balloon) Device/,
  /^Device Types \/ Network Device \/ Device configuration layout/,
  /^Device Types \/ Network Device \/ Device Operation \/ (Packet Transmission|Setting Up|Processing of Incoming)/,
  /^Device Types \/ Network Device \/ .*(Receive Filtering|MAC Address Filtering|VLAN Filtering|Gratuitous|Automatic receive)/,
];

function rows(file) {
  const text = readFileSync(join(root, file), 'utf8').trim();
  return text
    .split('\n')
    .slice(1)
    .map((line) => line.split('\t'));
}

function* testFiles(dir) {
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory() && entry.name !== 'node_modules') yield* testFiles(path);
    else if (entry.name.endsWith('.test.ts')) yield path;
  }
}

const clauses = rows('docs/virtio-clauses.tsv').map(([id, side, section, level]) => ({
  id,
  side,
  section,
  level,
}));
const known = new Set(clauses.map((clause) => clause.id));
const reasons = new Map(rows('docs/clauses-untestable.tsv').map(([id, reason]) => [id, reason]));

const tested = new Map();
const unknown = [];
for (const dir of ['src', 'test']) {
  for (const file of testFiles(join(root, dir))) {
    // A title: the first argument of a call, a string literal that starts with an id.
    for (const [, id] of readFileSync(file, 'utf8').matchAll(
      /\(\s*['"`]((?:dev|drv):[^#'"`\n]+#\d+)[ :'"`]/g,
    )) {
      const where = relative(root, file);
      if (!known.has(id)) unknown.push(`${where}: ${id}`);
      else tested.set(id, [...new Set([...(tested.get(id) ?? []), where])]);
    }
  }
}
for (const id of reasons.keys()) if (!known.has(id)) unknown.push(`docs/clauses-untestable.tsv: ${id}`);

const count = { tested: 0, 'not testable': 0, missing: 0, 'not implemented': 0 };
const lines = [];
for (const { id, side, section, level } of clauses) {
  const ours = side === 'dev' && IMPLEMENTED.some((pattern) => pattern.test(section));
  let verdict = 'missing';
  let detail = 'MISSING';
  if (tested.has(id)) [verdict, detail] = ['tested', `tested in ${tested.get(id).join(', ')}`];
  else if (reasons.has(id)) [verdict, detail] = ['not testable', `not testable: ${reasons.get(id)}`];
  else if (!ours) [verdict, detail] = ['not implemented', side === 'drv' ? 'driver side' : 'not implemented'];
  if (verdict === 'not implemented' && !all) continue;
  if (onlyMissing && verdict !== 'missing') continue;
  count[verdict]++;
  lines.push(`${id}\t${level}\t${detail}`);
}
if (lines.length > 0) process.stdout.write(`${lines.join('\n')}\n`);
const total = Object.entries(count).filter(([, n]) => n > 0);
process.stdout.write(`\n${total.map(([verdict, n]) => `${n} ${verdict}`).join(', ')}\n`);
for (const line of unknown) process.stderr.write(`no such statement: ${line}\n`);
if (count.missing > 0 || unknown.length > 0) process.exitCode = 1;
