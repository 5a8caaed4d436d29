import { describe, expect, it } from 'vitest';
import { parseCommandLine } from '../qapi/parse-command-line.ts';
import { configure } from './configure.ts';
import { acpiHotplug, globalsFor } from './globals.ts';
import { requireClass } from './registry.ts';

function read(line: string) {
  const { given, images } = parseCommandLine(line.split(' '));
  const { globals, notes, machine } = configure(given, images);
  const warnings = notes.filter((note) => note.startsWith('global'));
  const entries = (driver: string) =>
    globalsFor(requireClass(driver), globals).map(({ name, value }) => `${name}=${value}`);
  return { warnings, entries, hotplug: () => acpiHotplug(globals, machine) };
}

describe('-global', () => {
  it('gives defaults to devices of a kind, in both spellings, by the names of their families, too', () => {
    const { entries, warnings } = read(
      '-global virtio-rng-pci.vectors=0 -global driver=virtio-pci,property=disable-legacy,value=on -global virtio-rng-device.max-bytes=9',
    );
    expect(entries('virtio-rng-pci')).toEqual(['vectors=0', 'disable-legacy=on', 'max-bytes=9']);
    expect(entries('virtio-blk-pci')).toEqual(['disable-legacy=on']);
    expect(entries('virtio-blk-device')).toEqual([]);
    expect(warnings).toEqual([]);
  });

  it('refuses what cannot be read, with QEMU’s words', () => {
    expect(() => read('-global foo')).toThrow("-global foo: Invalid parameter 'foo'");
    expect(() => read('-global driver=virtio-rng-pci,property=vectors')).toThrow(
      "-global driver=virtio-rng-pci,property=vectors: options 'driver', 'property', and 'value' are required",
    );
    expect(() => read('-global virtio-rng-pci.zz=1').entries('virtio-rng-pci')).toThrow(
      "can't apply global virtio-rng-pci.zz=1: Property 'virtio-rng-pci.zz' not found",
    );
    expect(() => read('-M q35 -global ICH9-LPC.zz=1').hotplug()).toThrow(
      "can't apply global ICH9-LPC.zz=1: Property 'ICH9-LPC.zz' not found",
    );
  });

  it('warns of kinds that there are not', () => {
    expect(read('-global nosuch.bar=1').warnings).toEqual(['global nosuch.bar has invalid class name']);
    expect(read('-global ICH9-LPC.disable_s3=1').warnings).toEqual(['global ICH9-LPC.disable_s3=1 not used']);
  });

  it('decides what ACPI tells of hot-plug', () => {
    expect(read('-M q35').hotplug()).toEqual({ root: true, bridges: true });
    expect(read('-M q35 -global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off').hotplug()).toEqual({
      root: true,
      bridges: false,
    });
    expect(read('-global PIIX4_PM.acpi-root-pci-hotplug=off').hotplug()).toEqual({
      root: false,
      bridges: true,
    });
  });
});
