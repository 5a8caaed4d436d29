/** Declared properties as types of QMP: what `netdev_add` and its kin take is what the command line takes. */
import type { Property } from '../qapi/property.ts';
import type { Members, ObjectType, Type } from './qmp/types.ts';
import { array, bool, int, object, oneOf, str, uint, uint16, uint32, int32 } from './qmp/types.ts';

function typeOf({ type, values = [], list, signed }: Property): Type {
  const one = ((): Type => {
    switch (type) {
      case 'bool':
        return bool;
      case 'uint8':
      case 'uint16':
        return uint16;
      case 'uint32':
        return uint32;
      case 'int32':
        return int32;
      case 'uint64':
        return signed === true ? int : uint;
      case 'size':
        return uint;
      case 'enum':
        return oneOf(...values);
      case 'on-off-auto':
        return oneOf('auto', 'on', 'off');
      default:
        return str;
    }
  })();
  // QEMU's lists of texts are lists of objects that have one.
  return list === true ? array(object({ str: one })) : one;
}

/** Members by name; `cache.direct` is a member of the member `cache`. Members that may be absent end in `?`. */
export function membersOf(properties: readonly Property[]): Members {
  const members: Record<string, Type> = {};
  const groups = new Map<string, Property[]>();
  for (const property of properties) {
    if (property.short === true) continue;
    const dot = property.name.indexOf('.');
    if (dot < 0) members[property.required === true ? property.name : `${property.name}?`] = typeOf(property);
    else {
      const group = property.name.slice(0, dot);
      const rest = { ...property, name: property.name.slice(dot + 1) };
      groups.set(group, [...(groups.get(group) ?? []), rest]);
    }
  }
  for (const [group, inner] of groups) members[`${group}?`] = object(membersOf(inner)) as ObjectType;
  return members;
}
