/**
 * Processor models as CPUID shows them: features by name (Linux's /proc/cpuinfo names, QEMU's spellings accepted),
 * models as sets of features, and the table of leaves that the runtime's CPUID answers from. Only what the processor
 * really does can be switched on. Sources: Intel SDM volume 2 "CPUID", AMD APM volume 3 appendix E.
 */
import { UsageError } from '../core/errors.ts';
import { PKRU_OFFSET } from './layout.ts';

type Register = 'eax' | 'ebx' | 'ecx' | 'edx';

/** Where a feature's bit is: leaf, subleaf, register, bit. */
type Place = readonly [leaf: number, subleaf: number, register: Register, bit: number];

const EXT = 0x80000001;

const FEATURES: Readonly<Record<string, Place>> = {
  fpu: [1, 0, 'edx', 0],
  de: [1, 0, 'edx', 2],
  pse: [1, 0, 'edx', 3],
  tsc: [1, 0, 'edx', 4],
  msr: [1, 0, 'edx', 5],
  pae: [1, 0, 'edx', 6],
  mce: [1, 0, 'edx', 7],
  cx8: [1, 0, 'edx', 8],
  apic: [1, 0, 'edx', 9],
  sep: [1, 0, 'edx', 11],
  mtrr: [1, 0, 'edx', 12],
  pge: [1, 0, 'edx', 13],
  mca: [1, 0, 'edx', 14],
  cmov: [1, 0, 'edx', 15],
  pat: [1, 0, 'edx', 16],
  pse36: [1, 0, 'edx', 17],
  clflush: [1, 0, 'edx', 19],
  mmx: [1, 0, 'edx', 23],
  fxsr: [1, 0, 'edx', 24],
  sse: [1, 0, 'edx', 25],
  sse2: [1, 0, 'edx', 26],
  pni: [1, 0, 'ecx', 0],
  pclmulqdq: [1, 0, 'ecx', 1],
  ssse3: [1, 0, 'ecx', 9],
  cx16: [1, 0, 'ecx', 13],
  pcid: [1, 0, 'ecx', 17],
  sse4_1: [1, 0, 'ecx', 19],
  sse4_2: [1, 0, 'ecx', 20],
  x2apic: [1, 0, 'ecx', 21],
  movbe: [1, 0, 'ecx', 22],
  popcnt: [1, 0, 'ecx', 23],
  tsc_deadline_timer: [1, 0, 'ecx', 24],
  aes: [1, 0, 'ecx', 25],
  xsave: [1, 0, 'ecx', 26],
  rdrand: [1, 0, 'ecx', 30],
  hypervisor: [1, 0, 'ecx', 31],
  arat: [6, 0, 'eax', 2],
  fsgsbase: [7, 0, 'ebx', 0],
  tsc_adjust: [7, 0, 'ebx', 1],
  bmi1: [7, 0, 'ebx', 3],
  smep: [7, 0, 'ebx', 7],
  bmi2: [7, 0, 'ebx', 8],
  erms: [7, 0, 'ebx', 9],
  invpcid: [7, 0, 'ebx', 10],
  rdseed: [7, 0, 'ebx', 18],
  adx: [7, 0, 'ebx', 19],
  smap: [7, 0, 'ebx', 20],
  clflushopt: [7, 0, 'ebx', 23],
  clwb: [7, 0, 'ebx', 24],
  sha_ni: [7, 0, 'ebx', 29],
  umip: [7, 0, 'ecx', 2],
  pku: [7, 0, 'ecx', 3],
  la57: [7, 0, 'ecx', 16],
  rdpid: [7, 0, 'ecx', 22],
  pks: [7, 0, 'ecx', 31],
  spec_ctrl: [7, 0, 'edx', 26],
  arch_capabilities: [7, 0, 'edx', 29],
  bhi_ctrl: [7, 2, 'edx', 4],
  xsavec: [0xd, 1, 'eax', 1],
  syscall: [EXT, 0, 'edx', 11],
  nx: [EXT, 0, 'edx', 20],
  pdpe1gb: [EXT, 0, 'edx', 26],
  rdtscp: [EXT, 0, 'edx', 27],
  lm: [EXT, 0, 'edx', 29],
  lahf_lm: [EXT, 0, 'ecx', 0],
  abm: [EXT, 0, 'ecx', 5],
  '3dnowprefetch': [EXT, 0, 'ecx', 8],
  invtsc: [0x80000007, 0, 'edx', 8],
};

