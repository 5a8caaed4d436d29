/** What `info` prints, for programs that only want to show it. */
import { command } from '../command.ts';
import { object, str } from '../types.ts';

/** @param topic of `info` */
const text = (name: string, topic: string, help: string) =>
  command({
    name,
    help: `What info ${topic} prints: ${help}`,
    returns: object({ 'human-readable-text': str }),
    run: async (_, { human }) => {
      const shown = await human(`info ${topic}`);
      return { 'human-readable-text': shown.replaceAll('\r\n', '\n') };
    },
  });

export const textCommands = [
  text('x-query-irq', 'irq', 'interrupts taken'),
  text('x-query-jit', 'jit', "the translator's figures"),
  text('x-query-numa', 'numa', 'nodes of memory'),
  text('x-query-ramblock', 'ramblock', 'blocks of RAM'),
  text('x-query-roms', 'roms', 'what firmware and loaders put into memory'),
];
