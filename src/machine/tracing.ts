/** -d, -D and -trace: trace points, guest errors and warnings to stderr or a file, as text lines. */
import type { Clock } from '../core/clock.ts';
import type { Tracer } from '../core/trace.ts';
import { blamed } from '../qapi/parse-command-line.ts';
import type { TraceConfig } from './config.ts';
import type { MachineHost } from './host.ts';
import type { Machine } from './machine.ts';
import { TRACE_POINTS } from './trace-points.ts';

function show(value: unknown): string {
  if (typeof value === 'bigint') return `0x${value.toString(16)}`;
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value);
}

/** Replaces `@FILE` (`-trace events=FILE`) by the patterns in the file: one a line, `#` starts a comment. */
export async function readEventFiles(config: TraceConfig, host: MachineHost): Promise<TraceConfig> {
  const patterns: string[] = [];
  for (const pattern of config.patterns) {
    if (!pattern.startsWith('@')) {
      patterns.push(pattern);
      continue;
    }
    const path = pattern.slice(1);
    try {
      const lines = new TextDecoder().decode(await host.readFile(path)).split('\n');
      patterns.push(
        ...lines.map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#')),
      );
    } catch (error) {
      throw blamed(`-trace events=${path}`, error);
    }
  }
  return { ...config, patterns };
}

function inRanges({ ranges }: TraceConfig, address: unknown): boolean {
  if (ranges.length === 0 || typeof address !== 'bigint') return true;
  return ranges.some(({ start, end }) => address >= start && address <= end);
}

/** Connects the tracer to its listeners; the result closes the log. */
export function connectTrace(
  tracer: Tracer,
  config: TraceConfig,
  clock: Clock,
  host: MachineHost,
  machine: Machine,
): () => void {
  const log = config.file === undefined ? undefined : host.openLog(config.file);
  const line = (text: string): void => (log === undefined ? host.warn(text) : log.line(text));
  for (const pattern of config.patterns) {
    const matcher = new RegExp(`^${pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*')}$`);
    if (!TRACE_POINTS.some((name) => matcher.test(name)))
      host.warn(`-trace ${pattern}: no trace point matches (-trace help lists them)`);
    tracer.enable(pattern, (name, { listing, ...fields }) => {
      if (name.startsWith('cpu.translate') && !inRanges(config, fields['address'])) return;
      const text = Object.entries(fields).map(([key, value]) => `${key}=${show(value)}`);
      line(`${(clock.now() / 1e9).toFixed(6)} ${name} ${text.join(' ')}`);
      // text of several lines, such as code
      if (typeof listing === 'string') line(listing);
    });
  }
  tracer.onGuestError = (device, message) => {
    // Like QEMU, told in any case: a driver that breaks the rules is worth a line.
    line(`guest error: ${device}: ${message}`);
    machine.events.emit('guestError', device, message);
  };
  tracer.onWarning = (who, message) => {
    if (config.unimplemented || log !== undefined) line(`not implemented: ${who}: ${message}`);
    machine.events.emit('warning', `${who}: ${message}`);
  };
  return () => log?.close();
}
