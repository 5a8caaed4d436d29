import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { findHeaders } from './headers.ts';
import type { Offload } from './netdev.ts';
import {
  ALL_CAPS,
  addSum,
  completeChecksum,
  FINISHED,
  finish,
  foldSum,
  NO_CAPS,
  pseudoSum,
  segment,
  takes,
} from './offload.ts';

interface Shape {
  version?: 4 | 6;
  vlan?: boolean;
  options?: number;
  tcpOptions?: number;
  flags?: number;
}

const ETH = 14;

/** A TCP frame whose checksum holds the pseudo header's sum only, as a driver with CSUM sends it. */
function tcp(payload: Uint8Array, shape: Shape = {}): { frame: Uint8Array; offload: Offload } {
  const { version = 4, vlan = false, options = 0, tcpOptions = 0, flags = 0x18 } = shape;
  const l3 = ETH + (vlan ? 4 : 0);
  const l4 = l3 + (version === 4 ? 20 + options : 40 + options);
  const data = l4 + 20 + tcpOptions;
  const frame = new Uint8Array(data + payload.length);
  const view = new DataView(frame.buffer);
  frame.set([0x52, 0x54, 0, 0x12, 0x34, 0x56, 0x52, 0x55, 10, 0, 2, 2]);
  if (vlan) {
    view.setUint16(12, 0x8100);
    view.setUint16(14, 7);
  }
  view.setUint16(l3 - 2, version === 4 ? 0x0800 : 0x86dd);
  if (version === 4) {
    frame[l3] = 0x40 | ((20 + options) / 4);
    view.setUint16(l3 + 2, frame.length - l3);
    view.setUint16(l3 + 4, 0xfffe);
    frame.set([64, 6], l3 + 8);
    frame.set([10, 0, 2, 15, 10, 0, 2, 2], l3 + 12);
    frame.fill(1, l3 + 20, l4);
  } else {
    frame[l3] = 0x60;
    view.setUint16(l3 + 4, frame.length - l3 - 40);
    frame[l3 + 6] = options > 0 ? 60 : 6;
    frame.set([0xfe, 0x80], l3 + 8);
    frame.set([0xfe, 0xc0, 0, 1], l3 + 24);
    if (options > 0) frame.set([6, options / 8 - 1], l3 + 40);
  }
  view.setUint16(l4, 1234);
  view.setUint16(l4 + 2, 80);
  view.setUint32(l4 + 4, 0xfffffff0);
  frame[l4 + 12] = ((20 + tcpOptions) / 4) << 4;
  frame[l4 + 13] = flags;
  frame.set(payload, data);
  const headers = findHeaders(frame)!;
  const sum = pseudoSum(frame, headers, frame.length - l4);
  view.setUint16(l4 + 16, ~foldSum(sum) & 0xffff);
  const offload: Offload = {
    needsCsum: true,
    csumStart: l4,
    csumOffset: 16,
    gso: version === 4 ? 'tcp4' : 'tcp6',
    gsoSize: 1000,
    hdrLen: data,
    dataValid: false,
  };
  return { frame, offload };
}

/** True when IPv4 header (if any) and transport checksums are right. */
function checksumsHold(frame: Uint8Array): boolean {
  const headers = findHeaders(frame)!;
  const ip = headers.version === 6 || foldSum(addSum(frame, headers.l3, headers.l4)) === 0;
  const sum = addSum(frame, headers.l4, frame.length, pseudoSum(frame, headers, frame.length - headers.l4));
  return ip && foldSum(sum) === 0;
}

const collect = (frame: Uint8Array, offload: Offload, caps = NO_CAPS) => {
  const parts: Uint8Array[] = [];
  const ok = finish(frame, offload, caps, (part) => parts.push(part.slice()));
  return { ok, parts };
};

