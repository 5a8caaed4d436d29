/**
 * What monitors are told of a network card's receive filter while Linux sets it: the event, once until somebody asks,
 * and `query-rx-filter` field by field. The same script for QEMU where it is installed. Skipped without a build and
 * the tiny guest.
 */
import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { cachedGuest } from '../guest/shell.ts';
import { haveQemu } from '../pc/qemu-monitor.ts';
import { MachineProcess, type Program } from './machine-process.ts';

const ready = existsSync('dist/cli/main.js') && cachedGuest('tiny') !== undefined;
const programs: readonly Program[] = haveQemu() ? ['paravane', 'qemu'] : ['paravane'];

type Filter = Readonly<Record<string, unknown>>;

const ALL_VLANS = Array.from({ length: 4096 }, (_, index) => 4095 - index);
const NODES = ['01:00:5e:00:00:01', '33:33:00:00:00:01'];

/** Of a card whose driver has said nothing yet. */
const FRESH = {
  'broadcast-allowed': false,
  multicast: 'normal',
  'multicast-overflow': false,
  'multicast-table': [],
  promiscuous: true,
  unicast: 'normal',
  'unicast-overflow': false,
  'unicast-table': [],
  vlan: 'all',
  'vlan-table': ALL_VLANS,
};
/** Of one that is up, under Linux. */
const UP = { ...FRESH, promiscuous: false, vlan: 'none', 'vlan-table': [], 'multicast-table': NODES };
const MAC = '52:54:00:12:34:56';
const NEW_MAC = '52:54:00:aa:bb:cc';
/** The multicast address by which neighbours ask for an address of IPv6. */
const solicited = (mac: string): string => `33:33:ff:${mac.slice(9)}`;

describe.skipIf(!ready).each(programs)('%s', (program) => {
  it('tells of receive filters', { timeout: 240_000 }, async () => {
    const vm = await MachineProcess.boot(program, [
      ...['-netdev', 'user,id=n0', '-device', 'virtio-net-pci,netdev=n0,id=e0'],
      ...['-netdev', 'user,id=n1', '-device', 'virtio-net-pci,netdev=n1,addr=9'],
    ]);
    const filters = async (name?: string): Promise<readonly Filter[]> =>
      (await vm.run('query-rx-filter', name === undefined ? {} : { name })) as Filter[];
    const changes = (): unknown[] =>
      vm.takeEvents().flatMap(([event, data]) => (event === 'NIC_RX_FILTER_CHANGED' ? [data] : []));
    const named = { name: 'e0', path: '/machine/peripheral/e0/virtio-backend' };
    const unnamed = { path: '/machine/peripheral-anon/device[0]/virtio-backend' };
    /** Does something in the guest, and gives the events and the first card's filter of then. */
    const after = async (command: string): Promise<{ told: unknown[]; filter: Filter }> => {
      vm.takeEvents();
      await vm.sh(command);
      // The kernel's work queues have a turn.
      await vm.sh('sleep 0.3');
      const told = changes();
      return { told, filter: (await filters('e0'))[0]! };
    };
    try {
      expect(await filters()).toEqual([
        { ...FRESH, name: 'e0', 'main-mac': MAC },
        { ...FRESH, name: 'virtio-net-pci.1', 'main-mac': '52:54:00:12:34:57' },
      ]);
      await vm.shell();
      await vm.sh('ip link set eth0 up; ip link set eth1 up; sleep 1');
      // Many commands of the driver, one event for each card.
      expect(changes()).toEqual([named, unnamed]);
      const e0 = { ...UP, name: 'e0', 'main-mac': MAC };
      const joined = [solicited(MAC), ...NODES];
      await vm.sh('ip link set eth0 promisc on');
      expect(changes()).toEqual([]);
      expect((await filters('virtio-net-pci.1'))[0]).toMatchObject({ promiscuous: false });
      // Who asked for the other card is not told of this one.
      await vm.sh('ip link set eth0 promisc off; ip link set eth0 promisc on');
      expect(changes()).toEqual([]);
      await filters('e0');
      let now = await after('ip link set eth0 promisc off');
      expect(now.told).toEqual([named]);
      expect(now.filter).toEqual({ ...e0, 'multicast-table': now.filter['multicast-table'] });
      now = await after('ifconfig eth0 allmulti');
      expect(now.filter).toMatchObject({ multicast: 'all' });
      now = await after('ifconfig eth0 -allmulti');
      expect(now.filter).toMatchObject({ multicast: 'normal' });
      now = await after('ip link set eth0 down; ip link set eth0 up; sleep 2');
      expect(now.told).toEqual([named]);
      expect(now.filter).toEqual({ ...e0, 'multicast-table': now.filter['multicast-table'] });
      // What came last is shown first; the other two come as they come.
      const [last, ...others] = now.filter['multicast-table'] as string[];
      expect([last, ...others.sort()]).toEqual(joined);
      now = await after(`ip link set eth0 address ${NEW_MAC}`);
      expect(now.filter).toMatchObject({ 'main-mac': NEW_MAC });
      // The driver goes: as at the start, and nobody is told of that.
      now = await after(
        'ip link set eth0 down; cd /sys/class/net/eth0/device; D=$(basename $(readlink -f .)); cd driver; echo $D >unbind',
      );
      expect(now.told).toEqual([named]);
      expect(now.filter).toEqual({ ...FRESH, name: 'e0', 'main-mac': MAC });
      // A card keeps its name when the one before it goes.
      await vm.run('device_del', { id: 'e0' });
      await vm.waitForEvent('DEVICE_DELETED', { device: 'e0' });
      expect((await filters()).map(({ name }) => name)).toEqual(['virtio-net-pci.1']);
    } finally {
      await vm.end();
    }
  });
});
