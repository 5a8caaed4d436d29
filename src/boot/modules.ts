/**
 * Kernel modules as an initramfs builder sees them: what a module depends on, read from its own `.modinfo`
 * section, and the order in which a set of them must be loaded. Module names treat `-` and `_` as the same.
 */
import { UsageError } from '../core/errors.ts';
import { isElf } from './elf.ts';

export interface ModuleInfo {
  readonly depends: readonly string[];
  readonly aliases: readonly string[];
}

/** The name that the kernel knows a module file by: `kernel/…/virtio-rng.ko.xz` is `virtio_rng`. */
export function moduleName(path: string): string {
  return path
    .slice(path.lastIndexOf('/') + 1)
    .replace(/\.ko(\.(gz|xz|zst))?$/, '')
    .replaceAll('-', '_');
}

/**
 * Reads the `.modinfo` section of an unpacked module (64-bit ELF): zero-separated `key=value`.
 * @throws UsageError when it is no module
 */
export function parseModuleInfo(file: Uint8Array): ModuleInfo {
  const section = findSection(file, '.modinfo');
  if (section === undefined) throw new UsageError('not a kernel module: it has no .modinfo section');
  const entries = new TextDecoder('latin1').decode(section).split('\0');
  const values = (key: string): string[] =>
    entries.filter((entry) => entry.startsWith(`${key}=`)).map((entry) => entry.slice(key.length + 1));
  return {
    depends: values('depends')
      .flatMap((value) => value.split(','))
      .filter((name) => name !== '')
      .map(moduleName),
    aliases: values('alias'),
  };
}

function findSection(file: Uint8Array, wanted: string): Uint8Array | undefined {
  if (!isElf(file) || file[4] !== 2 || file.length < 64) return undefined;
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const table = Number(view.getBigUint64(40, true));
  const size = view.getUint16(58, true);
  const count = view.getUint16(60, true);
  const names = view.getUint16(62, true);
  if (size < 64 || names >= count || table + count * size > file.length) return undefined;
  const bounds = (index: number): [number, number] => {
    const at = table + index * size;
    const start = Number(view.getBigUint64(at + 24, true));
    return [start, start + Number(view.getBigUint64(at + 32, true))];
  };
  const [stringStart, stringEnd] = bounds(names);
  const strings = new TextDecoder('latin1').decode(file.subarray(stringStart, stringEnd));
  for (let i = 0; i < count; i++) {
    const name = view.getUint32(table + i * size, true);
    if (strings.slice(name, strings.indexOf('\0', name)) !== wanted) continue;
    const [start, end] = bounds(i);
    return end <= file.length ? file.subarray(start, end) : undefined;
  }
  return undefined;
}

/**
 * The modules of `wanted` and all that they depend on, each after what it needs. Names that `info` does not know
 * (built into the kernel, or absent from this one) are left out.
 */
export async function loadOrder(
  wanted: readonly string[],
  info: (name: string) => Promise<ModuleInfo | undefined>,
): Promise<string[]> {
  const order: string[] = [];
  const seen = new Set<string>();
  const visit = async (name: string): Promise<void> => {
    if (seen.has(name)) return;
    seen.add(name);
    const module = await info(name);
    if (module === undefined) return;
    for (const each of module.depends) await visit(each);
    order.push(name);
  };
  for (const name of wanted) await visit(moduleName(name));
  return order;
}