describe('checksums', () => {
  test("RFC 1071's example", () => {
    const data = new Uint8Array([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
    expect(foldSum(addSum(data, 0, 8))).toBe(~0xddf2 & 0xffff);
  });

  test('odd lengths and any cut at an even place give the same sum', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(300), (data, cut) => {
        const at = Math.min(cut, data.length) & ~1;
        const whole = foldSum(addSum(data, 0, data.length));
        expect(foldSum(addSum(data, at, data.length, addSum(data, 0, at)))).toBe(whole);
      }),
    );
    expect(foldSum(addSum(new Uint8Array(70001).fill(0xff), 0, 70001))).toBe(
      foldSum(addSum(new Uint8Array([0xff, 0]), 0, 2)),
    );
  });

  test('a partial checksum is completed, and the frame given is left alone', () => {
    const { frame, offload } = tcp(new Uint8Array(101).fill(7));
    const plain: Offload = { ...offload, gso: 'none', gsoSize: 0 };
    const before = frame.slice();
    const { ok, parts } = collect(frame, plain);
    expect(ok).toBe(true);
    expect(frame).toEqual(before);
    // The IPv4 header of the test has no checksum: the transport's counts here.
    const headers = findHeaders(parts[0]!)!;
    const sum = pseudoSum(parts[0]!, headers, parts[0]!.length - headers.l4);
    expect(foldSum(addSum(parts[0]!, headers.l4, parts[0]!.length, sum))).toBe(0);
  });

  test('a checksum outside the frame is refused', () => {
    const frame = new Uint8Array(60);
    for (const [csumStart, csumOffset] of [
      [58, 1],
      [0xffff, 0xffff],
      [60, 0],
    ]) {
      const offload: Offload = {
        ...FINISHED,
        needsCsum: true,
        csumStart: csumStart!,
        csumOffset: csumOffset!,
      };
      expect(completeChecksum(frame, offload)).toBe(false);
      expect(collect(frame, offload)).toEqual({ ok: false, parts: [] });
    }
  });
});

