/** `-netdev tap` against the kernel: datagrams to and from a socket. Needs root, iproute2 and /dev/net/tun. */
import { execFileSync } from 'node:child_process';
import dgram from 'node:dgram';
import { existsSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import type { NetFrontend } from '../../net/netdev.ts';
import { NO_CAPS } from '../../net/offload.ts';
import { TapNetdev } from '../../net/tap.ts';
import { ETHERTYPE, parseEthernet, serializeEthernet } from '../../net/wire/ethernet.ts';
import { parseIpv4, parseUdp, serializeIpv4, serializeUdp } from '../../net/wire/ipv4.ts';
import { libc } from './libc.ts';
import { linuxTapHost } from './tap.ts';

const NAME = `pvt${process.pid % 100000}`;
const MAC = Uint8Array.of(0x52, 0x54, 0, 1, 2, 3);
/** 198.51.100.1 is the kernel's end (RFC 5737), 198.51.100.2 ours. */
const THEIRS = 0xc6336401;
const OURS = 0xc6336402;

const usable =
  process.getuid?.() === 0 && existsSync('/dev/net/tun') && libc() !== undefined && existsSync('/sbin/ip');
const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: 'pipe' });

describe.runIf(usable)('a TAP interface', () => {
  let net: TapNetdev | undefined;

  afterEach(async () => {
    await net?.close();
    net = undefined;
  });

  it('carries frames both ways', { timeout: 20_000 }, async () => {
    net = TapNetdev.open('t0', { ifname: NAME, script: 'no', downscript: 'no' }, linuxTapHost, () => {});
    expect(net.describe()).toBe(`index=0,type=tap,ifname=${NAME},script=no,downscript=no`);
    ip('addr', 'add', '198.51.100.1/24', 'dev', NAME);
    ip('link', 'set', NAME, 'up');
    ip('neigh', 'replace', '198.51.100.2', 'lladdr', '52:54:00:01:02:03', 'dev', NAME);
    const socket = dgram.createSocket('udp4');
    const heard = new Promise<string>((resolve) => socket.on('message', (data) => resolve(data.toString())));
    try {
      await new Promise<void>((resolve) => socket.bind(0, '198.51.100.1', resolve));
      // Frames to us, and the kernel's Ethernet address from them.
      const sent = new Promise<Uint8Array>((resolve) => {
        const card: NetFrontend = {
          rxCaps: NO_CAPS,
          receive: (frame) => {
            if (parseEthernet(frame)?.type === ETHERTYPE.IPV4) resolve(frame.slice());
            return true;
          },
          linkChanged() {},
        };
        net!.attach(card);
      });
      socket.send('to the guest', 9, '198.51.100.2');
      const ethernet = parseEthernet(await sent)!;
      expect([...ethernet.destination]).toEqual([...MAC]);
      const datagram = parseUdp(parseIpv4(ethernet.payload)!.payload, THEIRS, OURS, true);
      expect(new TextDecoder().decode(datagram!.payload)).toBe('to the guest');
      // And back, to the port that it came from.
      const payload = serializeUdp(
        {
          sourcePort: 9,
          destinationPort: datagram!.sourcePort,
          payload: new TextEncoder().encode('to the host'),
        },
        OURS,
        THEIRS,
      );
      const packet = serializeIpv4({
        ...parseIpv4(ethernet.payload)!,
        source: OURS,
        destination: THEIRS,
        payload,
      });
      net.send(
        serializeEthernet({
          destination: ethernet.source,
          source: MAC,
          type: ETHERTYPE.IPV4,
          payload: packet,
        }),
      );
      expect(await heard).toBe('to the host');
    } finally {
      socket.close();
    }
  });

  it('that is taken, or a descriptor that is none, is refused with the reason', () => {
    net = TapNetdev.open('t0', { ifname: NAME, script: 'no', downscript: 'no' }, linuxTapHost, () => {});
    const open = (values: Record<string, string>) => () =>
      TapNetdev.open('t1', values, linuxTapHost, () => {});
    expect(open({ ifname: NAME, script: 'no' })).toThrow('Device or resource busy');
    expect(open({ fd: '0' })).toThrow("Can't use file descriptor 0");
    expect(open({ ifname: `${NAME}x`, script: '/nonexistent/up' })).toThrow('network script');
  });
});

it('what would need another process or the kernel is refused by name', () => {
  const open = (values: Record<string, string | boolean>) => () =>
    TapNetdev.open('t', values, linuxTapHost, () => {});
  expect(open({ vhost: true })).toThrow('there is no vhost');
  expect(open({ helper: '/x' })).toThrow('a bridge helper is not available yet');
  expect(open({ fd: '3', script: 'no' })).toThrow('are invalid with fd=');
});
