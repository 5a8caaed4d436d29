/**
 * The options of the command line, each declared once: what it takes, whether it may be repeated, what it is for, and
 * where it stands. The parser, `--help`, docs/options.md and the library's types are read from this table.
 */
import type { Property } from './property.ts';
import { DRIVE_PROPERTIES } from './schema/drive.ts';
import * as simple from './schema/simple.ts';

export const CATEGORIES = [
  'Standard',
  'Block device',
  'Character device',
  'Network',
  'Display',
  'Linux boot',
  'Debug and expert',
  'Not available',
] as const;

export interface OptionDef {
  /** Without the dash. */
  readonly name: string;
  readonly aliases?: readonly string[];
  /** none: a switch; text: one value as it is; properties: `key=value,…`. */
  readonly takes: 'none' | 'text' | 'properties';
  /** Key of a first value without one. */
  readonly implied?: string;
  /** The keys, where they do not depend on the implied value (as those of -device do). */
  readonly properties?: readonly Property[];
  /** last: a later one replaces; merge: keys of a later one replace; append: all count. */
  readonly repeat: 'last' | 'merge' | 'append';
  readonly category: (typeof CATEGORIES)[number];
  /** What stands behind the name in help texts. */
  readonly synopsis: string;
  readonly help: string;
  /** Accepted without effect, and why. */
  readonly ignored?: string;
  /** Known from QEMU, refused here, and why. */
  readonly refused?: string;
}

const STANDARD = [
  {
    name: 'help',
    aliases: ['h'],
    takes: 'none',
    repeat: 'last',
    category: 'Standard',
    synopsis: '',
    help: 'Display this help and exit',
  },
  {
    name: 'version',
    takes: 'none',
    repeat: 'last',
    category: 'Standard',
    synopsis: '',
    help: 'Display version information and exit',
  },
  {
    name: 'machine',
    aliases: ['M'],
    takes: 'properties',
    implied: 'type',
    properties: simple.MACHINE_PROPERTIES,
    repeat: 'merge',
    category: 'Standard',
    synopsis: '[type=]pc|q35[,accel=tcg][,prop=value…]',
    help: "Select the machine (default: pc); 'help' lists them",
  },
  {
    name: 'cpu',
    takes: 'text',
    repeat: 'last',
    category: 'Standard',
    synopsis: 'MODEL[,+FEATURE][,-FEATURE]',
    help: "Select the processor (default: max); 'help' lists models and features",
  },
  {
    name: 'accel',
    takes: 'properties',
    implied: 'accel',
    properties: simple.ACCEL_PROPERTIES,
    repeat: 'append',
    category: 'Standard',
    synopsis: '[accel=]tcg',
    help: 'Select the accelerator; tcg stands for the translator to WebAssembly',
  },
  {
    name: 'smp',
    takes: 'properties',
    implied: 'cpus',
    properties: simple.SMP_PROPERTIES,
    repeat: 'merge',
    category: 'Standard',
    synopsis: '[cpus=]N[,sockets=…][,cores=…][,threads=…]',
    help: 'Number of processors: 1 for now',
  },
  {
    name: 'm',
    takes: 'properties',
    implied: 'size',
    properties: simple.MEMORY_PROPERTIES,
    repeat: 'merge',
    category: 'Standard',
    synopsis: '[size=]MEGS[K|M|G]',
    help: 'Guest RAM (default: 128M)',
  },
  {
    name: 'device',
    takes: 'properties',
    implied: 'driver',
    repeat: 'append',
    category: 'Standard',
    synopsis: 'DRIVER[,prop=value…]',
    help: "Add a device; 'help' lists them, 'DRIVER,help' its properties",
  },
  {
    name: 'object',
    takes: 'properties',
    implied: 'qom-type',
    repeat: 'append',
    category: 'Standard',
    synopsis: 'TYPE,id=ID[,prop=value…]',
    help: "Create an object that devices refer to; 'help' lists the types",
  },
  {
    name: 'name',
    takes: 'properties',
    implied: 'guest',
    properties: simple.NAME_PROPERTIES,
    repeat: 'merge',
    category: 'Standard',
    synopsis: 'NAME[,process=TITLE]',
    help: 'Name of the guest',
  },
  {
    name: 'uuid',
    takes: 'text',
    repeat: 'last',
    category: 'Standard',
    synopsis: 'UUID',
    help: 'Machine UUID, as the guest reads it from SMBIOS',
  },
  {
    name: 'rtc',
    takes: 'properties',
    properties: simple.RTC_PROPERTIES,
    repeat: 'merge',
    category: 'Standard',
    synopsis: '[base=utc|localtime|DATE][,clock=host|rt|vm]',
    help: 'Real-time clock: what it shows and what moves it',
  },
  {
    name: 'boot',
    takes: 'properties',
    implied: 'order',
    properties: simple.BOOT_PROPERTIES,
    repeat: 'merge',
    category: 'Standard',
    synopsis: '[order=]DRIVES',
    help: 'Boot order',
    ignored: 'without firmware there is nothing to order: -kernel is what boots',
  },
  {
    name: 'no-reboot',
    takes: 'none',
    repeat: 'last',
    category: 'Standard',
    synopsis: '',
    help: 'Exit instead of rebooting',
  },
  {
    name: 'no-shutdown',
    takes: 'none',
    repeat: 'last',
    category: 'Standard',
    synopsis: '',
    help: 'Stop instead of exiting when the guest powers off',
  },
  {
    name: 'no-hpet',
    takes: 'none',
    repeat: 'last',
    category: 'Standard',
    synopsis: '',
    help: 'No high precision event timer',
  },
  {
    name: 'no-acpi',
    takes: 'none',
    repeat: 'last',
    category: 'Standard',
    synopsis: '',
    help: 'No ACPI tables',
  },
  {
    name: 'S',
    takes: 'none',
    repeat: 'last',
    category: 'Standard',
    synopsis: '',
    help: 'Do not start the processor: the monitor or the library does',
  },
  {
    name: 'nodefaults',
    takes: 'none',
    repeat: 'last',
    category: 'Standard',
    synopsis: '',
    help: 'Only the devices that are asked for',
  },
] as const satisfies readonly OptionDef[];

