/** `-cpu help`: the models and features that there are, laid out as QEMU lays them out. */
import { cpuFeatures, cpuModels } from '../x86/cpuid.ts';

const WIDTH = 75;

export function cpuHelp(): string {
  const lines: string[] = [];
  let line = ' ';
  for (const name of cpuFeatures()) {
    if (line.length + 1 + name.length > WIDTH) {
      lines.push(line);
      line = ' ';
    }
    line += ` ${name}`;
  }
  lines.push(line);
  const models = cpuModels().map((name) => `x86 ${name}`);
  return ['Available CPUs:', ...models, '', 'Recognized CPUID flags:', ...lines].join('\n');
}