describe('segmentation', () => {
  const payload = new Uint8Array(2500).map((_, i) => i * 31);

  for (const [name, shape] of Object.entries<Shape>({
    IPv4: {},
    'IPv4 with options, VLAN tag and timestamps': { options: 8, vlan: true, tcpOptions: 12 },
    IPv6: { version: 6 },
    'IPv6 with an extension header': { version: 6, options: 16, tcpOptions: 12 },
  })) {
    test(`${name}: TCP is cut into frames that are complete`, () => {
      const { frame, offload } = tcp(payload, { ...shape, flags: 0x99 });
      const { ok, parts } = collect(frame, offload);
      expect(ok).toBe(true);
      expect(parts.length).toBe(3);
      const joined: number[] = [];
      for (const [i, part] of parts.entries()) {
        const { l3, l4, payload: data } = findHeaders(part)!;
        const view = new DataView(part.buffer);
        expect(checksumsHold(part)).toBe(true);
        expect(view.getUint32(l4 + 4)).toBe((0xfffffff0 + i * 1000) >>> 0);
        // CWR on the first, PSH and FIN on the last, ACK on all.
        expect(part[l4 + 13]).toBe([0x90, 0x10, 0x19][i]);
        if ((shape.version ?? 4) === 4) {
          expect(view.getUint16(l3 + 2)).toBe(part.length - l3);
          expect(view.getUint16(l3 + 4)).toBe((0xfffe + i) & 0xffff);
        } else expect(view.getUint16(l3 + 4)).toBe(part.length - l3 - 40);
        joined.push(...part.subarray(data));
      }
      expect(Uint8Array.from(joined)).toEqual(payload);
    });
  }

  test('UDP is cut into IP fragments with one checksum', () => {
    const { frame } = tcp(payload);
    const l3 = ETH;
    const l4 = l3 + 20;
    frame[l3 + 9] = 17;
    const udp: Offload = {
      ...FINISHED,
      needsCsum: true,
      csumStart: l4,
      csumOffset: 6,
      gso: 'udp',
      gsoSize: 1484,
    };
    const { ok, parts } = collect(frame, udp);
    expect(ok).toBe(true);
    const body: number[] = [];
    for (const [i, part] of parts.entries()) {
      const view = new DataView(part.buffer);
      expect(foldSum(addSum(part, l3, l4))).toBe(0);
      expect(view.getUint16(l3 + 6)).toBe((i === parts.length - 1 ? 0 : 0x2000) | ((i * 1480) >> 3));
      body.push(...part.subarray(l4));
    }
    const whole = Uint8Array.from([...frame.subarray(0, l4), ...body]);
    const headers = findHeaders(whole)!;
    expect(foldSum(addSum(whole, l4, whole.length, pseudoSum(whole, headers, body.length)))).toBe(0);
  });

  test('UDP over IPv6 gets fragment headers', () => {
    const { frame } = tcp(payload, { version: 6 });
    const l4 = ETH + 40;
    frame[ETH + 6] = 17;
    const udp: Offload = {
      ...FINISHED,
      needsCsum: true,
      csumStart: l4,
      csumOffset: 6,
      gso: 'udp',
      gsoSize: 1448,
    };
    const { ok, parts } = collect(frame, udp);
    expect(ok).toBe(true);
    expect(parts.map((part) => part[ETH + 6])).toEqual([44, 44]);
    expect(parts.map((part) => ((part[l4 + 2]! << 8) | part[l4 + 3]!) >>> 0)).toEqual([1, 1448]);
    expect(parts[0]!.subarray(l4 + 4, l4 + 8)).toEqual(parts[1]!.subarray(l4 + 4, l4 + 8));
  });

  test('what is not what it says is refused', () => {
    const { frame, offload } = tcp(payload);
    const refuse = (bad: Uint8Array, how: Partial<Offload>) =>
      expect(segment(bad, { ...offload, ...how }, () => expect.unreachable())).toBe(false);
    refuse(frame, { gsoSize: 0 });
    refuse(frame, { gso: 'tcp6' });
    refuse(frame, { gso: 'udp' });
    refuse(frame, { gsoSize: 1 });
    refuse(frame.subarray(0, 40), {});
    const fragment = frame.slice();
    fragment[ETH + 6] = 0x20;
    refuse(fragment, {});
    const shortHeader = frame.slice();
    shortHeader[ETH + 20 + 12] = 0x40;
    refuse(shortHeader, {});
  });

  test('nothing a guest sends makes it throw or emit without end', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.constantFrom('tcp4', 'tcp6', 'udp', 'none') as fc.Arbitrary<Offload['gso']>,
        fc.nat(0xffff),
        fc.nat(0xffff),
        fc.constantFrom(0x0800, 0x86dd, 0x8100),
        (frame, gso, gsoSize, csumStart, type) => {
          if (frame.length > 14) {
            frame[12] = type >> 8;
            frame[13] = type & 0xff;
            frame[14] = type === 0x86dd ? 0x60 : 0x45;
          }
          let emitted = 0;
          const offload: Offload = { ...FINISHED, needsCsum: true, csumStart, csumOffset: 16, gso, gsoSize };
          finish(frame, offload, NO_CAPS, () => emitted++);
          expect(emitted).toBeLessThanOrEqual(200);
        },
      ),
      { numRuns: 500 },
    );
  });

  test('a party that can takes the frame as it is', () => {
    const { frame, offload } = tcp(payload);
    expect(takes(ALL_CAPS, offload)).toBe(true);
    expect(takes({ ...ALL_CAPS, csum: false }, offload)).toBe(false);
    expect(takes({ ...ALL_CAPS, tso4: false }, offload)).toBe(false);
    expect(takes(NO_CAPS, FINISHED)).toBe(true);
    let same = false;
    finish(frame, offload, ALL_CAPS, (part) => {
      same = part === frame;
    });
    expect(same).toBe(true);
  });
});
