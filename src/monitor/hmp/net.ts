/** Networks that come and go, ports that are forwarded, cables. */
import { isHelp, lastValue, parseOptions } from '../../qapi/options.ts';
import { nameListHelp } from '../../qapi/help.ts';
import { NETDEV_TYPES } from '../../qapi/schema/netdev.ts';
import type { NetdevType } from '../../qapi/schema/netdev.ts';
import { parseForwardRule } from '../../net/user/options.ts';
import type { UserNet } from '../../net/user/user-net.ts';
import { UsageError } from '../../core/errors.ts';
import { userNets } from '../net-info.ts';
import { addNetdev, removeNetdev } from '../qmp/commands/net.ts';
import { asQmpError } from '../qmp/error.ts';
import type { MonitorTarget } from '../target.ts';
import type { HmpCommand } from './command.ts';
import { HmpError } from './error.ts';

/** The user network that is meant, and the rest of the line: without an id, the only one, or the first. */
function findNet(
  target: MonitorTarget,
  first: string,
  second: string | undefined,
): { readonly net: UserNet; readonly rule: string } {
  const all = userNets(target);
  if (second !== undefined) {
    const found = all.find(({ id }) => id === first);
    if (found === undefined) throw new HmpError(`unrecognized netdev id '${first}'`, false);
    return { net: found.net, rule: second };
  }
  if (all.length === 0) throw new HmpError('user mode network stack not in use', false);
  return { net: all[0]!.net, rule: first };
}

/** `[tcp|udp]:[hostaddr]:hostport`. */
function removeForward(net: UserNet, rule: string): string {
  const match = /^(tcp|udp|):([^:]*):(\d{1,5})$/.exec(rule);
  if (match === null) return 'invalid format\n';
  const [, protocol, address, port] = match;
  const gone = net.unforward(
    protocol === 'udp' ? 'udp' : 'tcp',
    address === '' ? '0.0.0.0' : address!,
    Number(port),
  );
  return `host forwarding rule for ${rule} ${gone ? 'removed' : 'not found'}\n`;
}

const ids = (target: MonitorTarget): Iterable<string> => userNets(target).map(({ id }) => id);

export const netActions: readonly HmpCommand[] = [
  {
    name: 'netdev_add',
    takes: 'netdev:O',
    synopsis: '[user|tap|hubport],id=str[,prop=value][,...]',
    help: "make the host's side of a network card, as -netdev does at the start",
    run: ({ netdev }, target) => {
      const entries = parseOptions(String(netdev), 'type');
      const type = lastValue(entries, 'type');
      if (type !== undefined && isHelp(type))
        return `${nameListHelp(
          'Available netdev backend types:',
          (NETDEV_TYPES as readonly NetdevType[])
            .filter(({ missing }) => missing === undefined)
            .map(({ name }) => name),
          '',
        )}\n`;
      return addNetdev(target, entries);
    },
  },
  {
    name: 'netdev_del',
    takes: 'id:s',
    synopsis: 'id',
    help: "take the host's side of a network card away",
    run: ({ id }, target) => removeNetdev(target, String(id)),
    complete: ({ backends }) => backends.netdevs.keys(),
  },
  {
    name: 'hostfwd_add',
    takes: 'first:s,second:s?',
    synopsis: '[netdev_id] [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport',
    help: 'forward a port of the host to the guest',
    run: async ({ first, second }, target) => {
      const { net, rule } = findNet(target, String(first), second === undefined ? undefined : String(second));
      try {
        if (!rule.includes(':'))
          throw new UsageError(`Invalid host forwarding rule '${rule}' (No : separators)`);
        await net.forward(parseForwardRule(rule));
      } catch (error) {
        const known = asQmpError(error);
        throw known === undefined ? error : new HmpError(known.message, false);
      }
    },
    complete: ids,
  },
  {
    name: 'hostfwd_remove',
    takes: 'first:s,second:s?',
    synopsis: '[netdev_id] [tcp|udp]:[hostaddr]:hostport',
    help: 'forward a port of the host no more',
    run: ({ first, second }, target) => {
      const { net, rule } = findNet(target, String(first), second === undefined ? undefined : String(second));
      return removeForward(net, rule);
    },
    complete: ids,
  },
];
