// One run of one machine: starts the process, reads the marks of the guest on its serial line, and notes for each
// program what the guest's clock says, what the host's clock says, and how much processor time the process took.
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';

/** Seconds without a line from the guest after which it counts as stuck. */
const SILENCE = 300;

/** Processor seconds of all threads of a process, those that have ended left out; Linux only, else NaN. */
export function processorSeconds(pid) {
  try {
    let ns = 0;
    for (const task of readdirSync(`/proc/${pid}/task`))
      ns += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
    return ns / 1e9;
  } catch {
    return Number.NaN;
  }
}

/**
 * Runs a machine until its guest says `@done`.
 * @param command the program and its arguments
 * @param onProgram told after each program
 * @returns { results: Map of name to { guest, host, cpu, sum } or { error }, console, bootSeconds, peakBytes }
 */
export function runMachine(command, onProgram = () => {}) {
  return new Promise((resolve, reject) => {
    const [file, ...args] = command;
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const began = performance.now();
    const results = new Map();
    let console = '';
    let errors = '';
    let rest = '';
    let current;
    let bootSeconds;
    let ended = false;
    let watchdog;
    const feed = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => child.kill('SIGKILL'), SILENCE * 1000);
    };
    feed();

    const line = (text) => {
      const [mark, name, ...words] = text.split(' ');
      if (mark === '@begin') {
        bootSeconds ??= (performance.now() - began) / 1000;
        current = { name, time: performance.now(), cpu: processorSeconds(child.pid) };
      } else if (mark === '@result')
        results.set(name, { guest: Number(words[0]), sum: words.slice(1).join(' ') });
      else if (mark === '@end' && current?.name === name) {
        const result = results.get(name) ?? {};
        result.host = (performance.now() - current.time) / 1000;
        // of what was measured: some programs run for a fixed time and say how long a fixed work would have taken
        result.cpu = ((processorSeconds(child.pid) - current.cpu) * result.guest) / result.host;
        if (words[0] !== '0') result.error = `exit status ${words[0]}`;
        results.set(name, result);
        onProgram(name, result);
      } else if (mark === '@done') {
        ended = true;
        // a machine that does not notice the guest's end is ended
        setTimeout(() => child.kill('SIGKILL'), 3000).unref();
      }
    };
    child.stdout.setEncoding('latin1');
    child.stdout.on('data', (data) => {
      feed();
      console += data;
      rest += data;
      const lines = rest.split(/\r*\n/);
      rest = lines.pop();
      for (const text of lines) if (text.startsWith('@')) line(text);
    });
    child.stderr.setEncoding('utf8');
    child.stderr.on('data', (data) => (errors = (errors + data).slice(-4000)));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(watchdog);
      if (!ended && current !== undefined && !results.has(current.name))
        results.set(current.name, { error: 'the machine ended here' });
      if (!ended)
        process.stderr.write(
          `${file} ended early (${signal ?? code}): ${errors.trim() || console.slice(-600)}\n`,
        );
      resolve({ results, console, errors, bootSeconds, complete: ended });
    });
  });
}

/** What the machines have in common on the command line. */
export function commonLine({ memory, kernel, initrd, append, extra = [] }) {
  return [
    ...['-m', String(memory), '-display', 'none', '-serial', 'stdio', '-monitor', 'none', '-no-reboot'],
    ...['-nic', 'none', '-kernel', kernel, '-initrd', initrd, '-append', append, ...extra],
  ];
}