const BLOCK = [
  {
    name: 'drive',
    takes: 'properties',
    properties: DRIVE_PROPERTIES,
    repeat: 'append',
    category: 'Block device',
    synopsis: 'file=FILE,if=virtio|none[,format=raw][,id=ID][,readonly=on][,snapshot=on][,cache=MODE]',
    help: 'Use an image as a disk',
  },
  {
    name: 'snapshot',
    takes: 'none',
    repeat: 'last',
    category: 'Block device',
    synopsis: '',
    help: 'snapshot=on for every drive: images stay as they are',
  },
] as const satisfies readonly OptionDef[];

const CHARACTER = [
  {
    name: 'chardev',
    takes: 'properties',
    implied: 'backend',
    repeat: 'append',
    category: 'Character device',
    synopsis: 'TYPE,id=ID[,prop=value…]',
    help: "A byte stream to the host; 'help' lists the types",
  },
  {
    name: 'serial',
    takes: 'text',
    repeat: 'append',
    category: 'Character device',
    synopsis: 'stdio|mon:stdio|file:F|unix:P,…|tcp:H:P,…|chardev:ID|null|none',
    help: 'Where COM1, COM2, … go',
  },
  {
    name: 'monitor',
    takes: 'text',
    repeat: 'append',
    category: 'Character device',
    synopsis: 'none|stdio|unix:P,…|tcp:H:P,…|chardev:ID',
    help: 'Where the monitor is (HMP, for people)',
  },
  {
    name: 'qmp',
    takes: 'text',
    repeat: 'append',
    category: 'Character device',
    synopsis: 'stdio|unix:P,…|tcp:H:P,…|chardev:ID',
    help: 'Where the monitor for programs is (QMP)',
  },
  {
    name: 'qmp-pretty',
    takes: 'text',
    repeat: 'append',
    category: 'Character device',
    synopsis: 'stdio|unix:P,…|tcp:H:P,…|chardev:ID',
    help: 'The same with indented answers',
  },
  {
    name: 'mon',
    takes: 'properties',
    implied: 'chardev',
    properties: simple.MON_PROPERTIES,
    repeat: 'append',
    category: 'Character device',
    synopsis: '[chardev=]ID[,mode=readline|control][,pretty=on]',
    help: 'A monitor on a chardev',
  },
  {
    name: 'debugcon',
    takes: 'text',
    repeat: 'append',
    category: 'Character device',
    synopsis: 'DEVICE',
    help: 'Where bytes written to port 0xe9 go',
  },
  {
    name: 'parallel',
    takes: 'text',
    repeat: 'append',
    category: 'Character device',
    synopsis: 'none|null',
    help: 'Parallel ports: there are none',
  },
] as const satisfies readonly OptionDef[];

