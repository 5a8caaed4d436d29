/** DHCP messages (RFC 2131 §2) and their options (RFC 2132), as carried in UDP between ports 68 and 67. */
import { get16, get32, put16, put32 } from './bytes.ts';

export const DHCP_PORT = { SERVER: 67, CLIENT: 68 } as const;
export const DHCP_TYPE = {
  DISCOVER: 1,
  OFFER: 2,
  REQUEST: 3,
  DECLINE: 4,
  ACK: 5,
  NAK: 6,
  RELEASE: 7,
  INFORM: 8,
} as const;
export const DHCP_OPTION = {
  PAD: 0,
  SUBNET_MASK: 1,
  ROUTER: 3,
  DNS: 6,
  HOST_NAME: 12,
  DOMAIN_NAME: 15,
  REQUESTED_ADDRESS: 50,
  LEASE_TIME: 51,
  MESSAGE_TYPE: 53,
  SERVER_ID: 54,
  DOMAIN_SEARCH: 119,
  END: 255,
} as const;

const FIXED = 236;
const COOKIE = 0x63825363;
/** RFC 951: BOOTP messages have 64 bytes behind the fixed part; some clients drop shorter ones. */
const MIN_LENGTH = 300;

export interface DhcpMessage {
  /** 1: from a client, 2: from a server. */
  readonly op: number;
  readonly transaction: number;
  readonly seconds: number;
  readonly broadcast: boolean;
  readonly clientAddress: number;
  readonly yourAddress: number;
  readonly serverAddress: number;
  readonly relayAddress: number;
  readonly clientMac: Uint8Array;
  readonly options: ReadonlyMap<number, Uint8Array>;
}

/** Undefined when it is not a DHCP or BOOTP message of an Ethernet client. */
export function parseDhcp(data: Uint8Array): DhcpMessage | undefined {
  if (data.length < FIXED || data[1] !== 1 || data[2] !== 6) return undefined;
  const options = new Map<number, Uint8Array>();
  if (data.length >= FIXED + 4 && get32(data, FIXED) === COOKIE) {
    for (let at = FIXED + 4; at < data.length; ) {
      const code = data[at]!;
      if (code === DHCP_OPTION.END) break;
      if (code === DHCP_OPTION.PAD) {
        at++;
        continue;
      }
      if (at + 2 > data.length || at + 2 + data[at + 1]! > data.length) return undefined;
      const value = data.subarray(at + 2, at + 2 + data[at + 1]!);
      const before = options.get(code);
      // RFC 3396: an option that comes again continues the one before.
      options.set(code, before === undefined ? value : Uint8Array.from([...before, ...value]));
      at += 2 + value.length;
    }
  }
  return {
    op: data[0]!,
    transaction: get32(data, 4),
    seconds: get16(data, 8),
    broadcast: (get16(data, 10) & 0x8000) !== 0,
    clientAddress: get32(data, 12),
    yourAddress: get32(data, 16),
    serverAddress: get32(data, 20),
    relayAddress: get32(data, 24),
    clientMac: data.subarray(28, 34),
    options,
  };
}

export function serializeDhcp(message: DhcpMessage): Uint8Array {
  const parts: number[] = [];
  for (const [code, value] of message.options) {
    for (let at = 0; at === 0 || at < value.length; at += 255) {
      const part = value.subarray(at, at + 255);
      parts.push(code, part.length, ...part);
    }
  }
  parts.push(DHCP_OPTION.END);
  const bytes = new Uint8Array(Math.max(MIN_LENGTH, FIXED + 4 + parts.length));
  bytes[0] = message.op;
  bytes[1] = 1;
  bytes[2] = 6;
  put32(bytes, 4, message.transaction);
  put16(bytes, 8, message.seconds);
  put16(bytes, 10, message.broadcast ? 0x8000 : 0);
  put32(bytes, 12, message.clientAddress);
  put32(bytes, 16, message.yourAddress);
  put32(bytes, 20, message.serverAddress);
  put32(bytes, 24, message.relayAddress);
  bytes.set(message.clientMac, 28);
  put32(bytes, FIXED, COOKIE);
  bytes.set(parts, FIXED + 4);
  return bytes;
}
