import { describe, expect, it } from 'vitest';
import { EchoDevice } from './echo.ts';
import { createRig } from './rig.ts';
import * as f from '../features.ts';

/** A device with a transitional id, so that the legacy interface exists. */
class TransitionalEcho extends EchoDevice {
  override readonly deviceId = 2;
}

const text = new TextEncoder();

describe('rig', () => {
  for (const iface of ['modern', 'legacy'] as const) {
    for (const interrupts of ['msix', 'shared', 'intx'] as const) {
      for (const without of [[], [f.VIRTIO_F_EVENT_IDX], [f.VIRTIO_F_INDIRECT_DESC]]) {
        it(`carries a request over ${iface}, ${interrupts}, without ${without.join() || 'nothing'}`, async () => {
          const rig = await createRig(new TransitionalEcho());
          await rig.start({ interface: iface, interrupts, without });
          for (let i = 0; i < 600; i++) {
            const { length, data } = await rig.request(0, [text.encode('ab'), text.encode('cd')], [3, 2]);
            expect(length).toBe(4);
            expect(data).toEqual(text.encode('dcba\0'));
          }
          expect(rig.queues[0]!.numFree).toBe(256);
          if (interrupts === 'intx') expect(rig.bus.lineRaised).toBe(600);
          else expect(rig.messages.length).toBe(600);
          expect(rig.line).toBe(false);
          expect(rig.errors).toEqual([]);
          await rig.driver.reset();
          expect(rig.device.calls.at(-1)).toBe('stop');
          await rig.start({ interface: iface });
          expect((await rig.request(1, [text.encode('xy')], [2])).data).toEqual(text.encode('yx'));
        });
      }
    }
  }
});
