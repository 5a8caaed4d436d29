/** What `paravane` does: the command line of this process, to its end. */
import { cliProcess } from '../host/node/cli-process.ts';
import { nodeMachineHost } from '../host/node/machine-host.ts';
import { cli } from './cli.ts';

cliProcess.exit(await cli(cliProcess, nodeMachineHost));