const NETWORK = [
  {
    name: 'netdev',
    takes: 'properties',
    implied: 'type',
    repeat: 'append',
    category: 'Network',
    synopsis: 'user,id=ID[,hostfwd=RULE][,prop=value…]',
    help: "The host's side of a network card; 'help' lists the types",
  },
  {
    name: 'nic',
    takes: 'properties',
    implied: 'type',
    repeat: 'append',
    category: 'Network',
    synopsis: 'user|none[,model=CARD][,mac=MAC][,prop=value…]',
    help: 'A card and its back end in one',
  },
  {
    name: 'net',
    takes: 'properties',
    implied: 'type',
    repeat: 'append',
    category: 'Network',
    synopsis: 'none|nic[,model=CARD]|user[,prop=value…]',
    help: 'Old form of -nic',
  },
] as const satisfies readonly OptionDef[];

const DISPLAY = [
  {
    name: 'nographic',
    takes: 'none',
    repeat: 'last',
    category: 'Display',
    synopsis: '',
    help: 'No display; COM1 on the terminal, with Ctrl-A as escape',
  },
  {
    name: 'display',
    takes: 'text',
    repeat: 'last',
    category: 'Display',
    synopsis: 'none',
    help: 'Display: only none for now',
  },
  {
    name: 'vga',
    takes: 'text',
    repeat: 'last',
    category: 'Display',
    synopsis: 'none',
    help: 'Video card: only none for now',
  },
  {
    name: 'vnc',
    takes: 'text',
    repeat: 'last',
    category: 'Display',
    synopsis: 'none',
    help: 'VNC server: only none for now',
  },
] as const satisfies readonly OptionDef[];

const LINUX = [
  {
    name: 'kernel',
    takes: 'text',
    repeat: 'last',
    category: 'Linux boot',
    synopsis: 'FILE',
    help: 'Linux kernel: bzImage or ELF',
  },
  {
    name: 'initrd',
    takes: 'text',
    repeat: 'last',
    category: 'Linux boot',
    synopsis: 'FILE',
    help: 'Initial RAM disk',
  },
  {
    name: 'append',
    takes: 'text',
    repeat: 'last',
    category: 'Linux boot',
    synopsis: 'TEXT',
    help: 'Kernel command line',
  },
] as const satisfies readonly OptionDef[];

const NO_FIRMWARE = 'there is no firmware yet: boot with -kernel';

