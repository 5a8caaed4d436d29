import { expect, it } from 'vitest';
import { CapturedNetdev, parsePcap } from './capture.ts';
import { NetHub } from './hub.ts';
import type { Netdev, NetFrontend } from './netdev.ts';

class Party implements NetFrontend {
  readonly rxCaps = { csum: false, tso4: false, tso6: false, ufo: false };
  got: number[] = [];
  room = Number.POSITIVE_INFINITY;
  receive(frame: Uint8Array): boolean {
    if (this.room <= 0) return false;
    this.room--;
    this.got.push(frame[0]!);
    return true;
  }
  linkChanged(): void {}
}

it('a hub passes frames to all others, and keeps some for who has no room', () => {
  const hub = new NetHub(0);
  const parties = [0, 1, 2].map((n) => {
    const port = hub.port(`p${n}`);
    const party = new Party();
    port.attach(party);
    return { port, party };
  });
  parties[2]!.party.room = 1;
  for (let i = 0; i < 300; i++) parties[0]!.port.send(Uint8Array.of(i & 0xff));
  expect(parties[0]!.party.got).toEqual([]);
  expect(parties[1]!.party.got.length).toBe(300);
  expect(parties[2]!.party.got).toEqual([0]);
  parties[2]!.party.room = 1000;
  parties[2]!.port.acceptInput();
  expect(parties[2]!.party.got.length).toBe(257);
  expect(parties[0]!.port.describe()).toBe('index=0,type=hubport,hubid=0');
});

it('a back end in a hub reaches the cards, and its frames are written down', async () => {
  let frontend: NetFrontend | undefined;
  const sent: number[] = [];
  let closed = false;
  const back: Netdev = {
    id: 'n',
    type: 'test',
    txCaps: { csum: true, tso4: true, tso6: false, ufo: false },
    linkUp: true,
    send: (frame) => void sent.push(frame[0]!),
    acceptInput() {},
    attach: (front) => {
      frontend = front;
      return () => {};
    },
    describe: () => 'test',
    close: async () => {
      closed = true;
    },
  };
  const written: Uint8Array[] = [];
  let time = 1_700_000_000_000_000_000;
  const captured = new CapturedNetdev(
    back,
    { write: (data) => void written.push(data), close: () => void written.push(Uint8Array.of()) },
    () => (time += 1_000_000_000),
    4,
  );
  const hub = new NetHub(1);
  const plugged = hub.plug('n', captured);
  const card = new Party();
  hub.port('card').attach(card);
  hub.ports[1]!.send(Uint8Array.of(1, 2, 3, 4, 5, 6));
  frontend!.receive(Uint8Array.of(9));
  expect(sent).toEqual([1]);
  expect(card.got).toEqual([9]);
  const file = Uint8Array.from(written.flatMap((data) => [...data]));
  expect(parsePcap(file)).toEqual([
    { time: 1_700_000_001_000_000_000, length: 6, frame: Uint8Array.of(1, 2, 3, 4) },
    { time: 1_700_000_002_000_000_000, length: 1, frame: Uint8Array.of(9) },
  ]);
  await plugged.close();
  expect(closed).toBe(true);
});
