/** Files of -kernel and -initrd: read again at each reset, and kept only where that is not possible. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { nodeMachineHost } from './machine-host.ts';

const folder = mkdtempSync(join(tmpdir(), 'paravane-open-'));
afterAll(() => rmSync(folder, { recursive: true }));
const host = nodeMachineHost(() => {});
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

it('a file that has been deleted can be read again', async () => {
  const path = join(folder, 'kernel');
  writeFileSync(path, 'first');
  const file = await host.openFile(path);
  expect(text(await file.read())).toBe('first');
  rmSync(path);
  expect(text(await file.read())).toBe('first');
  await file.close();
});

it('a pipe is read once and kept', async () => {
  const path = join(folder, 'pipe');
  expect(spawnSync('mkfifo', [path]).status).toBe(0);
  const writer = spawnSync('sh', ['-c', `echo piped >'${path}' &`], { stdio: 'ignore' });
  expect(writer.status).toBe(0);
  const file = await host.openFile(path);
  expect(text(await file.read())).toBe('piped\n');
  expect(text(await file.read())).toBe('piped\n');
  await file.close();
});

it('says what is wrong', async () => {
  const missing = join(folder, 'missing');
  await expect(host.openFile(missing)).rejects.toThrow(
    `Could not open '${missing}': No such file or directory`,
  );
  await expect(host.openFile(folder)).rejects.toThrow(`Could not open '${folder}': Is a directory`);
});
