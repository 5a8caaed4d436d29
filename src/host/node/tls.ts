/**
 * TLS for chardevs by node:tls, with credentials laid out as QEMU expects them: for x509 a folder with `ca-cert.pem`,
 * `server-cert.pem`, `server-key.pem`, `client-cert.pem`, `client-key.pem`; for pre-shared keys `keys.psk`, a line
 * `NAME:HEX` for each user.
 */
import fs from 'node:fs';
import type net from 'node:net';
import { join } from 'node:path';
import type tls from 'node:tls';
import type { HostTls, TlsConfig } from '../../chardev/host.ts';
import { HostError, UsageError } from '../../core/errors.ts';
import { hostError } from './errors.ts';

/** GnuTLS's names for its defaults, which are OpenSSL's here. */
const DEFAULT_PRIORITIES = ['NORMAL', '@SYSTEM'];

/** Cipher suites with pre-shared keys, by OpenSSL's names for the groups. TLS 1.3 has none that Node offers. */
const PSK_CIPHERS = 'kECDHEPSK:kDHEPSK:kPSK';
const PSK_VERSION = 'TLSv1.2';

/** Bytes of the file with pre-shared keys: it is read whole. */
const MAX_KEYS = 1 << 20;

function read(dir: string, name: string): string {
  const path = join(dir, name);
  try {
    return fs.readFileSync(path, 'utf8');
  } catch (error) {
    throw hostError(`Unable to access credentials ${path}`, error);
  }
}

const readOptional = (dir: string, name: string): string | undefined =>
  fs.existsSync(join(dir, name)) ? read(dir, name) : undefined;

function x509({
  dir,
  endpoint,
  verifyPeer,
}: TlsConfig): tls.SecureContextOptions & tls.CommonConnectionOptions {
  const server = endpoint === 'server';
  const get = server ? read : readOptional;
  const ca = read(dir, 'ca-cert.pem');
  const cert = get(dir, `${endpoint}-cert.pem`);
  const key = get(dir, `${endpoint}-key.pem`);
  const crl = readOptional(dir, 'ca-crl.pem');
  return {
    ca,
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(crl === undefined ? {} : { crl }),
    requestCert: server && verifyPeer,
    rejectUnauthorized: verifyPeer,
  };
}

/** The keys by user, out of lines `NAME:HEX`; `#` starts a comment. */
function parseKeys(content: string): Map<string, Buffer> {
  if (content.length > MAX_KEYS) throw new HostError('keys.psk is too large');
  const keys = new Map<string, Buffer>();
  for (const line of content.split('\n')) {
    const match = /^([^#:][^:]*):([0-9a-fA-F]+)\s*$/.exec(line);
    if (match !== null) keys.set(match[1]!, Buffer.from(match[2]!, 'hex'));
  }
  return keys;
}

/** Loaded when the first credentials are: it takes longer than most of what else a start loads. */
function nodeTls(): typeof tls {
  return process.getBuiltinModule('node:tls');
}

export class NodeTls implements HostTls {
  readonly endpoint: 'client' | 'server';
  readonly #config: TlsConfig;
  readonly #options: tls.SecureContextOptions & tls.CommonConnectionOptions;
  readonly #keys: ReadonlyMap<string, Buffer> | undefined;

  /** Reads the files. @throws HostError, UsageError */
  constructor(config: TlsConfig) {
    this.endpoint = config.endpoint;
    this.#config = config;
    const { priority } = config;
    if (priority !== undefined && !DEFAULT_PRIORITIES.includes(priority))
      throw new UsageError(
        `priority '${priority}' is GnuTLS's language, which is not understood here: leave it out, or say NORMAL`,
      );
    if (config.type === 'tls-creds-psk') {
      this.#keys = parseKeys(read(config.dir, 'keys.psk'));
      this.#options = { ciphers: PSK_CIPHERS, minVersion: PSK_VERSION, maxVersion: PSK_VERSION };
      if (config.endpoint === 'client' && !this.#keys.has(config.username))
        throw new HostError(`No PSK found for ${config.username} in ${join(config.dir, 'keys.psk')}`);
    } else this.#options = x509(config);
    try {
      nodeTls().createSecureContext(this.#options);
    } catch (error) {
      throw hostError(`Unable to load credentials of ${config.dir}`, error);
    }
  }

  /** The client's side on a connected socket. @param name what the server's certificate must be for */
  connect(socket: net.Socket, name: string | undefined): Promise<tls.TLSSocket> {
    const { username } = this.#config;
    const key = this.#keys?.get(username);
    return new Promise((resolve, reject) => {
      const secure = nodeTls().connect({
        ...this.#options,
        socket,
        ...(name === undefined || key !== undefined ? {} : { host: name }),
        // A pre-shared key is proof by itself.
        ...(key === undefined ? {} : { pskCallback: () => ({ psk: key, identity: username }), host: '' }),
        ...(key === undefined ? {} : { checkServerIdentity: () => undefined }),
      });
      secure.once('error', reject);
      secure.once('secureConnect', () => {
        secure.off('error', reject);
        resolve(secure);
      });
    });
  }

  /** The server's side on a connection that came in. */
  accept(socket: net.Socket): Promise<tls.TLSSocket> {
    const keys = this.#keys;
    // A server that listens nowhere, for its handshake.
    const server = nodeTls().createServer({
      ...this.#options,
      ...(keys === undefined
        ? {}
        : { pskCallback: (_socket: tls.TLSSocket, name: string) => keys.get(name) ?? null }),
    });
    return new Promise((resolve, reject) => {
      server.once('secureConnection', resolve);
      server.once('tlsClientError', reject);
      socket.once('close', () => reject(new HostError('the client went away during the handshake')));
      server.emit('connection', socket);
    });
  }
}
