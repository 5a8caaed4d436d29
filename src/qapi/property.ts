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
  /** Other spellings that QEMU accepts for the name. */
  readonly aliases?: readonly string[];
  /** May be given several times; its value is then an array. */
  readonly list?: true;
  /** The type's name in `NAME,help`, where QEMU prints another than `type` gives: `link<rng-backend>`. */
  readonly shownType?: string;
  /** On a 'uint64': QMP has a signed integer for it. */
  readonly signed?: true;
  /** The command line's short form for other properties, which QMP has under their own names only. */
  readonly short?: true;
  /** Accepted for QEMU's sake but without effect here; the reason, for the reference and a one-time note. */
  readonly ignored?: string;
  /** One line for help texts and the reference. */
  readonly help: string;
}

export type PropertyValue = string | number | boolean | bigint | undefined;

/** Parsed values by property name; `undefined` where neither given nor defaulted. */
export type PropertyValues = Readonly<Record<string, PropertyValue>>;

/** What TypeScript programs may write for a property: the parsed type, or the command line's text. */
export type ValueOf<P extends Property> = P['type'] extends 'bool'
  ? boolean
  : P['type'] extends 'on-off-auto'
    ? boolean | 'on' | 'off' | 'auto'
    : P['type'] extends 'uint8' | 'uint16' | 'uint32' | 'int32'
      ? number
      : P['type'] extends 'uint64'
        ? number | bigint
        : P['type'] extends 'size'
          ? number | string
          : P['type'] extends 'enum'
            ? P extends { values: readonly (infer V extends string)[] }
              ? V
              : string
            : string;

type Element<P extends Property> = P extends { list: true } ? ValueOf<P> | readonly ValueOf<P>[] : ValueOf<P>;

/** The options object that a list of declarations describes, for the library's types. */
export type OptionsOf<Ps extends readonly Property[]> = {
  [P in Ps[number] as P extends { required: true } ? P['name'] : never]: Element<P>;
} & {
  [P in Ps[number] as P extends { required: true } ? never : P['name']]?: Element<P> | undefined;
};
