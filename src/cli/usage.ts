/** `--help`: the options by category, out of the table that the parser reads. */
import type { OptionDef } from '../qapi/command-line.ts';
import { CATEGORIES, OPTIONS } from '../qapi/command-line.ts';

const HEAD = `usage: paravane [OPTIONS]                    start a machine described by QEMU's options
       paravane run tiny|debian [-- OPTIONS]  start one of the ready-made guests
       paravane image build tiny|debian       make its files anew

Example:
  paravane -m 1G -nographic -kernel vmlinuz -initrd initrd.img \\
      -append "console=ttyS0 root=/dev/vda rw" -drive file=disk.raw,if=virtio,format=raw

During emulation with -nographic: Ctrl-A X ends the machine, Ctrl-A H lists the other keys.`;

const WIDTH = 79;
const INDENT = 16;

function wrap(text: string): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > WIDTH - INDENT) {
      lines.push(line);
      line = '';
    }
    line += line === '' ? word : ` ${word}`;
  }
  lines.push(line);
  return lines.map((one) => `${' '.repeat(INDENT)}${one}`).join('\n');
}

function entry(option: OptionDef): string {
  const names = [option.name, ...(option.aliases ?? [])].map((name) => `-${name}`).join(', ');
  const head = `${names}${option.synopsis === '' ? '' : ` ${option.synopsis}`}`;
  const note = option.ignored === undefined ? '' : ` (accepted without effect: ${option.ignored})`;
  const help = option.help + note;
  if (head.length < INDENT) return head.padEnd(INDENT) + wrap(help).trimStart();
  return `${head}\n${wrap(help)}`;
}

export function usage(): string {
  const options: readonly OptionDef[] = OPTIONS;
  const blocks = [HEAD];
  for (const category of CATEGORIES) {
    const own = options.filter((option) => option.category === category);
    if (category === 'Not available') {
      const names = own.map((option) => `-${option.name}`).join(' ');
      blocks.push(`Known from QEMU and refused with the reason:\n${wrap(names)}`);
    } else blocks.push(`${category} options:\n\n${own.map(entry).join('\n')}`);
  }
  return `${blocks.join('\n\n')}\n`;
}