/** Other names for the same thing: QEMU's and older ones. */
const ALIASES: Readonly<Record<string, string>> = {
  sse3: 'pni',
  tsc_deadline: 'tsc_deadline_timer',
  lzcnt: 'abm',
  pclmuldq: 'pclmulqdq',
  constant_tsc: 'invtsc',
  nonstop_tsc: 'invtsc',
  clfsh: 'clflush',
  ibrs: 'spec_ctrl',
  ibpb: 'spec_ctrl',
  sha: 'sha_ni',
  cmpxchg8b: 'cx8',
  cmpxchg16b: 'cx16',
  i64: 'lm',
  xd: 'nx',
};

/** Known to exist, and not part of this processor: switching one off changes nothing, switching one on is refused. */
const ABSENT: readonly string[] = [
  ...[
    'vme',
    'ss',
    'ht',
    'pn',
    'ds',
    'acpi',
    'tm',
    'tm2',
    'ia64',
    'pbe',
    'dtes64',
    'monitor',
    'ds_cpl',
    'vmx',
  ],
  ...[
    'smx',
    'est',
    'cid',
    'fma',
    'xtpr',
    'pdcm',
    'dca',
    'aes',
    'pclmulqdq',
    'sha_ni',
    'avx',
    'f16c',
    'sgx',
    'hle',
  ],
  ...[
    'avx2',
    'rtm',
    'mpx',
    'avx512f',
    'avx512dq',
    'avx512ifma',
    'avx512cd',
    'avx512bw',
    'avx512vl',
    'avx512vbmi',
  ],
  ...['avx512_vbmi2', 'avx512_vnni', 'avx512_bitalg', 'avx512_vpopcntdq', 'gfni', 'vaes', 'vpclmulqdq'],
  ...['ospke', 'waitpkg', 'cet_ss', 'cet_ibt', 'movdiri', 'movdir64b', 'serialize', 'fsrm', 'stibp', 'ssbd'],
  ...[
    'md_clear',
    'xsaveopt',
    'xsavec',
    'xgetbv1',
    'xsaves',
    'svm',
    'extapic',
    'cr8legacy',
    'cr8_legacy',
    'sse4a',
  ],
  ...['misalignsse', 'osvw', 'ibs', 'xop', 'skinit', 'wdt', 'lwp', 'fma4', 'tce', 'tbm', 'topoext', 'mmxext'],
  ...['fxsr_opt', '3dnow', '3dnowext', 'wbnoinvd', 'npt', 'perfctr_core', 'cmp_legacy', 'x2apic_id', 'kvm'],
];

/** What every 64-bit processor has (the x86-64 psABI's baseline, and what a PC's firmware and kernels expect). */
const BASELINE: readonly string[] = [
  ...[
    'fpu',
    'de',
    'pse',
    'tsc',
    'msr',
    'pae',
    'mce',
    'cx8',
    'apic',
    'sep',
    'mtrr',
    'pge',
    'mca',
    'cmov',
    'pat',
  ],
  ...['pse36', 'clflush', 'mmx', 'fxsr', 'sse', 'sse2', 'syscall', 'nx', 'lm', 'hypervisor'],
];

/** psABI x86-64-v2. */
const LEVEL2: readonly string[] = [
  ...BASELINE,
  ...['cx16', 'lahf_lm', 'popcnt', 'pni', 'ssse3', 'sse4_1', 'sse4_2'],
];

