/** `-netdev TYPE` and `-nic`: the host's side of a network card. */
import type { Property } from '../property.ts';

const ID = { name: 'id', type: 'str', required: true, help: 'Name for -device' } as const;

export const USER_NET_PROPERTIES = [
  { name: 'net', type: 'str', help: 'Network of the guest (default: 10.0.2.0/24)' },
  { name: 'ip', type: 'str', help: 'Old spelling of net=ADDRESS/24' },
  { name: 'host', type: 'str', help: 'Address of the host as the guest sees it (default: x.x.x.2)' },
  { name: 'dns', type: 'str', help: 'Address of the name server (default: x.x.x.3)' },
  { name: 'dhcpstart', type: 'str', help: 'First address that DHCP gives out (default: x.x.x.15)' },
  { name: 'hostname', type: 'str', help: 'Name of the guest that DHCP reports' },
  { name: 'domainname', type: 'str', help: 'Domain name that DHCP reports' },
  { name: 'dnssearch', type: 'str', list: true, help: 'Domain search list of DHCP' },
  { name: 'restrict', type: 'bool', help: 'Keep the guest from reaching the host and beyond' },
  { name: 'hostfwd', type: 'str', list: true, help: '(tcp|udp):[hostaddr]:hostport-[guestaddr]:guestport' },
  { name: 'guestfwd', type: 'str', list: true, help: 'tcp:server:port-chardev' },
  { name: 'ipv4', type: 'bool', help: 'IPv4 (default: on)' },
  { name: 'ipv6', type: 'bool', help: 'IPv6' },
  { name: 'ipv6-net', type: 'str', short: true, help: 'IPv6 network' },
  { name: 'ipv6-prefix', type: 'str', help: 'Address part of the IPv6 network' },
  { name: 'ipv6-prefixlen', type: 'uint64', signed: true, help: 'Bits of it that are the network' },
  { name: 'ipv6-host', type: 'str', help: 'IPv6 address of the host' },
  { name: 'ipv6-dns', type: 'str', help: 'IPv6 address of the name server' },
  { name: 'tftp', type: 'str', help: 'Folder of the TFTP server' },
  { name: 'tftp-server-name', type: 'str', help: 'Name of the TFTP server that DHCP reports' },
  { name: 'bootfile', type: 'str', help: 'Boot file that DHCP reports' },
  { name: 'smb', type: 'str', help: 'Folder of the SMB server' },
  { name: 'smbserver', type: 'str', help: 'Address of the SMB server' },
] as const satisfies readonly Property[];

const TAP_PROPERTIES = [
  { name: 'ifname', type: 'str', help: 'Name of the interface; made when it is not there' },
  { name: 'fd', type: 'str', help: 'Descriptor of an open interface' },
  { name: 'fds', type: 'str', help: 'Descriptors, for several queues' },
  { name: 'script', type: 'str', help: "Runs when it is open (default: /etc/qemu-ifup; 'no' for none)" },
  { name: 'downscript', type: 'str', help: "Runs at the end (default: /etc/qemu-ifdown; 'no' for none)" },
  { name: 'br', type: 'str', help: 'Bridge for the helper' },
  { name: 'helper', type: 'str', help: 'Program that makes the interface' },
  {
    name: 'sndbuf',
    type: 'size',
    help: 'Bytes that the host keeps',
    ignored: "the kernel's own limit holds",
  },
  { name: 'vnet_hdr', type: 'bool', help: 'Large segments cross in one piece (default: on)' },
  { name: 'vhost', type: 'bool', help: 'The kernel serves the rings' },
  { name: 'vhostfd', type: 'str', help: 'Descriptor of a vhost device' },
  { name: 'vhostfds', type: 'str', help: 'The same for several queues' },
  { name: 'vhostforce', type: 'bool', help: 'vhost whatever the guest does', ignored: 'there is no vhost' },
  { name: 'queues', type: 'uint32', help: 'Queues of the interface: 1' },
  { name: 'poll-us', type: 'uint32', help: 'Busy polling', ignored: 'there is no vhost' },
] as const satisfies readonly Property[];

const HUB_PROPERTIES = [
  { name: 'hubid', type: 'int32', required: true, help: 'Number of the hub' },
  { name: 'netdev', type: 'str', help: 'Back end that is plugged into the port; a card otherwise' },
] as const satisfies readonly Property[];

export interface NetdevType {
  readonly name: string;
  readonly properties: readonly Property[];
  readonly help: string;
  /** Set on types that QEMU has and this program has not yet. */
  readonly missing?: string;
}

const LATER = 'not available yet; use user or tap';

export const NETDEV_TYPES = [
  { name: 'user', properties: [ID, ...USER_NET_PROPERTIES], help: 'NAT, DHCP and DNS without privileges' },
  { name: 'socket', properties: [ID], help: 'Connected machines', missing: LATER },
  { name: 'stream', properties: [ID], help: 'A stream socket', missing: LATER },
  { name: 'dgram', properties: [ID], help: 'A datagram socket', missing: LATER },
  { name: 'hubport', properties: [ID, ...HUB_PROPERTIES], help: 'A port of a hub' },
  { name: 'tap', properties: [ID, ...TAP_PROPERTIES], help: 'A tap interface of the host' },
  { name: 'bridge', properties: [ID], help: 'A bridge of the host', missing: LATER },
  { name: 'vhost-user', properties: [ID], help: 'Another process', missing: LATER },
  { name: 'vhost-vdpa', properties: [ID], help: 'A vDPA device', missing: LATER },
  { name: 'l2tpv3', properties: [ID], help: 'A tunnel', missing: LATER },
  { name: 'vde', properties: [ID], help: 'A VDE switch', missing: LATER },
] as const satisfies readonly NetdevType[];

/** What `-nic` takes beside the back end's own properties. */
export const NIC_PROPERTIES = [
  { name: 'model', type: 'str', help: 'Card (default: virtio-net-pci)' },
  { name: 'mac', type: 'mac', aliases: ['macaddr'], help: 'Ethernet address' },
  { name: 'id', type: 'str', help: 'Name of the back end' },
  { name: 'addr', type: 'str', help: 'PCI slot' },
  { name: 'vectors', type: 'uint32', help: 'MSI-X vectors' },
  { name: 'name', type: 'str', help: 'Name for the monitor' },
] as const satisfies readonly Property[];
