/** Frames by hand, against RFC 6455 §5; a client that others wrote is in socket.test.ts. */
import { Duplex, duplexPair } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { WebSocketDuplex } from './websocket-stream.ts';

const MASK = [0x11, 0x22, 0x33, 0x44];

/** A client's frame: masked. */
function frame(first: number, payload: Uint8Array | string, mask = MASK): Buffer {
  const bytes = Buffer.from(payload);
  const length =
    bytes.length < 126
      ? [0x80 | bytes.length]
      : bytes.length < 65536
        ? [0xfe, bytes.length >> 8, bytes.length & 0xff]
        : [0xff, 0, 0, 0, 0, ...[24, 16, 8, 0].map((shift) => (bytes.length >>> shift) & 0xff)];
  return Buffer.concat([
    Buffer.from([first, ...length, ...mask]),
    bytes.map((byte, index) => byte ^ mask[index & 3]!),
  ]);
}

const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
};

function rig(head: Uint8Array = new Uint8Array()) {
  // Node.js 20 has the pair since 20.17.
  const [server, client] = duplexPair();
  const stream = new WebSocketDuplex(server, head);
  const sent: Buffer[] = [];
  const got: Buffer[] = [];
  client.on('data', (data: Buffer) => sent.push(data));
  client.on('error', () => {});
  let ended = false;
  stream.on('end', () => {
    ended = true;
  });
  return {
    client,
    stream,
    read: () => stream.on('data', (data: Buffer) => got.push(data)),
    got: () => Buffer.concat(got).toString('latin1'),
    sent: () => Buffer.concat(sent).toString('hex'),
    ended: () => ended,
  };
}

describe('frames of a client', () => {
  it('are a byte stream, whatever their lengths and wherever they are cut', async () => {
    const { client, read, got } = rig();
    read();
    const text = (length: number, from: number): string =>
      Buffer.from(Array.from({ length }, (_, index) => (from + index * 7) & 0xff)).toString('latin1');
    const parts = [text(1, 3), text(125, 9), text(126, 1), text(65535, 4), text(65536, 8), ''];
    const wire = Buffer.concat(parts.map((part) => frame(0x82, Buffer.from(part, 'latin1'))));
    for (let at = 0, step = 1; at < wire.length; at += step, step = (step % 4093) * 2 + 1) {
      // The receiver unmasks in place.
      client.write(Buffer.from(wire.subarray(at, at + step)));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await settle();
    expect(got()).toBe(parts.join(''));
  });

  it('may be fragments of a message, with control frames in between', async () => {
    const { client, read, got, sent } = rig();
    read();
    client.write(
      Buffer.concat([frame(0x02, 'one '), frame(0x89, 'hi'), frame(0x00, 'two '), frame(0x80, '3')]),
    );
    await settle();
    expect(got()).toBe('one two 3');
    expect(sent()).toBe('8a026869');
  });

  it('may have come with the handshake', async () => {
    const { read, got } = rig(frame(0x81, 'early', [0, 0, 0, 0]));
    read();
    await settle();
    expect(got()).toBe('early');
  });

  it('of a message that nobody takes wait at the sender', async () => {
    const { client, stream, read, got } = rig();
    // The header of a message of a terabyte, and some of it.
    client.write(Buffer.from([0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    let taken = 0;
    const block = Buffer.alloc(16384, 'x');
    while (taken < 4096 && client.write(Buffer.from(block))) taken++;
    await settle();
    while (taken < 4096 && client.writableLength === 0 && client.write(Buffer.from(block))) {
      taken++;
      await settle();
    }
    expect(taken).toBeLessThan(40);
    expect(stream.readableLength).toBeLessThan(40 * block.length);
    read();
    await settle();
    expect(got().length).toBeGreaterThanOrEqual(taken * block.length);
    expect(got()).toMatch(/^x+$/);
  });

  it.each([
    ['unmasked (§5.1)', Buffer.from([0x82, 0x01, 0x78])],
    ['with a reserved bit (§5.2)', frame(0xc2, 'x')],
    ['with a reserved opcode (§5.2)', frame(0x83, 'x')],
    ['continuing nothing (§5.4)', frame(0x80, 'x')],
    ['a new message within another (§5.4)', Buffer.concat([frame(0x02, 'a'), frame(0x82, 'x')])],
    ['a control frame in fragments (§5.5)', frame(0x09, 'x')],
    ['a control frame of 126 bytes (§5.5)', frame(0x89, 'x'.repeat(126))],
    ['longer than 2^63 (§5.2)', Buffer.from([0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0])],
  ])('that break the rules end the connection with 1002: %s', async (_, bytes) => {
    const { client, read, sent, ended, got } = rig();
    read();
    client.write(bytes);
    client.write(frame(0x82, 'more'));
    await settle();
    expect(sent()).toBe('880203ea');
    expect(ended()).toBe(true);
    expect(got()).not.toContain('more');
  });
});

describe('what is sent', () => {
  it('is binary messages with the length in its shortest form (§5.2)', async () => {
    const { stream, sent } = rig();
    for (const length of [5, 126, 65536]) stream.write(Buffer.alloc(length, 1));
    await settle();
    const expected = `8205${'01'.repeat(5)}827e007e${'01'.repeat(126)}827f0000000000010000${'01'.repeat(65536)}`;
    expect(sent() === expected).toBe(true);
  });

  it('ends with a close, after all data (§5.5.1)', async () => {
    const { client, stream, sent } = rig();
    stream.write('bye');
    stream.end();
    await settle();
    expect(sent()).toBe('8203627965880203e8');
    client.write(frame(0x88, Buffer.from([3, 0xe8])));
    await settle();
    expect(client.readableEnded || client.destroyed).toBe(true);
  });

  it('answers a close with its status (§5.5.1), after what came before it was read', async () => {
    const { client, read, got, sent, ended } = rig();
    client.write(Buffer.concat([frame(0x82, 'last'), frame(0x88, Buffer.from([3, 0xe9]))]));
    await settle();
    expect(sent()).toBe('880203e9');
    read();
    await settle();
    expect(got()).toBe('last');
    expect(ended()).toBe(true);
  });

  it('does not answer pings without bound to a client that reads nothing', async () => {
    const written: number[] = [];
    const socket = new Duplex({
      read() {},
      // Takes nothing.
      write(chunk: Buffer) {
        written.push(chunk.length);
      },
    });
    const stream = new WebSocketDuplex(socket, new Uint8Array());
    stream.resume();
    for (let i = 0; i < 10_000; i++) socket.push(frame(0x89, 'x'.repeat(125)));
    await settle();
    expect(socket.writableLength).toBeLessThan(65536 + 256);
    stream.destroy();
  });
});
