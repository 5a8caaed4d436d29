import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { CLAUSE } from './clauses.ts';

it('names statements that the specification has', () => {
  const rows = readFileSync(new URL('../../docs/virtio-clauses.tsv', import.meta.url), 'utf8').split('\n');
  const ids = new Set(rows.map((row) => row.split('\t')[0]));
  expect(Object.values(CLAUSE).filter((id) => !ids.has(id))).toEqual([]);
});
