/**
 * Which image format the first bytes of a file speak for. Only the signature is looked at, as documented by each
 * format (qcow2: docs/interop/qcow2.txt; VMDK, VDI, VHD, VHDX, LUKS, QED: their published headers).
 */

/** Bytes that `probeFormat` wants to see. */
export const PROBE_LENGTH = 2048;

interface Signature {
  readonly format: string;
  readonly at: number;
  readonly text: string;
}

const SIGNATURES: readonly Signature[] = [
  { format: 'qed', at: 0, text: 'QED\0' },
  { format: 'vmdk', at: 0, text: 'KDMV' },
  { format: 'vmdk', at: 0, text: 'COWD' },
  { format: 'vmdk', at: 0, text: '# Disk DescriptorFile' },
  { format: 'vhdx', at: 0, text: 'vhdxfile' },
  { format: 'vpc', at: 0, text: 'conectix' },
  { format: 'luks', at: 0, text: 'LUKS\xba\xbe' },
  { format: 'parallels', at: 0, text: 'WithoutFreeSpace' },
  { format: 'parallels', at: 0, text: 'WithouFreSpacExt' },
  { format: 'bochs', at: 0, text: 'Bochs Virtual HD Image' },
  { format: 'vdi', at: 64, text: '\x7f\x10\xda\xbe' },
];

/** The format's name as in `format=`; 'raw' when no signature is known. */
export function probeFormat(start: Uint8Array): string {
  if (hasText(start, 0, 'QFI\xfb') && start.length >= 8) {
    const version = new DataView(start.buffer, start.byteOffset).getUint32(4);
    if (version === 1) return 'qcow';
    if (version >= 2) return 'qcow2';
  }
  for (const signature of SIGNATURES)
    if (hasText(start, signature.at, signature.text)) return signature.format;
  return 'raw';
}

/** Formats and protocols that exist elsewhere and that we know by name only. */
export const OTHER_FORMATS: readonly string[] = [
  ...new Set(SIGNATURES.map((signature) => signature.format)),
  'qcow',
  'qcow2',
  'cloop',
  'dmg',
  'vvfat',
];

function hasText(data: Uint8Array, at: number, text: string): boolean {
  if (data.length < at + text.length) return false;
  for (let i = 0; i < text.length; i++) if (data[at + i] !== text.charCodeAt(i)) return false;
  return true;
}
