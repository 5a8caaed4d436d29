/** `-object TYPE,id=`: things that devices refer to. */
import type { Property } from '../property.ts';

const ID = { name: 'id', type: 'str', required: true, help: 'Name for -device' } as const;

export interface ObjectType {
  readonly name: string;
  readonly properties: readonly Property[];
  readonly help: string;
}

const TLS = [
  ID,
  { name: 'dir', type: 'str', help: 'Folder of the files' },
  {
    name: 'endpoint',
    type: 'enum',
    values: ['client', 'server'],
    default: 'client',
    help: 'Which side they are for',
  },
  { name: 'verify-peer', type: 'bool', default: true, help: 'The other side has to prove who it is' },
  { name: 'priority', type: 'str', help: 'GnuTLS priority string; only NORMAL and @SYSTEM are understood' },
] as const;

export const OBJECT_TYPES = [
  { name: 'rng-builtin', properties: [ID], help: "The host's generator of random numbers" },
  {
    name: 'rng-random',
    properties: [
      ID,
      {
        name: 'filename',
        type: 'str',
        shownType: 'string',
        default: '/dev/urandom',
        help: 'File with random bytes',
      },
    ],
    help: 'Random numbers out of a file',
  },
  {
    name: 'filter-dump',
    properties: [
      ID,
      { name: 'netdev', type: 'str', required: true, help: 'Back end whose frames are written' },
      { name: 'file', type: 'str', required: true, help: 'File that Wireshark opens' },
      { name: 'maxlen', type: 'uint32', default: 65536, help: 'Bytes kept of a frame' },
      {
        name: 'queue',
        type: 'enum',
        values: ['all', 'rx', 'tx'],
        default: 'all',
        help: 'Which frames: rx is what the guest sends, tx what it receives',
      },
      { name: 'status', type: 'enum', values: ['on', 'off'], default: 'on', help: 'Whether it writes' },
    ],
    help: 'Writes frames to a file',
  },
  {
    name: 'iothread',
    properties: [
      ID,
      { name: 'poll-max-ns', type: 'uint64', help: 'Busy polling', ignored: 'one thread for now' },
    ],
    help: 'A thread for input and output; accepted, the one thread does the work',
  },
  {
    name: 'tls-creds-x509',
    properties: [
      ...TLS,
      { name: 'sanity-check', type: 'bool', help: 'Check the certificates', ignored: 'OpenSSL checks them' },
      { name: 'passwordid', type: 'str', help: "Id of the secret with the key's password; refused" },
    ],
    help: 'Keys and certificates for TLS: `ca-cert.pem`, `server-cert.pem`, `server-key.pem`, … in a folder',
  },
  {
    name: 'tls-creds-psk',
    properties: [
      ...TLS,
      { name: 'username', type: 'str', default: 'qemu', help: 'Name that a client gives' },
    ],
    help: 'Pre-shared keys for TLS: `keys.psk` in a folder',
  },
] as const satisfies readonly ObjectType[];
