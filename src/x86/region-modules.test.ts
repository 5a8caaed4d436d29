import { expect, it } from 'vitest';
import type { Region } from './block.ts';
import { type RegionModule, RegionModules } from './region-modules.ts';

function region(module: RegionModule, index: number): Region {
  const made = { index, module } as Region;
  module.regions.add(made);
  return made;
}

function threeModules() {
  const modules = new RegionModules();
  const list = [100, 20, 3].map((bytes) => modules.add(bytes));
  const regions = list.map((module, i) => [region(module, 2 * i), region(module, 2 * i + 1)]).flat();
  return { modules, list, regions };
}

it('are counted while a region of theirs is in use', () => {
  const { modules, regions } = threeModules();
  expect([modules.count, modules.bytes]).toEqual([3, 123]);
  modules.drop(regions[2]!);
  modules.drop(regions[2]!);
  expect([modules.count, modules.bytes]).toEqual([3, 123]);
  modules.drop(regions[3]!);
  expect([modules.count, modules.bytes]).toEqual([2, 103]);
  modules.clear();
  expect([modules.count, modules.bytes]).toEqual([0, 0]);
  modules.drop(regions[0]!);
  modules.drop(regions[1]!);
  expect([modules.count, modules.bytes]).toEqual([0, 0]);
  expect(modules.next(() => true)).toBeUndefined();
});

it('go in their order unless one of their regions is used; then they come round after all others', () => {
  const { modules, list, regions } = threeModules();
  const used = new Set([regions[1]!, regions[2]!]);
  const asked: number[] = [];
  const next = (): RegionModule | undefined => {
    const module = modules.next((one) => {
      asked.push(one.index);
      return used.delete(one);
    });
    for (const one of module?.regions ?? []) modules.drop(one);
    return module;
  };
  expect([next(), next(), next()]).toEqual([undefined, undefined, list[2]]);
  expect(asked).toEqual([0, 1, 2, 3, 4, 5]);
  expect([next(), next()]).toEqual([list[0], list[1]]);
  expect(modules.count).toBe(0);
});

it('go in their order when all of them are used all the time', () => {
  const { modules, list } = threeModules();
  const next = () => modules.next(() => true);
  expect([next(), next(), next(), next(), next(), next()].every((module) => module === undefined)).toBe(true);
  expect(next()).toBe(list[0]);
});
