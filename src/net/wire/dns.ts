/** DNS messages (RFC 1035 §4), as far as a forwarder that sometimes answers by itself needs them. */
import { get16, get32, put16, put32 } from './bytes.ts';

export const DNS_TYPE = { A: 1, AAAA: 28 } as const;
export const DNS_RCODE = { OK: 0, SERVER_FAILURE: 2, NAME_ERROR: 3 } as const;
export const DNS_FLAG = { RESPONSE: 0x8000, RECURSION_DESIRED: 0x0100, RECURSION_AVAILABLE: 0x0080 } as const;
const CLASS_IN = 1;
const HEADER = 12;
/** RFC 1035 §2.3.4. */
const MAX_LABEL = 63;
const MAX_NAME = 255;
/** A message has few questions (in practice one) and here few answers: more is not looked at. */
const MAX_RECORDS = 64;

export interface DnsQuestion {
  /** Without the last dot. Bytes outside printable ASCII as they are (Latin-1). */
  readonly name: string;
  readonly type: number;
}

export interface DnsAnswer extends DnsQuestion {
  /** Seconds. */
  readonly ttl: number;
  readonly data: Uint8Array;
}

export interface DnsMessage {
  readonly id: number;
  readonly flags: number;
  readonly questions: readonly DnsQuestion[];
  readonly answers: readonly DnsAnswer[];
}

/** Undefined when the header, a question or an answer is malformed. Authority and further records are ignored. */
export function parseDns(data: Uint8Array): DnsMessage | undefined {
  if (data.length < HEADER) return undefined;
  const questionCount = get16(data, 4);
  const answerCount = get16(data, 6);
  if (questionCount > MAX_RECORDS || answerCount > MAX_RECORDS) return undefined;
  let at = HEADER;
  const questions: DnsQuestion[] = [];
  for (let i = 0; i < questionCount; i++) {
    const name = readName(data, at);
    if (name === undefined || name.end + 4 > data.length) return undefined;
    questions.push({ name: name.text, type: get16(data, name.end) });
    at = name.end + 4;
  }
  const answers: DnsAnswer[] = [];
  for (let i = 0; i < answerCount; i++) {
    const name = readName(data, at);
    if (name === undefined || name.end + 10 > data.length) return undefined;
    const length = get16(data, name.end + 8);
    const start = name.end + 10;
    if (start + length > data.length) return undefined;
    answers.push({
      name: name.text,
      type: get16(data, name.end),
      ttl: get32(data, name.end + 4),
      data: data.subarray(start, start + length),
    });
    at = start + length;
  }
  return { id: get16(data, 0), flags: get16(data, 2), questions, answers };
}

/** RFC 1035 §4.1.4: labels, or a pointer to earlier ones. Pointers only go back, so that none can loop. */
function readName(data: Uint8Array, from: number): { text: string; end: number } | undefined {
  const labels: string[] = [];
  let length = 0;
  let end = -1;
  let at = from;
  let limit = from;
  for (;;) {
    if (at >= data.length) return undefined;
    const size = data[at]!;
    if (size === 0) break;
    if ((size & 0xc0) === 0xc0) {
      if (at + 2 > data.length) return undefined;
      const target = get16(data, at) & 0x3fff;
      if (target >= limit) return undefined;
      if (end < 0) end = at + 2;
      at = limit = target;
      continue;
    }
    length += size + 1;
    if (size > MAX_LABEL || length > MAX_NAME || at + 1 + size > data.length) return undefined;
    labels.push(String.fromCharCode(...data.subarray(at + 1, at + 1 + size)));
    at += 1 + size;
  }
  return { text: labels.join('.'), end: end < 0 ? at + 1 : end };
}

export function serializeDns(message: DnsMessage): Uint8Array {
  const parts: Uint8Array[] = [new Uint8Array(HEADER)];
  put16(parts[0]!, 0, message.id);
  put16(parts[0]!, 2, message.flags);
  put16(parts[0]!, 4, message.questions.length);
  put16(parts[0]!, 6, message.answers.length);
  for (const question of message.questions) {
    const tail = new Uint8Array(4);
    put16(tail, 0, question.type);
    put16(tail, 2, CLASS_IN);
    parts.push(writeName(question.name), tail);
  }
  for (const answer of message.answers) {
    const tail = new Uint8Array(10);
    put16(tail, 0, answer.type);
    put16(tail, 2, CLASS_IN);
    put32(tail, 4, answer.ttl);
    put16(tail, 8, answer.data.length);
    parts.push(writeName(answer.name), tail, answer.data);
  }
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The labels of a name that `parseDns` gave, or of a name that is known to be short enough. */
export function writeName(name: string): Uint8Array {
  const bytes: number[] = [];
  for (const label of name === '' ? [] : name.split('.')) {
    bytes.push(label.length, ...Array.from(label, (char) => char.charCodeAt(0)));
  }
  return Uint8Array.from([...bytes, 0]);
}