const EXPERT = [
  {
    name: 'd',
    takes: 'text',
    repeat: 'append',
    category: 'Debug and expert',
    synopsis: 'ITEM[,…]',
    help: "Log items: guest_errors, unimp, int, cpu_reset, trace:PATTERN; 'help' lists them",
  },
  {
    name: 'D',
    takes: 'text',
    repeat: 'last',
    category: 'Debug and expert',
    synopsis: 'FILE',
    help: 'Log to FILE instead of stderr',
  },
  {
    name: 'trace',
    takes: 'properties',
    implied: 'enable',
    properties: simple.TRACE_PROPERTIES,
    repeat: 'append',
    category: 'Debug and expert',
    synopsis: '[enable=]PATTERN[,file=FILE]',
    help: "Print trace points as they pass; 'help' lists them",
  },
  {
    name: 'fw_cfg',
    takes: 'properties',
    implied: 'name',
    properties: simple.FW_CFG_PROPERTIES,
    repeat: 'append',
    category: 'Debug and expert',
    synopsis: '[name=]NAME,file=FILE|string=TEXT',
    help: 'Add an entry to fw_cfg',
  },
  {
    name: 'msg',
    takes: 'properties',
    properties: simple.MSG_PROPERTIES,
    repeat: 'merge',
    category: 'Debug and expert',
    synopsis: '[timestamp=on]',
    help: 'Form of messages',
  },
  {
    name: 'stats',
    takes: 'none',
    repeat: 'last',
    category: 'Debug and expert',
    synopsis: '',
    help: "Print the processor's figures at the end (not in QEMU)",
  },
  {
    name: 'pidfile',
    takes: 'text',
    repeat: 'last',
    category: 'Debug and expert',
    synopsis: 'FILE',
    help: 'Write the process id to FILE; removed at the end',
  },
  {
    name: 'no-user-config',
    takes: 'none',
    repeat: 'last',
    category: 'Debug and expert',
    synopsis: '',
    help: 'Read no configuration files',
    ignored: 'none are read anyway',
  },
  {
    name: 'L',
    takes: 'text',
    repeat: 'append',
    category: 'Debug and expert',
    synopsis: 'PATH',
    help: 'Folder of firmware files',
    ignored: 'no firmware files are used',
  },
  {
    name: 'k',
    takes: 'text',
    repeat: 'last',
    category: 'Debug and expert',
    synopsis: 'LANGUAGE',
    help: 'Keyboard layout',
    ignored: 'there is no display',
  },
  {
    name: 'no-fd-bootchk',
    takes: 'none',
    repeat: 'last',
    category: 'Debug and expert',
    synopsis: '',
    help: 'No boot signature check',
    ignored: 'there are no floppy disks',
  },
  {
    name: 'sandbox',
    takes: 'text',
    repeat: 'last',
    category: 'Debug and expert',
    synopsis: 'on|off',
    help: 'System call filter',
    ignored: 'Node has none',
  },
  {
    name: 'overcommit',
    takes: 'text',
    repeat: 'append',
    category: 'Debug and expert',
    synopsis: '…',
    help: 'Host memory',
    ignored: 'the host decides',
  },
  {
    name: 'mem-prealloc',
    takes: 'none',
    repeat: 'last',
    category: 'Debug and expert',
    synopsis: '',
    help: 'Preallocate guest memory',
    ignored: 'the host decides',
  },
] as const satisfies readonly OptionDef[];

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

const MISSING = [
  missing('enable-kvm', 'none', 'KVM is not available yet; leave it out to use the translator'),
  missing('icount', 'text', 'instruction counting is not available yet'),
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
  missing('blockdev', 'text', 'block nodes are not available yet: use -drive'),
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
  missing('global', 'text', 'global properties are not available yet: give the property to each -device'),
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

export const OPTIONS = [
  ...STANDARD,
  ...BLOCK,
  ...CHARACTER,
  ...NETWORK,
  ...DISPLAY,
  ...LINUX,
  ...EXPERT,
  ...MISSING,
] as const satisfies readonly OptionDef[];

/** Options that do something, by name. */
export type OptionName = Exclude<(typeof OPTIONS)[number], { refused: string }>['name'];
