/** Base64 (RFC 4648 §4) as QMP's arguments have it. */
import { QmpError } from './qmp/error.ts';

export function toBase64(data: Uint8Array): string {
  let text = '';
  for (const byte of data) text += String.fromCharCode(byte);
  return btoa(text);
}

export function fromBase64(text: string): Uint8Array {
  if (!/^[A-Za-z0-9+/\s]*={0,2}\s*$/.test(text))
    throw new QmpError('Base64 data contains invalid characters');
  try {
    return Uint8Array.from(atob(text.replace(/\s/g, '')), (letter) => letter.charCodeAt(0));
  } catch {
    throw new QmpError(`Base64 data '${text}' is not valid`);
  }
}
