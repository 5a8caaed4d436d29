/** Options of disks, character devices and networks. */
import { DRIVE_PROPERTIES } from '../schema/drive.ts';
import * as simple from '../schema/simple.ts';
import type { OptionDef } from './option.ts';

export const BLOCK = [
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
    name: 'blockdev',
    takes: 'properties',
    implied: 'driver',
    repeat: 'append',
    category: 'Block device',
    synopsis: '[driver=]DRIVER,node-name=NAME[,prop=value…]',
    help: 'Make a block node, for -device …,drive=NAME or for another node',
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

export const CHARACTER = [
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
    synopsis: '[mon:]stdio|unix:P,…|tcp:H:P,…|telnet:H:P,…|udp:H:P|file:F|pty|/dev/…|chardev:ID|null|none',
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
    name: 'echr',
    takes: 'text',
    repeat: 'last',
    category: 'Character device',
    synopsis: 'NUMBER',
    help: 'The escape key of a terminal that is shared, in place of Ctrl-A (1)',
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

export const NETWORK = [
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
