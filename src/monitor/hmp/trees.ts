/** `info qtree`, `info qom-tree` and `info mtree`: what hangs on what, and who answers where. */
import type { AddressSpace } from '../../core/bus.ts';
import type { PlacedDevice } from '../../machine/board.ts';
import { functionOf } from '../../machine/registry.ts';
import { PciBridge } from '../../pc/pci/bridge.ts';
import type { PciBus } from '../../pc/pci/bus.ts';
import { pciInfo } from '../pci-info.ts';
import { showValue } from '../properties.ts';
import type { QomNode } from '../qom.ts';
import { resolveQom } from '../qom.ts';
import { deviceNotFound } from '../qmp/error.ts';
import type { MonitorTarget } from '../target.ts';
import type { HmpCommand } from './command.ts';
import { formatIds } from './ids.ts';

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');

function deviceText(target: MonitorTarget, placed: PlacedDevice, indent: string): string {
  const { device, deviceClass, request } = placed;
  const { pci, port } = device;
  const fn = functionOf(device);
  const place = fn === undefined ? undefined : target.board.platform.pci.placeOf(fn);
  let text = `${indent}dev: ${device.className}, id "${device.id ?? ''}"\n`;
  for (const property of deviceClass?.properties ?? []) {
    let value = request?.values[property.name];
    if (property.name === 'addr' && place !== undefined) value = place.slot * 8 + place.function;
    if (property.name === 'vectors' && pci !== undefined) value = pci.msix?.vectors ?? 0;
    text += `${indent}  ${property.name} = ${showValue(property, value)}\n`;
  }
  if (place !== undefined) {
    const info = pciInfo(target, place);
    const title = info.className ?? `Class ${hex(info.classCode, 4)}`;
    text +=
      `${indent}  class ${title}, addr ${hex(info.bus, 2)}:${hex(info.slot, 2)}.${info.function}, pci id ` +
      `${formatIds(info.vendor, info.device)} (sub ${formatIds(info.subsystemVendor ?? 0, info.subsystem ?? 0)})\n`;
    for (const { bar, kind, address, size } of info.bars) {
      const start = address === undefined ? 0xffff_ffff_ffff_ffffn : BigInt(address);
      const end = BigInt.asUintN(64, start + BigInt(size) - 1n);
      text += `${indent}  bar ${bar}: ${kind === 'io' ? 'i/o' : 'mem'} at 0x${start.toString(16)} [0x${end.toString(16)}]\n`;
    }
  }
  if (port !== undefined) {
    const state = (on: boolean): string => (on ? 'on' : 'off');
    text +=
      `${indent}  port ${port.nr}, guest ${state(port.guestConnected)}, host ${state(port.hostConnected)}, ` +
      `throttle ${state(port.throttled)}\n`;
  }
  const { carries } = device;
  if (carries === undefined) return text;
  if (fn instanceof PciBridge) return text + busText(target, fn.secondary, `${indent}  `);
  text += `${indent}  bus: ${carries.name}\n${indent}    type ${carries.type}\n`;
  for (const other of target.board.placed)
    if (other.device.bus === carries.name) text += deviceText(target, other, `${indent}    `);
  return text;
}

/** A PCI bus and what is on it. */
function busText(target: MonitorTarget, bus: PciBus, indent: string): string {
  let text = `${indent}bus: ${bus.name}\n${indent}  type ${bus.kind === 'conventional' ? 'PCI' : 'PCIE'}\n`;
  for (const place of bus.functions) {
    const placed = target.board.placed.find(({ device }) => functionOf(device) === place.fn);
    if (placed !== undefined) text += deviceText(target, placed, `${indent}  `);
    else
      text +=
        `${indent}  dev: ${place.label}, id ""\n` +
        `${indent}    addr = ${hex(place.slot, 2)}.${place.function}\n`;
  }
  return text;
}

function infoQtree(target: MonitorTarget): string {
  const { board, machine } = target;
  const host = machine.config.machine === 'pc' ? 'i440FX-pcihost' : 'q35-pcihost';
  let text = 'bus: main-system-bus\n  type System\n';
  if (machine.config.hpet) text += '  dev: hpet, id ""\n';
  text += `  dev: ioapic, id ""\n  dev: ${host}, id ""\n${busText(target, board.platform.pci, '    ')}`;
  for (const placed of board.placed)
    if (placed.deviceClass?.bus === 'ISA') text += deviceText(target, placed, '  ');
  return text;
}

function infoQomTree(node: QomNode, name: string, indent: string): string {
  const children = [...node.children].map(([child, make]) => infoQomTree(make(), child, `${indent}  `));
  return `${indent}/${name} (${node.type})\n${children.join('')}`;
}

function spaceText(title: string, space: AddressSpace, limit: string): string {
  const lines = space.ranges.map(
    ({ name, base, size }) => `    ${hex(base, 16)}-${hex(base + size - 1, 16)} (prio 0, i/o): ${name}\n`,
  );
  return `address-space: ${title}\n  ${limit}\n${lines.join('')}`;
}

function infoMtree(target: MonitorTarget): string {
  const { board } = target;
  const ram = board.cpu.guestMemory.regions.map(
    ({ gpa, size }) =>
      `    ${hex(gpa, 16)}-${hex(gpa + size - 1, 16)} (prio 0, ram): ${gpa === 0 ? 'ram-below-4g' : gpa === 2 ** 32 ? 'ram-above-4g' : 'ram'}\n`,
  );
  const memory = spaceText('memory', board.mmio, '0000000000000000-ffffffffffffffff (prio 0, i/o): system');
  const [head = '', limit = '', ...rest] = memory.split(/(?<=\n)/);
  return `${head}${limit}${ram.join('')}${rest.join('')}\n${spaceText(
    'I/O',
    board.ports,
    '0000000000000000-000000000000ffff (prio 0, i/o): io',
  )}`;
}

export const treeInfo: readonly HmpCommand[] = [
  {
    name: 'qtree',
    takes: '',
    synopsis: '',
    help: 'the devices and the buses they sit on',
    run: (_, target) => infoQtree(target),
  },
  {
    name: 'qom-tree',
    takes: 'path:s?',
    synopsis: '[path]',
    help: 'the object tree',
    run: ({ path }, target) => {
      const start = String(path ?? '/machine');
      const node = resolveQom(target, start);
      if (node === undefined) throw deviceNotFound(start);
      return infoQomTree(node, start.split('/').at(-1) ?? '', '');
    },
  },
  {
    name: 'mtree',
    takes: '',
    synopsis: '',
    help: 'who answers at which address and port',
    run: (_, target) => infoMtree(target),
  },
];
