/** Options that QEMU has and this program has not: each is refused with the reason. */
import type { OptionDef } from './option.ts';

const NO_FIRMWARE = 'there is no firmware yet: boot with -kernel';

const missing = <const N extends string>(name: N, takes: 'none' | 'text', refused: string) =>
  ({
    name,
    takes,
    repeat: 'append',
    category: 'Not available',
    synopsis: takes === 'none' ? '' : '…',
    help: refused,
    refused,
  }) as const;

const NO_IDE = 'there is no IDE controller yet: use -drive file=…,if=virtio';

export const MISSING = [
  missing('enable-kvm', 'none', 'KVM is not available yet; leave it out to use the translator'),
  missing('hda', 'text', NO_IDE),
  missing('hdb', 'text', NO_IDE),
  missing('hdc', 'text', NO_IDE),
  missing('hdd', 'text', NO_IDE),
  missing('cdrom', 'text', NO_IDE),
  missing('fda', 'text', 'there are no floppy disks'),
  missing('fdb', 'text', 'there are no floppy disks'),
  missing('sd', 'text', 'there are no SD cards'),
  missing('mtdblock', 'text', 'there is no flash memory'),
  missing('pflash', 'text', NO_FIRMWARE),
  missing('bios', 'text', NO_FIRMWARE),
  missing('dtb', 'text', 'a PC has no device tree'),
  missing('fsdev', 'text', 'shared folders are not available yet'),
  missing('virtfs', 'text', 'shared folders are not available yet'),
  missing('gdb', 'text', 'there is no gdb server yet'),
  missing('s', 'none', 'there is no gdb server yet'),
  missing('incoming', 'text', 'migration is not available yet'),
  missing('loadvm', 'text', 'snapshots are not available yet'),
  missing('numa', 'text', 'NUMA is not available'),
  missing('mem-path', 'text', 'guest memory is a WebAssembly memory'),
  missing('smbios', 'text', 'SMBIOS tables are made from -uuid and -name'),
  missing('acpitable', 'text', 'extra ACPI tables are not available yet'),
  missing('set', 'text', 'not available yet: give the property to the option itself'),
  missing('readconfig', 'text', 'configuration files are not available yet'),
  missing('add-fd', 'text', 'passing file descriptors is not available yet'),
  missing('daemonize', 'none', "not available: start it in the background with the shell's &"),
  missing('usb', 'none', 'there is no USB yet'),
  missing('usbdevice', 'text', 'there is no USB yet'),
  missing('spice', 'text', 'there is no SPICE server'),
  missing('full-screen', 'none', 'there is no display yet: use -nographic'),
  missing('audiodev', 'text', 'there is no sound'),
  missing('audio', 'text', 'there is no sound'),
  missing('soundhw', 'text', 'there is no sound'),
  missing('watchdog', 'text', 'there is no watchdog yet'),
  missing('watchdog-action', 'text', 'there is no watchdog yet'),
  missing('tpmdev', 'text', 'there is no TPM'),
  missing('runas', 'text', 'start it as that user instead'),
  missing('chroot', 'text', 'start it in that root instead'),
  missing('action', 'text', 'use -no-reboot and -no-shutdown'),
  missing('only-migratable', 'none', 'migration is not available yet'),
  missing('semihosting', 'none', 'not for this processor'),
] as const satisfies readonly OptionDef[];
