/** Properties of virtio-balloon (device part) with QEMU 7.2's names and defaults. */
import { UsageError } from '../../../core/errors.ts';
import type { Property, PropertyValues } from '../../../qapi/property.ts';

export const balloonProperties: readonly Property[] = [
  {
    name: 'deflate-on-oom',
    type: 'bool',
    default: false,
    help: 'let a guest without memory take pages back',
  },
  { name: 'free-page-reporting', type: 'bool', default: false, help: 'let the guest report free pages' },
  {
    name: 'page-poison',
    type: 'bool',
    default: true,
    help: 'let the guest say what it fills free pages with',
  },
  {
    name: 'free-page-hint',
    type: 'bool',
    default: false,
    help: 'skip free pages in migration (not implemented)',
  },
  {
    name: 'iothread',
    type: 'object',
    shownType: 'link<iothread>',
    ignored: 'there are no free page hints to work on',
    help: 'thread for free page hints',
  },
  {
    name: 'qemu-4-0-config-size',
    type: 'bool',
    default: false,
    ignored: 'only migration from QEMU 4.0 needs it',
    help: 'shorter configuration space',
  },
];

export interface BalloonSettings {
  readonly deflateOnOom: boolean;
  readonly freePageReporting: boolean;
  readonly pagePoison: boolean;
}

/** @throws UsageError for what is not implemented */
export function balloonSettings(values: PropertyValues): BalloonSettings {
  if (values['free-page-hint'] === true) {
    throw new UsageError('free-page-hint=on: free page hints are not implemented (they serve migration)');
  }
  return {
    deflateOnOom: Boolean(values['deflate-on-oom'] ?? false),
    freePageReporting: Boolean(values['free-page-reporting'] ?? false),
    pagePoison: Boolean(values['page-poison'] ?? true),
  };
}