const MODELS: Readonly<Record<string, readonly string[]>> = {
  qemu64: [...BASELINE, 'pni', 'cx16', 'lahf_lm', '3dnowprefetch'],
  'x86-64-v1': BASELINE,
  'x86-64-v2': LEVEL2,
  // Without x2APIC mode, which Linux takes from a hypervisor only where interrupts can be remapped, and says so.
  max: Object.keys(FEATURES).filter((name) => name !== 'x2apic'),
};

/** Names that people try, and why they are no models here. */
const REFUSED: Readonly<Record<string, string>> = {
  host: "a translator cannot pass the host's processor through: use -cpu max",
  'x86-64-v3': 'it needs AVX2 and FMA, which this processor does not have: use -cpu max',
  'x86-64-v4': 'it needs AVX-512, which this processor does not have: use -cpu max',
};

export interface CpuidSpec {
  readonly model: string;
  /** Features to switch on and off, without `+` and `-`. */
  readonly add?: readonly string[];
  readonly remove?: readonly string[];
  /** Initial APIC id, 0..254. */
  readonly apicId?: number;
  /** 12 characters; unless said otherwise AuthenticAMD for qemu64 (as QEMU has it), GenuineIntel for the others. */
  readonly vendor?: string;
}

export interface CpuidModel {
  /** leaf, subleaf (FFFFFFFFh: any), EAX, EBX, ECX, EDX */
  readonly entries: readonly (readonly number[])[];
  /** Features by Linux's names, in alphabetical order. */
  readonly features: readonly string[];
  has(feature: string): boolean;
}

/** Names of the models, for `-cpu help`. */
export function cpuModels(): readonly string[] {
  return Object.keys(MODELS);
}

/** Names of all features that can be switched, for `-cpu help`. */
export function cpuFeatures(): readonly string[] {
  return Object.keys(FEATURES).sort();
}

const ANY = 0xffffffff;
/** The time stamp counter's frequency, and the local APIC timer's. */
const TSC_HZ = 1_000_000_000;
const PHYSICAL_BITS = 40;

/** Makes the CPUID table of a model. A name that is unknown or that asks too much is a `UsageError`. */
export function buildCpuid(spec: CpuidSpec): CpuidModel {
  const base = MODELS[spec.model];
  if (base === undefined) throw new UsageError(unknownModel(spec.model));
  const on = new Set(base);
  for (const given of spec.add ?? []) {
    const name = canonical(given, spec.model, '+');
    if (FEATURES[name] === undefined)
      throw new UsageError(`-cpu ${spec.model},+${given}: this processor does not have '${name}'`);
    on.add(name);
  }
  for (const given of spec.remove ?? []) on.delete(canonical(given, spec.model, '-'));
  const table = new LeafTable();
  for (const name of on) table.setBit(FEATURES[name]!);
  describe(table, spec, on);
  return {
    entries: table.entries(),
    features: [...on].sort(),
    has: (feature) => on.has(normalise(feature)),
  };
}

/** Linux's spelling of a name: lower case, `_` for `-` and `.`, aliases resolved. */
function normalise(name: string): string {
  const plain = name.toLowerCase().replace(/[-.]/g, '_');
  return ALIASES[plain] ?? plain;
}

function canonical(given: string, model: string, sign: string): string {
  const name = normalise(given);
  if (FEATURES[name] !== undefined || ABSENT.includes(name)) return name;
  const near = nearestNames(name, [...Object.keys(FEATURES), ...Object.keys(ALIASES)]);
  throw new UsageError(`-cpu ${model},${sign}${given}: unknown feature '${given}'${near}`);
}

function unknownModel(model: string): string {
  const why = REFUSED[model.toLowerCase()];
  if (why !== undefined) return `-cpu ${model}: ${why}`;
  const near = nearestNames(model, Object.keys(MODELS));
  return `-cpu ${model}: unknown model${near} (there are: ${cpuModels().join(', ')})`;
}

