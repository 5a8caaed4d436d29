/** The process as the command line sees it: arguments, streams, signals, pid file, exit. */
import * as fs from 'node:fs';
import { hostError } from './errors.ts';

export interface CliProcess {
  readonly argv: readonly string[];
  readonly stdoutIsTerminal: boolean;
  readonly stderrIsTerminal: boolean;
  readonly stdinIsTerminal: boolean;
  /** Colours are wanted: stderr is a terminal and NO_COLOR is not set. */
  readonly colour: boolean;
  /** Width of the terminal, 80 when unknown. */
  columns(): number;
  /** Of the terminal that the guest's console is on. */
  terminalSize(): { readonly columns: number; readonly rows: number } | undefined;
  stdout(text: string): void;
  stderr(text: string): void;
  /** Calls once for the first SIGINT, SIGTERM or SIGHUP, with its name; returns the way to stop listening. */
  onSignal(call: (signal: string) => void): () => void;
  /** Writes the process id; returns the removal. */
  writePidFile(path: string): () => void;
  setTitle(title: string): void;
  readText(path: string): string;
  /** Ends the process when everything written has gone out. */
  exit(code: number): void;
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export const cliProcess: CliProcess = {
  argv: process.argv.slice(2),
  stdoutIsTerminal: process.stdout.isTTY === true,
  stderrIsTerminal: process.stderr.isTTY === true,
  stdinIsTerminal: process.stdin.isTTY === true,
  colour: process.stderr.isTTY === true && (process.env['NO_COLOR'] ?? '') === '',
  columns: () => process.stderr.columns ?? 80,
  terminalSize: () =>
    process.stdout.isTTY === true
      ? { columns: process.stdout.columns, rows: process.stdout.rows }
      : undefined,
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
  onSignal(call) {
    const listener = (signal: string): void => {
      // A second signal finds nobody listening and ends the process in the default way.
      stop();
      call(signal);
    };
    const stop = (): void => {
      for (const signal of SIGNALS) process.off(signal, listener);
    };
    for (const signal of SIGNALS) process.on(signal, listener);
    return stop;
  },
  writePidFile(path) {
    try {
      fs.writeFileSync(path, `${process.pid}\n`, { mode: 0o600 });
    } catch (error) {
      throw hostError(`cannot create PID file: Could not create '${path}'`, error);
    }
    return () => fs.rmSync(path, { force: true });
  },
  setTitle(title) {
    process.title = title;
  },
  readText(path) {
    try {
      return fs.readFileSync(path, 'utf8');
    } catch (error) {
      throw hostError(`Could not open '${path}'`, error);
    }
  },
  exit(code) {
    process.exitCode = code;
    // Pipes are written in the background: an empty write's callback comes after everything before it.
    process.stdout.write('', () => process.stderr.write('', () => process.exit(code)));
  },
};
