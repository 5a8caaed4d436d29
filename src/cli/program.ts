/** What `paravane` does: the command line of this process, to its end. */
import { standBack } from '../host/node/background-threads.ts';
import { cliProcess } from '../host/node/cli-process.ts';
import { compileAhead } from '../host/node/compile-ahead.ts';
import { flushCompiled } from '../host/node/compile-cache.ts';
import { nodeMachineHost } from '../host/node/machine-host.ts';
import { keptTranslations } from '../host/node/translations.ts';
import { boundYoungGeneration } from '../host/node/young-generation.ts';
import { withoutInlining } from '../host/node/wasm-inlining.ts';
import { cli } from './cli.ts';

standBack();
boundYoungGeneration(flushCompiled);
const translator = {
  prepare: () => withoutInlining(flushCompiled),
  compile: compileAhead(flushCompiled),
  store: keptTranslations(),
};
cliProcess.exit(await cli(cliProcess, (warn) => nodeMachineHost(warn, translator)));