/** ` (did you mean 'x'?)` for names that share most of their letters' pairs with `given`, or nothing. */
function nearestNames(given: string, candidates: readonly string[]): string {
  const pairs = (text: string): Set<string> =>
    new Set(Array.from({ length: text.length + 1 }, (_, i) => ` ${text} `.slice(i, i + 2)));
  const wanted = pairs(given.toLowerCase());
  const scored = candidates.map((name) => {
    const own = pairs(name);
    const common = [...own].filter((pair) => wanted.has(pair)).length;
    return { name, score: (2 * common) / (own.size + wanted.size) };
  });
  scored.sort((a, b) => b.score - a.score);
  const good = scored.filter(({ score }) => score >= 0.5).slice(0, 2);
  return good.length === 0 ? '' : ` (did you mean ${good.map(({ name }) => `'${name}'`).join(' or ')}?)`;
}

class LeafTable {
  readonly #leaves = new Map<string, number[]>();

  #leaf(leaf: number, subleaf: number): number[] {
    const key = `${leaf}:${subleaf}`;
    let entry = this.#leaves.get(key);
    if (entry === undefined) {
      entry = [leaf, subleaf, 0, 0, 0, 0];
      this.#leaves.set(key, entry);
    }
    return entry;
  }

  set(leaf: number, subleaf: number, eax: number, ebx: number, ecx: number, edx: number): void {
    const entry = this.#leaf(leaf, subleaf);
    for (const [i, value] of [eax, ebx, ecx, edx].entries()) entry[2 + i] = (entry[2 + i]! | value) >>> 0;
  }

  setBit([leaf, subleaf, register, bit]: Place): void {
    const indexed = leaf === 7 || leaf === 0xd;
    const entry = this.#leaf(leaf, indexed ? subleaf : ANY);
    const at = 2 + ['eax', 'ebx', 'ecx', 'edx'].indexOf(register);
    entry[at] = (entry[at]! | (1 << bit)) >>> 0;
  }

  get(leaf: number, subleaf: number): readonly number[] {
    return this.#leaf(leaf, subleaf);
  }

  entries(): number[][] {
    return [...this.#leaves.values()].sort((a, b) => a[0]! - b[0]! || a[1]! - b[1]!);
  }
}

/** Four characters as a register holds them. */
function fourChars(text: string, at: number): number {
  let value = 0;
  for (let i = 3; i >= 0; i--) value = (value << 8) | ((text.charCodeAt(at + i) || 0) & 255);
  return value >>> 0;
}

/** Bits of leaf 1 EDX that AMD's leaf 80000001h repeats. */
const MIRRORED = 0x0183f3ff;

