// How long machines take to boot, and what they cost when the guest does nothing: Debian's cloud kernel up to where it
// would start /init, the full Debian up to its login, then the process's memory beyond the guest's, the processor time
// of an idle guest, and how long our thread was kept from its event loop at a time. Linux only (/proc).
import { spawn } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import { ensureGuest } from '../../dist/index.js';
import { RAM_BASE } from '../../dist/x86/layout.js';
import { memoryBeyondGuest } from '../memory.mjs';
import { commonLine, processorSeconds } from './machines.mjs';

/** Seconds that the guest is left to settle after the login prompt, and seconds over which it is then measured. */
const SETTLE = 8;
const IDLE = 10;
/** Seconds after the prompt at which it is measured once more: nothing of the boot is left to do then. */
const REST = 40;
const TIMEOUT = 600;

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

class Process {
  output = '';
  errors = '';
  #began = performance.now();
  #waiting = [];
  #over = false;

  constructor([file, ...args]) {
    this.child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.child.stdout.setEncoding('latin1').on('data', (data) => {
      this.output += data;
      this.#look();
    });
    this.child.stderr.setEncoding('utf8').on('data', (data) => (this.errors += data));
    this.ended = new Promise((resolve) => this.child.on('close', resolve));
    this.ended.then(() => {
      this.#over = true;
      this.#look();
    });
  }

  #look() {
    this.#waiting = this.#waiting.filter(({ pattern, resolve, reject }) => {
      if (pattern.test(this.output)) resolve();
      else if (this.#over)
        reject(new Error(`it ended: ${this.errors.slice(-300)}${this.output.slice(-300)}`));
      else return true;
      return false;
    });
  }

  /** Wall and processor seconds from the start to where the console shows `pattern`. */
  async until(pattern) {
    const timer = setTimeout(() => this.child.kill('SIGKILL'), TIMEOUT * 1000);
    await new Promise((resolve, reject) => {
      this.#waiting.push({ pattern, resolve, reject });
      this.#look();
    });
    clearTimeout(timer);
    return { wall: (performance.now() - this.#began) / 1000, cpu: processorSeconds(this.child.pid) };
  }
}

const figure = (text, name) => {
  const match = new RegExp(`^${name}\\s+([\\d.]+)`, 'm').exec(text);
  return match === null ? undefined : Number(match[1]);
};

/**
 * One boot of each kind by one machine.
 * @param machine 'paravane' or 'qemu'
 * @param commandFor makes a command of the common arguments
 * @returns figures by name
 */
export async function bootOnce(machine, commandFor, progress) {
  const figures = {};
  const tiny = await ensureGuest('tiny', { progress });
  const append = 'console=ttyS0 rdinit=/none panic=-1 no_timer_check';
  const kernel = new Process(commandFor(commonLine({ ...tiny, memory: 512, append })));
  Object.assign(figures, prefix('init', await kernel.until(/Kernel panic|Unable to mount root/)));
  await kernel.ended;

  const debian = await ensureGuest('debian', { progress });
  const memory = 1024;
  const extra = ['-drive', `file=${debian.disk},if=virtio,format=raw,snapshot=on`];
  const line = commonLine({
    ...debian,
    memory,
    append: `${debian.cmdline} console=ttyS0 no_timer_check`,
    extra,
  });
  const full = new Process(commandFor(machine === 'paravane' ? [...line, '-stats'] : line));
  try {
    Object.assign(figures, prefix('login', await full.until(/login: $/)));
  } catch (error) {
    progress(`${machine}: no login: ${error.message}`);
    return figures;
  }
  await sleep(SETTLE);
  const { pid } = full.child;
  const before = processorSeconds(pid);
  await sleep(IDLE);
  figures.idlePercent = ((processorSeconds(pid) - before) / IDLE) * 100;
  await sleep(REST - SETTLE - IDLE);
  const atRest = processorSeconds(pid);
  await sleep(IDLE);
  figures.restPercent = ((processorSeconds(pid) - atRest) / IDLE) * 100;
  try {
    const { resident, beyond } = memoryBeyondGuest(pid, memory, RAM_BASE);
    figures.residentMiB = resident;
    // QEMU's translation buffer is as large as its guest's RAM: which mapping is which cannot be told from outside.
    if (machine === 'paravane') figures.beyondGuestMiB = beyond;
  } catch (error) {
    progress(`memory of ${machine}: ${error.message}`);
  }
  full.child.stdin.write('root\n');
  await full.until(/# $/);
  full.child.stdin.write('poweroff\n');
  const timer = setTimeout(() => full.child.kill('SIGKILL'), 120_000);
  await full.ended;
  clearTimeout(timer);
  figures.longestPauseMs = figure(full.errors, 'longestSliceMilliseconds');
  figures.longestPauseAtS = figure(full.errors, 'longestSliceAtSeconds');
  figures.pausesOver20ms = figure(full.errors, 'slicesOver20Milliseconds');
  figures.longestPauseCpuMs = figure(full.errors, 'longestSliceOnProcessorMilliseconds');
  figures.pausesOver20msCpu = figure(full.errors, 'slicesOver20OnProcessorMilliseconds');
  figures.longestTurnCpuMs = figure(full.errors, 'longestTurnOnProcessorMilliseconds');
  return figures;
}

const prefix = (name, { wall, cpu }) => ({ [`${name}WallS`]: wall, [`${name}CpuS`]: cpu });
