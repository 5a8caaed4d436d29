import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';

/** Runs a program on a terminal of its own (util-linux `script`) and returns what stty says after it. */
async function onTerminal(program: string): Promise<string> {
  const child = spawn('script', ['-qec', `stty -g; ${program}; stty -g`, '/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout.on('data', (data: Buffer) => (out += data.toString()));
  await new Promise((resolve) => child.once('exit', resolve));
  return out;
}

const built = path.resolve('dist/host/node/terminal.js');
it.skipIf(!fs.existsSync('/usr/bin/script') || !fs.existsSync(built))(
  'leaves the terminal as it was, however it ends',
  async () => {
    const open = `import { openStdio } from ${JSON.stringify(built)}; openStdio({ signals: false });`;
    for (const end of [
      'process.exit(0)',
      'throw new Error("x")',
      'process.kill(process.pid, "SIGTERM")',
      'process.on("SIGHUP", () => process.exit(1)); process.kill(process.pid, "SIGHUP")',
    ]) {
      const script = `${open} setTimeout(() => { ${end} }, 50)`;
      const lines = (
        await onTerminal(`node --input-type=module -e '${script.replaceAll("'", "'\\''")}' 2>/dev/null`)
      )
        .trim()
        .split(/\r?\n/);
      expect(lines.at(-1)).toBe(lines[0]);
    }
  },
);
