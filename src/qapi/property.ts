/**
 * A property of a device, chardev, netdev, object or option, declared once. The option parser, `NAME,help`, QMP's
 * introspection, the reference pages and the TypeScript types are all read from these declarations.
 */

export type PropertyType =
  | 'bool'
  | 'on-off-auto'
  | 'uint8'
  | 'uint16'
  | 'uint32'
  | 'int32'
  | 'uint64'
  /** Bytes, with the suffixes B K M G T P E. */
  | 'size'
  | 'str'
  | 'enum'
  | 'mac'
  /** `SLOT[.FUNCTION]` in hexadecimal, as `addr=` takes it. */
  | 'pci-devfn'
  /** Ids of other things on the command line. */
  | 'chardev'
  | 'drive'
  | 'netdev'
  | 'object';

export interface Property {
  readonly name: string;
  readonly type: PropertyType;
  /** As QEMU prints it in `NAME,help` after "(default: ", when there is one. */
  readonly default?: string | number | boolean;
  readonly required?: boolean;
  readonly min?: number;
  readonly max?: number;
  /** The values of an 'enum'. */
  readonly values?: readonly string[];
  /** One line for help texts and the reference. */
  readonly help: string;
}

/** Parsed values by property name; `undefined` where neither given nor defaulted. */
export type PropertyValues = Readonly<Record<string, string | number | boolean | bigint | undefined>>;
