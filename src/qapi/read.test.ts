import { describe, expect, it } from 'vitest';
import { propertiesHelp, deviceListHelp } from './help.ts';
import { parseOptions } from './options.ts';
import type { Property } from './property.ts';
import { readProperties } from './read.ts';
import { editDistance, nearest } from './suggest.ts';

const SOCKET: readonly Property[] = [
  { name: 'path', type: 'str', help: 'Path' },
  { name: 'server', type: 'bool', default: false, help: 'Listen' },
  { name: 'wait', type: 'bool', help: 'Wait' },
  { name: 'nodelay', type: 'bool', help: 'Send at once' },
  { name: 'fwd', type: 'str', list: true, help: 'Rules' },
  { name: 'read-only', type: 'bool', aliases: ['readonly'], help: 'No writes' },
  { name: 'aio', type: 'str', ignored: 'there is one way', help: 'Interface' },
];

const read = (text: string, options = {}) => readProperties(parseOptions(text, 'path'), SOCKET, options);

describe('properties', () => {
  it('flags may be negated, and may start with no themselves', () => {
    expect(read('/s,server,nowait').values).toMatchObject({ path: '/s', server: true, wait: false });
    expect(read('/s,nodelay').values.nodelay).toBe(true);
    expect(read('/s,server=on,wait=off').values).toMatchObject({ server: true, wait: false });
  });

  it('lists collect every spelling', () => {
    expect(read('fwd=a,fwd=b,fwd.2=c,fwd.3.str=d').lists.fwd).toEqual(['a', 'b', 'c', 'd']);
  });

  it('the last of two values counts, aliases too', () => {
    expect(read('readonly=on,read-only=off').values['read-only']).toBe(false);
  });

  it('defaults are filled in, and told from what was given', () => {
    const result = read('/s');
    expect(result.values.server).toBe(false);
    expect([...result.given]).toEqual(['path']);
  });

  it('unknown ones are refused with the nearest, as option or as device property', () => {
    expect(() => read('sever=on')).toThrow("Invalid parameter 'sever' (did you mean 'server'?)");
    expect(() => read('sever=on', { device: 'dev' })).toThrow(
      "Property 'dev.sever' not found (did you mean 'server'?)",
    );
    expect(() => read('zzzzz=on')).toThrow(/^Invalid parameter 'zzzzz'$/);
  });

  it('required ones are asked for', () => {
    const id: Property[] = [{ name: 'id', type: 'str', required: true, help: '' }];
    expect(() => readProperties([], id)).toThrow("Parameter 'id' is missing");
    expect(() => readProperties([], id, { device: 'virtio-blk-pci' })).toThrow('id property not set');
  });

  it('those without effect are told', () => {
    const notes: string[] = [];
    read('aio=native', { note: (text: string) => notes.push(text) });
    expect(notes).toEqual(['aio=native has no effect: there is one way']);
  });
});

describe('help', () => {
  it('prints properties as QEMU 7.2 does', () => {
    const properties: Property[] = [
      { name: 'nr', type: 'uint32', default: 4294967295, help: '' },
      { name: 'chardev', type: 'chardev', help: 'ID of a chardev to use as a backend' },
      { name: 'name', type: 'str', help: '' },
      { name: 'disable-legacy', type: 'on-off-auto', default: 'auto', help: 'on/off/auto' },
    ];
    expect(propertiesHelp('virtserialport options', properties)).toBe(
      [
        'virtserialport options:',
        '  chardev=<str>          - ID of a chardev to use as a backend',
        '  disable-legacy=<OnOffAuto> - on/off/auto (default: "auto")',
        '  name=<str>',
        '  nr=<uint32>            -  (default: 4294967295)',
      ].join('\n'),
    );
  });

  it('lists devices by category', () => {
    expect(
      deviceListHelp([
        { name: 'virtio-rng-pci', bus: 'PCI', alias: 'virtio-rng', category: 'Misc' },
        { name: 'virtio-blk-pci', bus: 'PCI', alias: 'virtio-blk', category: 'Storage' },
        { name: 'isa-debug-exit', bus: 'ISA', category: 'Misc' },
      ]),
    ).toBe(
      [
        'Storage devices:',
        'name "virtio-blk-pci", bus PCI, alias "virtio-blk"',
        '',
        'Misc devices:',
        'name "isa-debug-exit", bus ISA',
        'name "virtio-rng-pci", bus PCI, alias "virtio-rng"',
      ].join('\n'),
    );
  });
});

describe('suggestions', () => {
  it('count a swap of neighbours as one mistake', () => {
    expect(editDistance('devcie', 'device')).toBe(1);
    expect(editDistance('', 'abc')).toBe(3);
    expect(editDistance('kitten', 'sitting')).toBe(3);
  });

  it('are made only when near', () => {
    expect(nearest('kernal', ['kernel', 'initrd'])).toBe('kernel');
    expect(nearest('xyz', ['kernel', 'initrd'])).toBeUndefined();
    expect(nearest('ser', ['serial', 'server'])).toBe('serial');
  });
});
