/**
 * QMP examples out of QEMU's reference: lines that begin with `->` are sent, with `<-` received. Reads the sources of
 * that reference (`qapi/*.json`), where they stand in comments, and plain text alike. Nothing of it is kept here.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Message } from './rig.ts';

/** What is sent, in order: messages that follow one another belong together. */
export interface Example {
  /** File and line of its first message. */
  readonly where: string;
  readonly sent: readonly Message[];
}

/** Where the reference is: a folder of `qapi` that the user names, or the cache. */
export function referenceFolder(): string | undefined {
  const given = process.env['QEMU_QAPI'];
  const folders = [
    ...(given === undefined ? [] : [given]),
    join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'paravane', 'qemu-qapi'),
  ];
  return folders.find((folder) => existsSync(folder));
}

export function readExamples(folder: string): Example[] {
  return readdirSync(folder)
    .filter((file) => /\.(json|rst|txt)$/.test(file))
    .sort()
    .flatMap((file) => parseExamples(readFileSync(join(folder, file), 'utf8'), file));
}

/** Text that is no JSON (`...` stands for what was left out) is no example. */
export function parseExamples(text: string, file: string): Example[] {
  const examples: Example[] = [];
  let sent: Message[] = [];
  let where = '';
  let message: string | undefined;
  const endMessage = (): void => {
    const parsed = message === undefined ? undefined : parse(message);
    if (parsed !== undefined) sent.push(parsed);
    message = undefined;
  };
  const endExample = (): void => {
    endMessage();
    if (sent.length > 0) examples.push({ where, sent });
    sent = [];
  };
  // An example goes on over empty lines, to the end of its comment or to the next heading.
  text.split('\n').forEach((line, index) => {
    const content = line.replace(/^\s*#? ?/, '').trim();
    if (/^\s*##/.test(line) || /^[A-Za-z0-9@=].*:$/.test(content)) return endExample();
    if (content === '') return endMessage();
    const [, arrow, rest = ''] = /^(->|<-)\s*(.*)$/.exec(content) ?? [];
    if (arrow !== undefined) endMessage();
    if (arrow === '->') {
      if (sent.length === 0) where = `${file}:${index + 1}`;
      message = rest;
    } else if (arrow === undefined && message !== undefined) message += ` ${content}`;
  });
  endExample();
  return examples;
}

function parse(text: string): Message | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && 'execute' in value ? (value as Message) : undefined;
  } catch {
    return undefined;
  }
}
