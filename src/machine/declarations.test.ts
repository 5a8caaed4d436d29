/** What is declared in one place and used in others: that they agree. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { optionsReference } from '../cli/reference.ts';
import { propertiesHelp } from '../qapi/help.ts';
import type { Property } from '../qapi/property.ts';
import { parseValue } from '../qapi/values.ts';
import { DEVICE_CLASSES, findClass } from './registry.ts';
import { TRACE_POINTS } from './trace-points.ts';
import { VERSION } from './version.ts';

function* sources(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sources(path);
    else if (path.endsWith('.ts') && !path.endsWith('.test.ts')) yield path;
  }
}

describe('declarations', () => {
  it('list every trace point of the sources', () => {
    const found = new Set<string>();
    for (const path of sources('src'))
      for (const [, name] of readFileSync(path, 'utf8').matchAll(/\.point\(\s*'([^']+)'/g)) found.add(name!);
    expect([...found].sort()).toEqual([...TRACE_POINTS]);
  });

  it('have the version of package.json', () => {
    expect((JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }).version).toBe(VERSION);
  });

  it('name each device once', () => {
    const names = DEVICE_CLASSES.flatMap((one) => [
      one.name,
      ...(one.alias === undefined ? [] : [one.alias]),
      ...(one.oldNames ?? []),
    ]);
    expect(new Set(names).size).toBe(names.length);
    expect(findClass('virtio-serial')!.name).toBe('virtio-serial-pci');
    expect(findClass('virtioconsole')!.name).toBe('virtconsole');
  });

  it('have defaults that their own types accept', () => {
    for (const device of DEVICE_CLASSES)
      for (const property of device.properties as readonly Property[]) {
        const names = device.properties.filter((one) => one.name === property.name);
        expect(names.length, `${device.name}.${property.name}`).toBe(1);
        if (property.default === undefined) continue;
        const text =
          typeof property.default === 'boolean'
            ? property.default
              ? 'on'
              : 'off'
            : String(property.default);
        expect(() => parseValue(property, text), `${device.name}.${property.name}`).not.toThrow();
      }
  });

  it('make the reference page', () => {
    const page = optionsReference();
    for (const device of DEVICE_CLASSES) expect(page).toContain(`\`${device.name}\``);
    expect(propertiesHelp('x', DEVICE_CLASSES[0]!.properties)).toContain('drive=<str>');
    expect(page).not.toContain('undefined');
  });
});