/** Vendor, version, caches, topology, sizes: what is not a feature bit. */
function describe(table: LeafTable, spec: CpuidSpec, on: ReadonlySet<string>): void {
  // Linux takes the frequencies of leaves 15h and 16h from Intel's processors only; elsewhere it measures them, badly
  // and for a tenth of a second, against the PIT or the HPET.
  const vendor = spec.vendor ?? (spec.model === 'qemu64' ? 'AuthenticAMD' : 'GenuineIntel');
  if (vendor.length !== 12) throw new UsageError(`-cpu vendor=${vendor}: a vendor has 12 characters`);
  const amd = vendor === 'AuthenticAMD';
  const apicId = spec.apicId ?? 0;
  const ascii = (leaf: number, eax: number, text: string): void =>
    table.set(leaf, ANY, eax, fourChars(text, 0), fourChars(text, 8), fourChars(text, 4));

  ascii(0, 0x16, vendor);
  // AMD: family 15, model 107, stepping 1, as QEMU's translator shows it. Others: family 6, model 44, stepping 1
  // (Westmere), the part whose instructions come nearest: SSE4.2 and AES, no AVX.
  const version = amd ? 0x00060fb1 : 0x000206c1;
  const clflushLine = on.has('clflush') ? 8 << 8 : 0;
  table.set(1, ANY, version, (apicId << 24) | (1 << 16) | clflushLine, 0, 0);
  // Descriptor FFh: "see leaf 4".
  if (!amd) table.set(2, ANY, 0x00feff01, 0xf0, 0, 0);
  // Deterministic cache parameters: 32 KiB 8-way data and code, 1 MiB 16-way, 16 MiB 16-way; lines of 64 bytes.
  const cache = (type: number, level: number, ways: number, sets: number): number[] => [
    type | (level << 5) | (1 << 8),
    ((ways - 1) << 22) | 63,
    sets - 1,
    0,
  ];
  const caches = [cache(1, 1, 8, 64), cache(2, 1, 8, 64), cache(3, 2, 16, 1024), cache(3, 3, 16, 16384)];
  for (const [i, [eax, ebx, ecx, edx]] of caches.entries()) table.set(4, i, eax!, ebx!, ecx!, edx!);
  table.set(7, 0, on.has('bhi_ctrl') ? 2 : 0, 0, 0, 0);
  // Topology: one thread in a core, one core in a package.
  table.set(0xb, 0, 0, 1, 0x100, apicId);
  table.set(0xb, 1, 0, 1, 0x201, apicId);
  table.set(0xb, ANY, 0, 0, 2, apicId);
  if (on.has('xsave')) {
    // x87 and SSE states: 512 bytes of legacy area, 64 of header. PKRU: 8 bytes where Intel's processors have them.
    // The runtime adds to the sizes of the enabled states (EBX) what XCR0 asks for.
    const pku = on.has('pku');
    table.set(0xd, 0, pku ? 0x203 : 3, 576, pku ? PKRU_OFFSET + 8 : 576, 0);
    table.set(0xd, 1, 0, on.has('xsavec') ? 576 : 0, 0, 0);
    if (pku) table.set(0xd, 9, 8, PKRU_OFFSET, 0, 0);
  }
  // TSC = crystal × 1 / 1; base, maximum and bus frequency in MHz.
  table.set(0x15, ANY, 1, 1, TSC_HZ, 0);
  table.set(0x16, ANY, TSC_HZ / 1e6, TSC_HZ / 1e6, 100, 0);

  if (on.has('hypervisor')) {
    ascii(0x40000000, 0x40000010, 'ParavaneVMM ');
    const signature = table.get(0x40000000, ANY) as number[];
    // Unlike leaf 0, the signature runs EBX, ECX, EDX.
    [signature[4], signature[5]] = [signature[5]!, signature[4]!];
    // Frequencies in kHz, where VMware has them: TSC and local APIC timer.
    table.set(0x40000010, ANY, TSC_HZ / 1000, TSC_HZ / 1000, 0, 0);
  }

  ascii(0x80000000, 0x80000008, vendor);
  table.set(EXT, ANY, version, 0, 0, amd ? table.get(1, ANY)[5]! & MIRRORED : 0);
  const brand = 'Paravane Virtual CPU'.padEnd(48, '\0');
  for (let n = 0; n < 3; n++) {
    const at = n * 16;
    const words = [0, 4, 8, 12].map((offset) => fourChars(brand, at + offset));
    table.set(0x80000002 + n, ANY, words[0]!, words[1]!, words[2]!, words[3]!);
  }
  // Level 1: KiB, ways, lines per tag, line size; level 2 in KiB and level 3 in 512 KiB, 16 ways (code 8).
  const level1 = (32 << 24) | (8 << 16) | (1 << 8) | 64;
  if (amd) table.set(0x80000005, ANY, 0x01ff01ff, 0x01ff01ff, level1, level1);
  table.set(0x80000006, ANY, 0, 0x42004200, (1024 << 16) | (8 << 12) | 0x140, (32 << 18) | (8 << 12) | 0x140);
  table.set(0x80000007, ANY, 0, 0, 0, 0);
  const ibpb = amd && on.has('spec_ctrl') ? 1 << 12 : 0;
  table.set(0x80000008, ANY, PHYSICAL_BITS | ((on.has('la57') ? 57 : 48) << 8), ibpb, 0, 0);
}
