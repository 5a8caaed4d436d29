/** Properties of the options that configure the machine itself: -machine, -m, -smp, -rtc, -name, and so on. */
import type { Property } from '../property.ts';

const bool = <const N extends string>(name: N, help: string, ignored?: string) =>
  ({ name, type: 'bool', help, ...(ignored === undefined ? {} : { ignored }) }) as const;

export const MACHINE_PROPERTIES = [
  {
    name: 'type',
    type: 'str',
    help: 'pc (i440FX and PIIX) or q35 (Q35 and ICH9), or a versioned name of them',
  },
  { name: 'accel', type: 'str', help: 'Accelerator: tcg stands for the translator to WebAssembly' },
  bool('hpet', 'High precision event timer'),
  { name: 'acpi', type: 'on-off-auto', help: 'ACPI tables' },
  bool('graphics', 'Off is the same as -nographic'),
  { name: 'kernel', type: 'str', help: 'Linux kernel image file' },
  { name: 'initrd', type: 'str', help: 'Linux initial ramdisk file' },
  { name: 'append', type: 'str', help: 'Linux kernel command line' },
  bool('usb', 'USB host controller'),
  { name: 'vmport', type: 'on-off-auto', help: 'VMware port', ignored: 'there is no vmport device' },
  { name: 'smm', type: 'on-off-auto', help: 'System management mode', ignored: 'there is no SMM' },
  bool('smbus', 'SMBus', 'the controller is always there'),
  bool('dump-guest-core', 'Include guest memory in a core dump', 'Node decides what a core dump holds'),
  bool('mem-merge', 'Memory merge support', 'guest memory is a WebAssembly memory'),
] as const satisfies readonly Property[];

export const MEMORY_PROPERTIES = [
  { name: 'size', type: 'str', help: 'RAM, in MiB when there is no suffix (default: 128M)' },
  { name: 'slots', type: 'uint64', help: 'Hot-plug slots', ignored: 'memory cannot be plugged' },
  { name: 'maxmem', type: 'str', help: 'Most RAM with hot-plug', ignored: 'memory cannot be plugged' },
] as const satisfies readonly Property[];

export const SMP_PROPERTIES = [
  { name: 'cpus', type: 'uint32', help: 'Processors: 1 for now' },
  { name: 'maxcpus', type: 'uint32', help: 'Most processors with hot-plug' },
  { name: 'sockets', type: 'uint32', help: 'Sockets on the board' },
  { name: 'dies', type: 'uint32', help: 'Dies in a socket' },
  { name: 'clusters', type: 'uint32', help: 'Clusters in a die' },
  { name: 'cores', type: 'uint32', help: 'Cores in a cluster' },
  { name: 'threads', type: 'uint32', help: 'Threads in a core' },
] as const satisfies readonly Property[];

export const ACCEL_PROPERTIES = [
  { name: 'accel', type: 'str', help: 'tcg: the translator to WebAssembly' },
  {
    name: 'thread',
    type: 'enum',
    values: ['single', 'multi'],
    help: 'Threads',
    ignored: 'one thread for now',
  },
  {
    name: 'tb-size',
    type: 'uint32',
    help: 'Memory for translated code, MiB, about (default: 384)',
  },
  {
    name: 'tb-cache',
    type: 'bool',
    help: 'Keep translated code for later runs, where the host can (default: on)',
  },
  bool('one-insn-per-tb', 'One instruction in each translation', 'the translator chooses its regions'),
] as const satisfies readonly Property[];

export const NAME_PROPERTIES = [
  { name: 'guest', type: 'str', help: 'Name of the guest' },
  { name: 'process', type: 'str', help: 'Title of the process' },
  bool('debug-threads', 'Name the threads', 'there is one thread'),
] as const satisfies readonly Property[];

export const RTC_PROPERTIES = [
  { name: 'base', type: 'str', help: 'utc, localtime, or a date such as 2006-06-17T16:01:21 (default: utc)' },
  { name: 'clock', type: 'enum', values: ['host', 'rt', 'vm'], help: 'Which clock moves it (default: host)' },
  {
    name: 'driftfix',
    type: 'enum',
    values: ['none', 'slew'],
    help: 'Lost ticks',
    ignored: 'no ticks are lost',
  },
] as const satisfies readonly Property[];

export const ICOUNT_PROPERTIES = [
  {
    name: 'shift',
    type: 'str',
    help: 'An instruction takes 2^N nanoseconds, N from 0 to 10; auto: as long as it does',
  },
  bool('align', "Wait for the host's clock when the guest is ahead of it, and say when it is late"),
  bool(
    'sleep',
    'Sleep while the guest has nothing to do (default: on); off: go on to the next timer at once',
  ),
  { name: 'rr', type: 'enum', values: ['record', 'replay'], help: 'Not available: recording of inputs' },
  { name: 'rrfile', type: 'str', help: 'Not available' },
  { name: 'rrsnapshot', type: 'str', help: 'Not available' },
] as const satisfies readonly Property[];

export const BOOT_PROPERTIES = [
  { name: 'order', type: 'str', help: 'Drives to boot from, by letter: a c d n' },
  { name: 'once', type: 'str', help: 'The same, for the first boot only' },
  bool('menu', 'Boot menu'),
  { name: 'splash', type: 'str', help: 'Picture of the boot menu' },
  { name: 'splash-time', type: 'uint32', help: 'Milliseconds that it stays' },
  { name: 'reboot-timeout', type: 'int32', help: 'Milliseconds before a reboot when nothing boots' },
  bool('strict', 'Boot from nothing else'),
] as const satisfies readonly Property[];

export const TRACE_PROPERTIES = [
  { name: 'enable', type: 'str', help: 'Trace points to print, * matching any run of characters' },
  { name: 'events', type: 'str', help: 'File with one pattern a line' },
  { name: 'file', type: 'str', help: 'File to print to, instead of stderr' },
] as const satisfies readonly Property[];

export const MSG_PROPERTIES = [
  bool('timestamp', 'Time in front of messages'),
  bool('guest-name', 'Name of the guest in front of messages', 'each machine has a process of its own'),
] as const satisfies readonly Property[];

export const FW_CFG_PROPERTIES = [
  { name: 'name', type: 'str', help: 'Name of the entry, such as opt/org.example/key' },
  { name: 'file', type: 'str', help: 'File whose content it is' },
  { name: 'string', type: 'str', help: 'Text that it is, without a final zero' },
] as const satisfies readonly Property[];

export const MON_PROPERTIES = [
  { name: 'chardev', type: 'chardev', required: true, help: 'Where the monitor is' },
  { name: 'mode', type: 'enum', values: ['readline', 'control'], help: 'For people, or QMP' },
  bool('pretty', 'Indented QMP'),
] as const satisfies readonly Property[];
